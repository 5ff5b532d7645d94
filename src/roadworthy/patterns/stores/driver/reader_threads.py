"""Threads that read from a SQLite file, each with a connection of its own: one hop for one statement."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from ....errors import UnavailableError
from ....layer.resources import PoolStats

__all__ = ("ReaderThreads",)


class ReaderThreads:
    """Started when they are needed, at most ``size``.

    Parameters:
        connect: opens a connection that refuses to write.
        size: most threads.
        wait: seconds that work waits for a thread before it is refused.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], size: int, wait: float) -> None:
        self._connect = connect
        self._size = size
        self._wait = wait
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self.in_use = 0
        """Jobs that are waited for."""

    def stats(self) -> PoolStats:
        """Return how many threads there are and work."""
        used = min(self.in_use, len(self._threads))
        return PoolStats(len(self._threads), used, self.in_use - used, self._size)

    async def run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Return what ``work`` returns for a connection; one that is cancelled is interrupted.

        Raises:
            UnavailableError: no thread was free in time.
        """
        loop = asyncio.get_running_loop()
        job = _Job(loop, work)
        timer: asyncio.TimerHandle | None = None
        if self.in_use >= len(self._threads):
            if len(self._threads) < self._size:
                self._start()
            else:
                timer = loop.call_later(self._wait, job.refuse)
        self.in_use += 1
        self._jobs.put(job)
        try:
            return await job.done
        except asyncio.CancelledError:
            job.interrupt()
            raise
        finally:
            self.in_use -= 1
            if timer is not None:
                timer.cancel()

    async def stop(self) -> None:
        """End the threads, and close their connections, when what was asked of them is done."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)

    def _start(self) -> None:
        thread = Thread(target=self._serve, name="roadworthy-sqlite", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            try:
                if connection is None:
                    connection = self._connect()
            except BaseException as error:
                job.fail(error)
            else:
                job.carry_out(connection)
            del job  # it holds what it has read
        if connection is not None:
            connection.close()


class _Job:
    __slots__ = ("_connection", "_lock", "_loop", "_over", "_work", "done")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[sqlite3.Connection], Any]) -> None:
        self.done: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._work = work
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._over = False

    def carry_out(self, connection: sqlite3.Connection) -> None:
        """Do the work and report its end; on the thread."""
        with self._lock:
            if self._over:
                return
            self._connection = connection
        try:
            result = self._work(connection)
        except BaseException as error:  # belongs to whoever waits
            self._end()
            self.fail(error)
        else:
            self._end()
            self._report(self._set_result, result)

    def fail(self, error: BaseException) -> None:
        """Report a failure; on the thread."""
        self._report(self._set_exception, error)

    def refuse(self) -> None:
        """Refuse it unless it has begun; on the loop."""
        with self._lock:
            if self._connection is not None or self._over:
                return
            self._over = True
        self._set_exception(UnavailableError("The database is busy"))

    def interrupt(self) -> None:
        """End the statement, or never begin it; on the loop."""
        with self._lock:
            self._over = True
            if self._connection is not None:
                self._connection.interrupt()

    def _end(self) -> None:
        with self._lock:  # an interruption that comes later would meet the next job
            self._connection = None
            self._over = True

    def _report(self, report: Callable[[Any], None], what: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            self._loop.call_soon_threadsafe(report, what)

    def _set_result(self, result: Any) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def _set_exception(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)
