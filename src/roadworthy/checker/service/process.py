"""The service as a process: started in a session of its own, read, observed, stopped, always ended.

A signal goes to the started process only, as a container runtime sends it to process 1: a signal to the group
would hide a wrapper that does not pass it on. What is left at the end is killed by its group, also when the
check itself was interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ..errors import PortTaken, StartFailed
from . import linux
from .linux import ProcessInfo
from .news import News

__all__ = ("Exit", "Line", "Service", "free_port", "is_free", "require_free")

# More than a check reads; a service that writes without end must not fill the memory of the checker.
_MOST_LINES = 400_000
_LONGEST_LINE = 1 << 20
_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_handed_out: set[int] = set()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output.

    Parameters:
        at: ``time.monotonic()`` when it was received.
        stream: ``stdout`` or ``stderr``.
    """

    at: float
    stream: str
    text: str

    @property
    def plain(self) -> str:
        """Its text without control sequences, which colour it for a terminal (ECMA-48 §5.4 and §5.6)."""
        return _CONTROL.sub("", self.text) if "\x1b" in self.text else self.text


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: with a status, or by a signal; the two are never mixed up.

    Parameters:
        at: ``time.monotonic()`` when it was noticed.
    """

    at: float
    status: int | None
    signal: int | None

    def __str__(self) -> str:
        """Return ``status 3`` or ``signal SIGKILL``."""
        if self.signal is None:
            return f"status {self.status}"
        try:
            return f"signal {signal.Signals(self.signal).name}"
        except ValueError:
            return f"signal {self.signal}"


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now and was not handed out in this check before.

    Free on every address of the machine and not only on ``host``: many services listen on all of them once
    they are given a port, and another process' connection on one address is then in their way.
    """
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        if port not in _handed_out:
            _handed_out.add(port)
            return port


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody listens on this address, so that what answers later is what we started."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Ports of earlier connections in TIME_WAIT are free for a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@dataclass(slots=True, eq=False)
class Service:
    """A started command. Make it with :meth:`start`; :meth:`close` ends it in any case.

    Parameters:
        lines: what it has written so far, both streams in the order of arrival.
        ended: how the started process ended, once it has.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]
    started: float
    lines: list[Line] = field(default_factory=list[Line])
    ended: Exit | None = None
    told_to_stop: bool = False
    _news: News = field(default_factory=News)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _known: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    _closed: bool = False
    _guard: subprocess.Popen[bytes] | None = None

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], cwd: Path, *, shell: bool = False
    ) -> Service:
        """Start the command with exactly this environment.

        Raises:
            StartFailed: there is no such command or folder.
        """
        try:
            # asyncio's own subprocesses give no time per line and close the pipes when they see the end.
            process = subprocess.Popen(  # noqa: ASYNC220, S603
                " ".join(command) if shell else list(command),
                shell=shell,
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise StartFailed(f"cannot start {command[0] if command else 'nothing'}: {error}") from None
        self = cls(tuple(command), environment, process, time.monotonic(), _guard=_guard(process.pid))
        assert process.stdout is not None
        assert process.stderr is not None
        self._tasks = [
            asyncio.create_task(self._listen("stdout", process.stdout)),
            asyncio.create_task(self._listen("stderr", process.stderr)),
            asyncio.create_task(self._await_end()),
        ]
        return self

    @property
    def pid(self) -> int:
        """The id of the started process, which is also its session's."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the started process still runs."""
        return self.ended is None

    # Looking at it

    def tree(self) -> list[ProcessInfo]:
        """Return the living processes of the session, those included that left it."""
        found = [one for one in linux.session_of(self.pid, self._known) if one.alive]
        self._known |= {(one.pid, one.started) for one in found}
        return found

    def listening(self) -> set[tuple[str, int]]:
        """Return the addresses that the session listens on."""
        return linux.listening([one.pid for one in self.tree()])

    def connections(self) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        """Return local and remote address of the session's open TCP connections."""
        return linux.established([one.pid for one in self.tree()])

    def files(self) -> int:
        """Return how many file descriptors the session has open."""
        return sum(len(linux.open_files(one.pid)) for one in self.tree())

    def resident(self) -> int:
        """Return how many bytes of memory the session has resident (RSS, shared pages counted in each)."""
        return sum(one.resident for one in self.tree())

    def output(self, since: float = 0.0) -> str:
        """Return what was written since a monotonic time, as one text."""
        return "\n".join(line.text for line in self.lines if line.at >= since)

    # Waiting for it

    async def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``holds``, which is asked now and whenever it wrote or ended; False if it never did."""
        return await self._news.wait(holds, seconds)

    async def wait_line(
        self, wanted: Callable[[str], bool], seconds: float, since: float = 0.0
    ) -> Line | None:
        """Return the first line since then for which ``wanted`` holds, or None when none came in time."""
        found: list[Line] = []
        looked = 0

        def look() -> bool:
            nonlocal looked
            fresh = self.lines[looked:]
            looked += len(fresh)
            found.extend(line for line in fresh if line.at >= since and wanted(line.text))
            return bool(found)

        await self.wait_until(look, seconds)
        return found[0] if found else None

    async def wait_end(self, seconds: float) -> Exit | None:
        """Wait for the started process to end; None when it still runs after ``seconds``."""
        await self.wait_until(lambda: self.ended is not None, seconds)
        return self.ended

    async def wait_silence(self, seconds: float) -> None:
        """Wait until both streams are at their end, so that :attr:`lines` is complete."""
        await asyncio.wait(self._tasks[:2], timeout=seconds)

    # Ending it

    def signal(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal to the started process alone; return when."""
        self.tree()
        self.told_to_stop = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return time.monotonic()

    async def close(self) -> None:
        """Kill what is left of the session, and of what left it."""
        if self._closed:
            return
        self._closed = True
        self.told_to_stop = True
        self.kill()
        await asyncio.shield(self._finish())

    def kill(self) -> None:
        """Kill the whole session at once; for :meth:`close`, and for a check that is being torn down."""
        left = self.tree()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for one in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one.pid, signal.SIGKILL)

    async def _finish(self) -> None:
        await self.wait_end(5)
        # A process that escaped with our pipe would keep the streams open for ever.
        await self.wait_silence(0.5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._guard is not None:
            # A word before the end of its input: there is nothing left to end.
            self._guard.communicate(b"over\n")

    async def _listen(self, stream: str, pipe: IO[bytes]) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        rest = b""
        try:
            while data := await reader.read(65_536):
                at = time.monotonic()
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    self._keep(Line(at, stream, line.decode("utf-8", "replace").rstrip("\r")))
                if len(rest) > _LONGEST_LINE:
                    self._keep(Line(at, stream, rest.decode("utf-8", "replace")))
                    rest = b""
                await self._news.announce()
            if rest:
                self._keep(Line(time.monotonic(), stream, rest.decode("utf-8", "replace")))
                await self._news.announce()
        finally:
            transport.close()

    def _keep(self, line: Line) -> None:
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)

    async def _await_end(self) -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        handle = os.pidfd_open(self.pid)
        loop.add_reader(handle, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
        code = self.process.wait()
        at = time.monotonic()
        self.ended = Exit(at, code, None) if code >= 0 else Exit(at, None, -code)
        await self._news.announce()


def _guard(session: int) -> subprocess.Popen[bytes] | None:
    """Start what kills the session when this process is gone without a word, killed with -9 for one.

    The kernel closes the pipe of a process however it ends. PR_SET_PDEATHSIG would reach the started process
    alone, and not its workers.
    """
    with contextlib.suppress(OSError):
        return subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", 'read -r word || kill -KILL "-$0"', str(session)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
    return None


def require_free(host: str, port: int) -> None:
    """Refuse to start a service where something else listens already.

    Raises:
        PortTaken: something listens there.
    """
    if not is_free(host, port):
        raise PortTaken(
            f"something else listens on {host}:{port} already; stop it, or let the check choose a port "
            "(listen.port_env in the manifest)"
        )
