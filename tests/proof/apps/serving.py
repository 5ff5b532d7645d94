"""An application as a process, bare on uvicorn or under `roadworthy run`."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import DEADLINE, until

from ...server.service import environment, free_port
from .application import FOLDER, Application
from .venvs import interpreter

__all__ = ("Served", "served")


class Served:
    """A started application.

    Parameters:
        process: what was started.
        port: where it is.
        log: what it wrote.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: str, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    @property
    def log(self) -> str:
        """Everything that it wrote so far."""
        return self._log.read_text(errors="replace")

    def records(self, *levels: str) -> list[dict[str, Any]]:
        """Return its records of these levels."""
        lines = [line for line in self.log.splitlines(keepends=True) if line.startswith("{")]
        found = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [one for one in found if one.get("level") in levels]

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; returns the exit code and the seconds that the end took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE)
        return code, time.monotonic() - begun


@contextmanager
def served(name: str, application: Application, folder: Path, *, bare: bool) -> Iterator[Served]:
    """Serve an application in a folder of its own, prepared as it says."""
    python = str(interpreter(name))
    site = FOLDER / name / "site"
    if site.exists():
        shutil.copytree(site, folder, dirs_exist_ok=True)
    folder.mkdir(exist_ok=True)
    variables = environment(
        {"PYTHONPATH": str(folder), "HOME": str(folder), "PYTHONHASHSEED": "0", **application.env}
    )
    del variables["PYTHONWARNINGS"]
    for arguments in application.prepare:
        subprocess.run([python, *arguments], cwd=folder, env=variables, check=True, capture_output=True)
    port = str(free_port())
    if bare:
        command = ["-m", "uvicorn", application.target, "--port", port, "--no-server-header"]
        command += ["--factory"] if application.factory else []
    else:
        command = ["-m", "roadworthy", "run", application.target, "--port", port, "--ops-port", "0"]
        variables |= {f"ROADWORTHY_{one}": value for one, (value, _) in application.settings.items()}
    log = folder.with_suffix(".txt")
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [python, *command], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        found = Served(process, port, log)
        until(lambda: process.poll() is not None or _listens(port), f"{name} listens")
        assert process.poll() is None, f"{name} did not start:\n{found.log[-4000:]}"
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)


def _listens(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port))).close()
    except ConnectionRefusedError:
        return False
    return True
