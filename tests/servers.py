"""Starts real ASGI servers as real processes on a free port, and ends them again by their own id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, TypeAlias

from .free_port import free_port
from .patience import DEADLINE

__all__ = ("ROOT", "SERVERS", "Server", "ServerKind", "free_port", "serving")

ServerKind: TypeAlias = Literal["uvicorn", "granian", "hypercorn", "roadworthy"]
SERVERS: tuple[ServerKind, ...] = ("uvicorn", "granian", "hypercorn")
ROOT = Path(__file__).parent.parent
_DEFAULTS = {
    "ROADWORTHY_OPS_PORT": "0",  # any: the usual one belongs to one service at a time
    "ROADWORTHY_DRAIN_DELAY": "0",  # would be waited for at the end of each service
}


def _command(kind: ServerKind, app: str, port: int) -> list[str]:
    if kind == "uvicorn":
        return [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
    if kind == "roadworthy":
        return [sys.executable, "-m", "roadworthy", "run", app, "--host", "127.0.0.1", "--port", str(port)]
    if kind == "hypercorn":
        return [sys.executable, "-m", "hypercorn", app, "--bind", f"127.0.0.1:{port}"]
    return [
        *(sys.executable, "-m", "granian", app, "--interface", "asgi"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


class _Lines:
    """The lines of one pipe, read by a thread; a reader waits for a line, never for a time."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._news = threading.Condition()
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            with self._news:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()

    def now(self) -> list[str]:
        with self._news:
            return list(self._lines)

    def wait(self, wanted: Callable[[list[str]], bool], seconds: float) -> list[str]:
        with self._news:
            if not self._news.wait_for(lambda: wanted(self._lines), seconds):
                raise AssertionError("the expected lines did not come:\n" + "\n".join(self._lines[-30:]))
            return list(self._lines)

    def close(self) -> None:
        self._thread.join(5)
        self._pipe.close()


class Server:
    """One running server. Its process and the processes that it starts are a group of their own.

    Parameters:
        app: the import path.
        env: further environment variables; they stand in place of the defaults of tests.
        cwd: the working directory.
        flags: further words of its command line.
        descriptors: how many it may have open; None for as many as this process.
        stdout: where its standard output goes, instead of being kept here.
    """

    def __init__(
        self,
        kind: ServerKind,
        app: str,
        env: Mapping[str, str],
        cwd: Path,
        *,
        flags: Sequence[str] = (),
        descriptors: int | None = None,
        stdout: int = subprocess.PIPE,
    ) -> None:
        self.kind = kind
        self.cwd = cwd
        self.port = free_port()
        settings = {name: value for name, value in os.environ.items() if not name.startswith("ROADWORTHY_")}
        settings |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **_DEFAULTS, **env}
        command = [*_command(kind, app, self.port), *flags]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            env=settings,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self._out = None if self.process.stdout is None else _Lines(self.process.stdout)
        self._err = _Lines(self.process.stderr)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the process that was started; servers with workers start further ones."""
        return self.process.pid

    def stdout(self) -> list[str]:
        """Return the lines of standard output so far."""
        return [] if self._out is None else self._out.now()

    def stderr(self) -> list[str]:
        """Return the lines of standard error so far."""
        return self._err.now()

    def wait_stdout(self, wanted: Callable[[list[str]], bool], seconds: float = DEADLINE) -> list[str]:
        """Return all lines once ``wanted`` holds for them; fail after ``seconds``."""
        assert self._out is not None
        return self._out.wait(wanted, seconds)

    def connect(self, seconds: float = DEADLINE) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def wait_ready(self, path: str = "/") -> bool:
        """Wait for any HTTP answer; False when the process ended first."""
        deadline = time.monotonic() + DEADLINE
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), self.connect(2.0) as connection:
                connection.sendall(request)
                if connection.recv(5) == b"HTTP/":
                    return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                return False
        return False

    def terminate(self) -> None:
        """Send SIGTERM to the process that was started, as a supervisor does."""
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, seconds: float = DEADLINE) -> int:
        """Return the exit status; fail after ``seconds``."""
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End it: by SIGTERM, and by SIGKILL to its own group when that does not help."""
        if self.process.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(DEADLINE)
        # Workers that outlived their parent are in the group that was made for them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)
        if self._out is not None:
            self._out.close()
        self._err.close()


@contextlib.contextmanager
def serving(
    kind: ServerKind, app: str, cwd: Path, env: Mapping[str, str] | None = None, path: str = "/"
) -> Iterator[Server]:
    """Serve ``app`` (``"package.module:name"``) until the block ends.

    Parameters:
        cwd: the working directory, so that no ``.env`` or database of the repository is picked up.
        env: further environment variables; ``ROADWORTHY_*`` of the tests' own environment are dropped.
        path: what is asked until it answers.
    """
    for _ in range(3):
        server = Server(kind, app, env or {}, cwd)
        try:
            if not server.wait_ready(path):
                text = "\n".join([*server.stdout(), *server.stderr()])
                if "in use" in text.lower():
                    continue
                raise AssertionError(f"{kind} did not answer on {server.url}:\n{text}")
            yield server
            return
        finally:
            server.stop()
    raise AssertionError("three ports in a row were taken")
