"""A real Redis server for one test: Debian's ``redis-server`` on a free port, in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.patience import DEADLINE

__all__ = ("RedisServer",)


class RedisServer:
    """Starts with the ``with`` block and is gone after it.

    Parameters:
        options: further command-line options, as in ``("--requirepass", "x")``.

    Raises:
        RuntimeError: there is no ``redis-server`` on this machine, or it does not start.
    """

    def __init__(self, *options: str) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("these tests need redis-server: apt-get install redis-server")
        self._binary = binary
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="roadworthy-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> "redis.Redis":
        """Return a plain client for looking into the server."""
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def start(self) -> None:
        """Start it, or start it again on the same port, and wait until it answers."""
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "no", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            with self.client() as client:
                try:
                    client.ping()
                except redis.AuthenticationError:
                    return
                except redis.RedisError:
                    time.sleep(0.01)
                else:
                    return
            if self._process.poll() is not None:
                break
        self.stop()
        raise RuntimeError("redis-server did not start")

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it from running: connections stay up and nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
