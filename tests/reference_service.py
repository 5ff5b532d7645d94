"""Starts the reference service for a test: a process of its own, a free port, a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.free_port import free_port
from tests.patience import DEADLINE

__all__ = ("REFERENCE", "Running", "reference_service")

REFERENCE = Path(__file__).parent.parent / "examples" / "reference"


@dataclass(frozen=True, slots=True)
class Running:
    """A started reference service."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[str]:
        """What it has written to standard output so far."""
        return self.log.read_text(errors="replace").splitlines()


@contextmanager
def reference_service(folder: Path, entry: str = "reference.main:app", **settings: str) -> Iterator[Running]:
    """Start ``entry`` in ``folder`` and stop it again; settings are environment variables by their names."""
    port = free_port()
    log = folder / "service.log"
    environment = {
        **os.environ,
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder}/data.db",
        "ROADWORTHY_OPS_PORT": "0",
        "ROADWORTHY_RATE_LIMIT": "off",
        "ROADWORTHY_DRAIN_DELAY": "0",
        "PYTHONPATH": str(REFERENCE),
        **settings,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "roadworthy", "run", entry],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                    break
            except OSError:
                continue
        yield Running(url, port, process, log)
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
