"""What a case works with on one server: the service started as it wants it, and looks into its processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..servers import Server, free_port
from .case import Setup, Subject
from .wire import Answer, ask

__all__ = ("Bench", "Service")

_QUIET = {
    "rate_limit": "off", "drain_delay": "1s", "grace": "5s", "stream_grace": "1s",
    "max_in_flight": "3000", "queue_size": "1000",
}  # fmt: skip
_FLAGS: dict[Subject, tuple[str, ...]] = {
    "roadworthy": (),
    "uvicorn": ("--no-access-log",),
    "granian": (),
}
_START_SECONDS = 60.0


class Service:
    """A started server and the app's journal."""

    def __init__(self, subject: Subject, setup: Setup, folder: Path, stdout: int = subprocess.PIPE) -> None:
        self.subject: Subject = subject
        self.journal_file = folder / "journal.txt"
        self.journal_file.touch()
        self.ops_port = free_port()
        env = {"FAULTS_JOURNAL": str(self.journal_file), **setup.env}
        flags = [*_FLAGS[subject], *setup.flags.get(subject, ())]
        if subject == "roadworthy":
            env |= {f"ROADWORTHY_{name.upper()}": value for name, value in {**_QUIET, **setup.ours}.items()}
            flags += ["--ops-port", str(self.ops_port)]
        if setup.workers > 1:
            flags += ["--workers", str(setup.workers)]
        app = f"tests.faults.{'layered' if subject == 'roadworthy' else 'usual'}:app"
        self.server = Server(
            subject, app, env, folder, flags=flags, descriptors=setup.descriptors, stdout=stdout
        )
        self.workers = setup.workers

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    @property
    def metrics_url(self) -> str:
        """Where it shows its metrics: on the listener for operations, or among its routes."""
        port = self.ops_port if self.subject == "roadworthy" else self.port
        return f"http://127.0.0.1:{port}/metrics"

    def wait_ready(self) -> None:
        """Wait until every worker answers.

        Raises:
            RuntimeError: the server ended instead, or does not answer.
        """
        if not self.server.wait_ready("/pid"):
            raise RuntimeError("it did not start: " + " ".join(self.log()[-5:]))
        if self.workers > 1:
            self.until(lambda: len(self.pids()) >= self.workers, _START_SECONDS, "all workers answer")

    def log(self) -> list[str]:
        """Return every line that it wrote so far."""
        return [*self.server.stdout(), *self.server.stderr()]

    def journal(self) -> list[str]:
        """Return what the app saw so far."""
        return self.journal_file.read_text().splitlines()

    def ask(self, path: str = "/pid", fields: bytes = b"", **how: Any) -> Answer:
        """Send one request on a connection of its own."""
        return ask(self.port, path, fields, **how)

    def pids(self, tries: int = 60) -> set[int]:
        """Return the ids of the processes that answer, asked over many connections."""
        found: set[int] = set()
        for _ in range(tries):
            with contextlib.suppress(OSError, ValueError, KeyError):
                found.add(int(json.loads(self.ask(seconds=2.0).body)["pid"]))
            if len(found) >= self.workers:
                break
        return found

    def works(self) -> bool:
        """Whether it answers a plain request."""
        with contextlib.suppress(OSError):
            return self.ask(seconds=5.0).status == 200
        return False

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait for a condition; return after how many seconds it held.

        Raises:
            TimeoutError: it did not hold in time.
        """
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"not within {seconds:g} s: {what}")
            time.sleep(0.02)
        return time.monotonic() - began

    def ended(self, seconds: float) -> bool:
        """Wait for its end, at most for that long."""
        try:
            self.server.wait_exit(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def family(self) -> list[int]:
        """Return the ids of its processes that run."""
        return list(_tree(self.server.pid))

    def memory_mb(self) -> float:
        """Return the resident memory of all its processes, in 10^6 bytes."""
        total = 0
        for one in self.family():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        return total * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads of its processes."""
        total = 0.0
        for one in self.family():
            for task in Path(f"/proc/{one}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(task.read_text().split()[0]) / 1e9
        return total

    def metrics(self) -> str:
        """Return a scrape.

        Raises:
            OSError: it failed.
        """
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            return str(answer.read().decode())


def _tree(pid: int) -> Iterator[int]:
    if Path(f"/proc/{pid}").exists():
        yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


class Bench:
    """Starts the service for the cases of one server, and keeps the plain one for those that share it.

    Parameters:
        subject: the server.
        scale: the share of the full numbers, above 0 and at most 1.

    Attributes:
        known: results that several cases judge, by name.
    """

    def __init__(self, subject: Subject, scale: float = 1.0) -> None:
        self.subject: Subject = subject
        self.scale = scale
        self.known: dict[str, Any] = {}
        self._shared: dict[str, tuple[Service, contextlib.ExitStack]] = {}

    @property
    def ours(self) -> bool:
        """Whether it is Roadworthy's server."""
        return self.subject == "roadworthy"

    def many(self, full: int, least: int = 1) -> int:
        """Return the scaled number."""
        return max(least, round(full * self.scale))

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Lend an empty folder."""
        with tempfile.TemporaryDirectory(prefix="roadworthy-faults-") as name:
            yield Path(name)

    @contextlib.contextmanager
    def started(self, setup: Setup | None = None, *, ready: bool = True) -> Iterator[Service]:
        """Start a service of the case's own and end it with the block."""
        with self.folder() as folder:
            service = Service(self.subject, setup or Setup(), folder)
            try:
                if ready:
                    service.wait_ready()
                yield service
            finally:
                service.server.stop()

    def shared(self, setup: Setup | None = None) -> Service:
        """Return the running service of this setup, started when there is none that works."""
        key = repr(setup)
        known = self._shared.pop(key, None)
        if known is not None:
            if known[0].works():
                self._shared[key] = known
                return known[0]
            known[1].close()
        stack = contextlib.ExitStack()
        service = stack.enter_context(self.started(setup))
        self._shared[key] = service, stack
        return service

    def close(self) -> None:
        """End what is shared, all at the same time."""
        for service, _ in self._shared.values():
            service.server.terminate()
        while self._shared:
            self._shared.popitem()[1][1].close()


def scrape_status(url: str) -> int:
    """Return the status of a scrape, 0 without an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
