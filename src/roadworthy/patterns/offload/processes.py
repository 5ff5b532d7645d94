"""Worker processes for offloaded work.

The standard library's ``ProcessPoolExecutor`` fails every piece of work when one worker is killed, and cannot
end a piece that has begun. Here each worker has a line of its own, so that its end concerns its piece alone;
ending a piece is ending its process, which is then replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from .job import Job, name_of
from .travel import WorkerCrashedError, conclude, pack, unpack, write_record

__all__ = ("Processes",)

_PROGRAM = str(Path(__file__).with_name("worker.py"))
_LENGTH = struct.Struct("!Q")
_START = 30.0
"""Seconds for the first workers to come up. One takes 0.1 s; a machine that starts a whole site is busy."""
_FAREWELL = 0.5
"""Seconds for an idle worker to end by itself."""
_OFF_LOOP = 1 << 20
"""Bytes from which a result is unpickled in a thread: below, that takes the loop a few milliseconds at
most."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds before another attempt at a worker that did not come up: doubled each time, as supervisors do."""

_log = logging.getLogger("roadworthy.offload")


class _Worker(asyncio.Protocol):
    """One process and the line to it."""

    def __init__(self, crew: Processes) -> None:
        self._crew = crew
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._killing: asyncio.TimerHandle | None = None
        self.ready = False
        self.job: Job | None = None
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", _PROGRAM, str(theirs.fileno()), str(lifeline), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                # A group of its own: Ctrl-C is for the service, which ends its workers when they are done,
                # and what the work itself has started goes with it.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.line = ours

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send((sys.path, self._crew.niceness, logging.getLogger().getEffectiveLevel()))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            end = _LENGTH.size + length
            if len(buffer) < end:
                return
            frame = bytes(memoryview(buffer)[_LENGTH.size : end])
            del buffer[:end]
            if length > _OFF_LOOP:
                self._crew.keep(self._unpack_large(frame))
            else:
                self._heard(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crew.keep(self._gone())

    def run(self, job: Job) -> None:
        """Begin the job."""
        self.job = job
        self._send_bytes(job.payload)
        job.payload = b""

    def kill(self) -> None:
        """End the process and what it has started, now."""
        if self.process.returncode is not None:
            return  # its number may be another's by now
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def kill_unless_done(self, job: Job, patience: float) -> None:
        """End the process in some seconds, if it is still at this job then."""
        if patience <= 0:
            self.kill()
            return

        def look() -> None:
            if self.job is job:
                self.kill()

        self._killing = asyncio.get_running_loop().call_later(patience, look)

    def close(self) -> None:
        """Close the line, which ends an idle worker, and the lifeline, which ends a busy one."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self.line.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    async def reaped(self) -> int:
        """Wait for the process, which is about to end, and return its exit code."""
        pause = 0.001
        while (code := self.process.poll()) is None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)
        return code

    def _send(self, message: object) -> None:
        self._send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def _send_bytes(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.writelines([_LENGTH.pack(len(data)), data])

    async def _unpack_large(self, frame: bytes) -> None:
        self._take(await asyncio.to_thread(unpack, frame))

    def _heard(self, frame: bytes) -> None:
        self._take(unpack(frame))

    def _take(self, message: tuple[Any, ...]) -> None:
        job = self.job
        kind = message[0]
        if kind == "record":
            write_record(job, message[1])
            return
        if kind == "ready":
            self.ready = True
            self._crew.came_up()
            return
        self.job = None
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None
        if job is not None:
            conclude(job, message)
        self._crew.freed()

    async def _gone(self) -> None:
        # A line that ended while the process did not is of no use either.
        self.kill()
        code = await self.reaped()
        self.close()
        job, self.job = self.job, None
        if job is not None and not job.future.done():
            job.fail(WorkerCrashedError(f"{_end(code)} while it ran {name_of(job.function)}"))
        self._crew.lost(self, code)


class Processes:
    """Worker processes, each replaced when it ends.

    Parameters:
        size: how many.
        niceness: by how much they stand back behind the process that serves, 0 to 19.
    """

    def __init__(self, size: int, niceness: int) -> None:
        self.size = size
        self.niceness = niceness
        self.restarts = 0
        self.trouble = ""
        self._workers: list[_Worker] = []
        self._free: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause = 0.0
        self._up: asyncio.Event | None = None
        self._open = False

    async def start(self, free: Callable[[], None]) -> None:
        """Start all, and wait until they are ready."""
        self._free = free
        self._up = asyncio.Event()
        self._open = True
        for _ in range(self.size):
            await self._hire()
        try:
            async with asyncio.timeout(_START):
                while not all(worker.ready for worker in self._workers) or len(self._workers) < self.size:
                    self._up.clear()
                    await self._up.wait()
        except TimeoutError:
            raise RuntimeError(f"the offload workers did not come up: {self.trouble or 'too slow'}") from None

    async def stop(self) -> None:
        """End all of them: those at work at once."""
        self._open = False
        workers, self._workers = self._workers, []
        try:
            for worker in workers:
                if worker.job is not None:
                    worker.kill()
                worker.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    for worker in workers:
                        await worker.reaped()
        finally:
            for worker in workers:
                worker.kill()
                worker.process.wait()
        for task in tuple(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def busy(self) -> int:
        """How many are at work."""
        return sum(worker.job is not None for worker in self._workers)

    @property
    def abandoned(self) -> int:
        """None: what nobody waits for is ended."""
        return 0

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that are ready."""
        return [worker.process.pid for worker in self._workers if worker.ready]

    def prepare(self, job: Job) -> None:
        """Pickle the job."""
        job.payload = pack(job)

    def take(self, job: Job) -> bool:
        """Give the job to a free worker."""
        for worker in self._workers:
            if worker.ready and worker.job is None:
                worker.run(job)
                return True
        return False

    def end(self, job: Job, patience: float) -> None:
        """End the worker that is at this job."""
        for worker in self._workers:
            if worker.job is job:
                worker.kill_unless_done(job, patience)

    def came_up(self) -> None:
        """A worker is ready."""
        self.trouble = ""
        self._pause = 0.0
        if self._up is not None:
            self._up.set()
        self._free()

    def freed(self) -> None:
        """A worker is done with its job."""
        self._free()

    def lost(self, worker: _Worker, code: int) -> None:
        """A worker has ended: replace it, after a pause if it had not come up."""
        if not self._open:
            return
        self._workers.remove(worker)
        if worker.ready:
            self.restarts += 1
        else:
            self._did_not_come_up(f"{_end(code)} while it started")
        self.keep(self._replace(self._pause))

    def keep(self, work: Any) -> None:
        """Run a coroutine of a worker until it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, pause: float) -> None:
        await asyncio.sleep(pause)
        try:
            await self._hire()
        except OSError as error:
            self._did_not_come_up(f"no process could be started ({error.strerror})")
            self.keep(self._replace(self._pause))

    def _did_not_come_up(self, why: str) -> None:
        self.trouble = why
        self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)
        _log.error("an offload worker did not come up: %s", why)

    async def _hire(self) -> None:
        # On the loop's own thread, although it takes a millisecond or two: the kernel ends a worker when the
        # thread that started it ends.
        worker = _Worker(self)
        self._workers.append(worker)
        await asyncio.get_running_loop().create_connection(lambda: worker, sock=worker.line)


def _end(code: int) -> str:
    if code < 0:
        return f"the worker process was ended by {signal.Signals(-code).name}"
    return f"the worker process ended with exit code {code}"
