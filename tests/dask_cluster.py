"""A real Dask cluster for tests: a scheduler and workers, processes of their own on free ports."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen

from tests.free_port import free_port
from tests.patience import DEADLINE, until
from tests.reference_service import REFERENCE

__all__ = ("DaskCluster",)

_ROOT = Path(__file__).parents[1]


class DaskCluster:
    """Starts with the ``with`` block and is gone after it.

    Parameters:
        workers: worker processes.
        threads: of each.
        nanny: each has another process beside it, which starts a new one when it is lost.
        certificates: files of the authority, the certificate and its key; with them all speak TLS.
    """

    def __init__(
        self, workers: int = 1, threads: int = 1, *, nanny: bool = True, certificates: Sequence[Path] = ()
    ) -> None:
        self._count, self._threads, self._nanny = workers, threads, nanny
        self._tls = [
            f"--tls-{kind}={path}"
            for kind, path in zip(("ca-file", "cert", "key"), certificates, strict=bool(certificates))
        ]
        self._protocol = "tls" if certificates else "tcp"
        self._folder = tempfile.TemporaryDirectory(prefix="roadworthy-dask-")
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.port, self._page = free_port(), free_port()

    @property
    def url(self) -> str:
        """The value of ``ROADWORTHY_OFFLOAD``."""
        return f"{'tls' if self._tls else 'dask'}://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the processes have written."""
        return Path(self._folder.name) / "log"

    def start_scheduler(self) -> None:
        """Start the scheduler, or start it again on the same port, and wait until it listens."""
        before = self.said("Scheduler at")
        self._scheduler = self.run(
            "dask_scheduler", f"--port={self.port}", f"--dashboard-address=127.0.0.1:{self._page}", *self._tls
        )
        until(lambda: self.said("Scheduler at") > before, "the scheduler listens")

    def start_worker(self, before: str = "") -> subprocess.Popen[bytes]:
        """Start a worker, which waits for the scheduler.

        Parameters:
            before: code that is run first.
        """
        worker = self.run(
            "dask_worker",
            f"{self._protocol}://127.0.0.1:{self.port}",
            f"--nthreads={self._threads}",
            "--nanny" if self._nanny else "--no-nanny",
            "--dashboard-address=127.0.0.1:0",
            *self._tls,
            before=before,
        )
        self.workers.append(worker)
        return worker

    def run(self, module: str, *options: str, before: str = "") -> subprocess.Popen[bytes]:
        """Start a command of Dask's.

        Parameters:
            module: of ``distributed.cli``.
            options: of the command.
            before: code that is run first.
        """
        code = f"{before}\nfrom distributed.cli.{module} import main\nmain()"
        # Bound to loopback by name: what a process is called by others, and what it listens on.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, "--host=127.0.0.1", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{_ROOT}:{REFERENCE}",
                    "PYTHONWARNINGS": "",
                    "DASK_TEMPORARY_DIRECTORY": self._folder.name,
                },
            )

    def stop_scheduler(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the scheduler."""
        if self._scheduler is not None:
            _end(self._scheduler, number)
            self._scheduler = None

    def pause_scheduler(self, number: signal.Signals = signal.SIGSTOP) -> None:
        """Stop the scheduler from running, or let it run again with SIGCONT."""
        assert self._scheduler is not None
        os.kill(self._scheduler.pid, number)

    def stop_workers(self) -> None:
        """End all workers."""
        while self.workers:
            _end(self.workers.pop(), signal.SIGKILL)

    def restore(self) -> None:
        """Have the scheduler and as many workers as in the beginning, started anew if they are not there."""
        if self._scheduler is None:
            self.stop_workers()
        while len(self.workers) > self._count:
            _end(self.workers.pop(), signal.SIGKILL)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self._count:
            self.start_worker()
        if self._scheduler is None:
            self.start_scheduler()

    def tasks(self) -> int:
        """Return how many tasks the scheduler has."""
        return self._count_of("tasks")

    def threads(self) -> int:
        """Return how many threads its workers have."""
        return self._count_of("cores")

    def _count_of(self, name: str) -> int:
        with urlopen(f"http://127.0.0.1:{self._page}/json/counts.json", timeout=DEADLINE) as answer:
            return int(json.load(answer)[name])

    def said(self, text: str) -> int:
        """Return how often the processes have written a text."""
        return self.log.read_bytes().count(text.encode()) if self.log.exists() else 0

    def __enter__(self) -> "DaskCluster":
        try:
            self.restore()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_workers()
        self.stop_scheduler()
        self._folder.cleanup()


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # With the worker that it keeps.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait()
