"""Running a server on one core and loading it with wrk from another."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ("Measured", "Server", "load", "serving")

ROOT = Path(__file__).parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Server:
    """A started server: its process and its port."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """User and system time of the process and its workers, all threads."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.pid))

    @contextmanager
    def last_worker_stopped(self) -> Iterator[None]:
        """Stop the process that was started last (SIGSTOP) for as long as this lasts.

        Two workers that are busy on one core mostly measure how often they throw each other out of its
        caches, and to which of them the connections happened to fall.
        """
        last = max(_tree(self.pid))
        os.kill(last, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(last, signal.SIGCONT)

    def memory_mb(self) -> float:
        """Resident memory in MB (10^6 bytes)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of load, or a slice of one."""

    requests: int
    seconds: float
    cpu_seconds: float
    stolen_seconds: float
    """For which the machine's host gave the server's core to others (0 on bare metal)."""

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.requests + other.requests,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.stolen_seconds + other.stolen_seconds,
        )

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's CPU per request."""
        return self.cpu_seconds / self.requests * 1e6


def _cpu_seconds(pid: int) -> float:
    # schedstat counts nanoseconds; the times in stat are ticks of 10 ms, too coarse for a slice of a second.
    return (
        sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )


def _stolen_seconds() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{SERVER_CORE} "))
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    app: str,
    path: str,
    by: str = "uvicorn",
    workers: int = 1,
    source: Path | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Serve ``app`` on the server's core, its log going to /dev/null.

    Parameters:
        app: the import path.
        path: what answers 200 when the server is ready.
        by: ``uvicorn`` as it is, ``protocol`` for uvicorn with our protocol class, or ``roadworthy`` run.
        workers: processes that serve; all on that one core.
        source: the folder to import ``roadworthy`` from; this tree's own by default.
        environment: variables for the server.
    """
    port = _free_port()
    commands = {
        "uvicorn": ["uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"],
        "protocol": ["benchmarks.uvicorn_with_protocol", app, str(port)],
        "roadworthy": [
            "roadworthy",
            "run",
            app,
            "--port",
            str(port),
            "--ops-port",
            "0",
            "--drain-delay",
            "0",
        ],
    }
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", *commands[by]]
    if workers > 1:
        command += ["--workers", str(workers)]
    env = {**os.environ, "PYTHONPATH": f"{source or ROOT / 'src'}:{ROOT}", **environment}
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=nowhere)
    try:
        _until_ready(process, port, path)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode} before it answered")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{path} did not answer 200 within 20 s")


def load(server: Server, path: str, seconds: float) -> Measured:
    """Load ``path`` for ``seconds`` from the other core.

    Raises:
        SystemExit: wrk is missing, or any answer was not 2xx: a fast error is no result.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    before, stolen = server.cpu_seconds(), _stolen_seconds()
    command = [
        *("taskset", "-c", str(LOAD_CORE), wrk, "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds:g}s"),
        f"http://127.0.0.1:{server.port}{path}",
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used, stolen = server.cpu_seconds() - before, _stolen_seconds() - stolen
    found = re.search(r"(\d+) requests in ([\d.]+)s", out)
    if found is None or "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"not a clean round:\n{out}")
    return Measured(int(found[1]), float(found[2]), used, stolen)
