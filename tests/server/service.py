"""Starts a real `roadworthy` process, waits for what it says, and stops it by its id."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roadworthy.settings import PREFIX, WELL_KNOWN

from ..free_port import free_port
from ..patience import DEADLINE, until

__all__ = ("Running", "command", "free_port", "get", "running")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's variables without those that settings read."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PREFIX)
        and name not in WELL_KNOWN.values()
        # Importing the fixture site in this process sets it for good.
        and name != "DJANGO_SETTINGS_MODULE"
    }
    return {**kept, "PYTHONWARNINGS": "default", **(more or {})}


def command(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", *arguments],
        cwd=cwd, env=environment(env), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip


class Running:
    """A started process and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def output(self) -> str:
        """Everything on standard output so far."""
        return self._out.read_text()

    @property
    def errors(self) -> str:
        """Everything on standard error so far."""
        return self._err.read_text()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The complete JSON lines on standard output so far."""
        return [json.loads(line) for line in self.output.splitlines(keepends=True) if line.endswith("}\n")]

    def record_of(self, message: str) -> dict[str, Any]:
        """Return the record with this message, which has been written."""
        return next(one for one in self.records if one.get("message") == message)

    def record(self, message: str) -> dict[str, Any]:
        """Wait for the record with this message."""

        def found() -> dict[str, Any] | None:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.output}{self.errors}")
            return next((one for one in self.records if one.get("message") == message), None)

        made: dict[str, Any] = until(found, f"a record {message!r}")
        return made

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for the end."""
        return self.process.wait(DEADLINE)


@contextmanager
def running(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    program: list[str] | None = None,
    place: Path | None = None,
) -> Iterator[Running]:
    """Start `roadworthy` (or another program of this interpreter) and end it with the block.

    What it writes is kept in `place`, or where it runs.
    """
    out, err = (place or cwd) / "stdout.txt", (place or cwd) / "stderr.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *(program or ["-m", "roadworthy"]), *arguments],
            cwd=cwd, env=environment(env), stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield Running(process, out, err)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)


def get(url: str, path: str = "/") -> tuple[int, bytes]:
    """Ask on a connection of its own; returns status and body."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
