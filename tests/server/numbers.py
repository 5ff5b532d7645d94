"""Clients and readers of a service with several workers: exact numbers of requests, and its log in a pipe."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import DEADLINE, until

from .drain import APP, ROOT
from .load import Client, ask
from .service import environment, free_port

__all__ = ("Reader", "ask_exactly", "operations_of", "piped", "timed", "wait_for")

_CLIENTS = 16


async def ask_exactly(port: int, count: int, path: str = "/") -> list[int]:
    """Ask ``count`` times over several connections; return the statuses."""
    left = iter(range(count))
    statuses: list[int] = []

    async def some() -> None:
        client = Client(port)
        for _ in left:
            outcome = await client.ask(path)
            assert outcome.kind == "ok"
            statuses.append(outcome.status)
        client.close()

    await asyncio.gather(*(some() for _ in range(_CLIENTS)))
    return statuses


async def timed(port: int, count: int) -> float:
    """Return the 99th percentile of ``count`` requests over four connections, in seconds."""
    seconds: list[float] = []

    async def some() -> None:
        client = Client(port)
        for _ in range(count // 4):
            outcome = await client.ask()
            seconds.append(outcome.seconds)
        client.close()

    await asyncio.gather(*(some() for _ in range(4)))
    return statistics.quantiles(seconds, n=100)[98]


@contextmanager
def piped(
    folder: Path, workers: int, app: str = APP, **env: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Serve with standard output on a pipe, which the caller reads or does not; gives process and port."""
    port = free_port()
    variables = {"PYTHONPATH": str(ROOT), "ROADWORTHY_RATE_LIMIT": "off", **env}
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "run", app, "--port", str(port), "--ops-port", "0", "--workers",
         str(workers), "--drain-delay", "0", "--log-format", "json"],
        cwd=folder, stdout=subprocess.PIPE, env=environment(variables),
    )  # fmt: skip
    try:
        yield process, port
    finally:
        process.kill()
        process.wait(DEADLINE)
        if process.stdout is not None:
            process.stdout.close()


def wait_for(port: int, path: str = "/") -> None:
    """Wait until the service answers."""
    until(lambda: asyncio.run(ask(port, path)).kind == "ok", "the service answers")


class Reader:
    """Reads a process's standard output to its end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._lines: list[bytes] = []
        self._process = process
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def lines(self) -> list[bytes]:
        """Wait for the end and return every line."""
        self._thread.join(30)
        return self._lines


def operations_of(process: subprocess.Popen[bytes]) -> str:
    """Read standard output up to the record that names the operations listener; return its URL."""
    assert process.stdout is not None
    for line in process.stdout:
        found = json.loads(line)
        if found.get("message") == "listening":
            return str(found["operations_url"])
    raise AssertionError("the service did not say where operations are served")
