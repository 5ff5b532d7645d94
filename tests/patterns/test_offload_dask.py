"""Offloaded work in a Dask cluster: what only a cluster has. Scheduler and workers are real processes.

What it has in common with the other ways is tried in ``test_offload.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

import roadworthy
from roadworthy import Settings, UnavailableError
from roadworthy.patterns import OffloadPool, RemoteError, WorkerCrashedError, offload
from roadworthy.settings import SettingsError
from tests.dask_cluster import DaskCluster
from tests.free_port import free_port
from tests.patience import DEADLINE, eventually, until
from tests.reference_service import reference_service

from . import work
from .test_offload import begun

pytestmark = [pytest.mark.anyio, pytest.mark.long]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared() -> Iterator[DaskCluster]:
    """A scheduler and a worker of two threads."""
    with DaskCluster(threads=2, nanny=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: DaskCluster) -> DaskCluster:
    """The same, whatever the test before has left."""
    shared.restore()
    return shared


def settings_of(cluster: DaskCluster, **more: Any) -> Settings:
    """Return the settings of a service that uses a cluster."""
    return Settings(_env_file=None, offload=cluster.url, **more)


@asynccontextmanager
async def pool_of(cluster: DaskCluster, **more: Any) -> AsyncGenerator[OffloadPool]:
    """Open a pool, and wait for the cluster to have a worker."""
    async with OffloadPool(settings_of(cluster), timeout=DEADLINE, **more) as pool:
        while await trouble(pool):
            await asyncio.sleep(0.01)
        yield pool


async def trouble(pool: OffloadPool) -> str:
    """Return what health says of a pool."""
    try:
        await pool.ping()
    except RuntimeError as error:
        return str(error)
    return ""


async def test_a_worker_that_is_told_to_end_costs_its_work_and_nothing_twice(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    """Dask would run the work again on the next worker; its caller gets an error, and it is begun once."""
    async with pool_of(cluster) as pool:
        notes, go = tmp_path / "notes", tmp_path / "go"
        doing = asyncio.ensure_future(offload(work.count_and_wait, str(notes), str(go)))
        await eventually(notes.exists, "the work has begun")
        cluster.start_worker()
        await eventually(lambda: pool.stats().workers == 4, "the threads of both are counted")
        first = cluster.workers.pop(0)
        first.terminate()
        try:
            with pytest.raises(WorkerCrashedError, match="while it ran count_and_wait"):
                await doing
            assert await offload(work.square, 3) == 9
        finally:
            go.touch()
            await asyncio.to_thread(first.wait)
        assert notes.read_text().count("begun") == 1


def test_a_permit_is_good_for_one_beginning(cluster: DaskCluster) -> None:
    """Whoever runs a piece a second time, for whatever reason, does not begin it."""
    program = (
        "import pickle, sys\n"
        "from distributed import Client, Queue\n"
        "from roadworthy.patterns.offload.dask_worker import perform\n"
        "from tests.patterns import work\n"
        "payload = pickle.dumps(('', work.square, (3,)))\n"
        "with Client(sys.argv[1]) as client:\n"
        "    Queue('piece', maxsize=1).put(True)\n"
        "    runs = [client.submit(perform, 'piece', 'topic', 20, payload, pure=False) for _ in range(4)]\n"
        "    print(sorted(map(bool, client.gather(runs))))\n"
    )
    address = f"tcp://127.0.0.1:{cluster.port}"
    done = subprocess.run(
        [sys.executable, "-c", program, address], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[False, False, False, True]\n"


async def occupy(folder: Path) -> tuple[asyncio.Future[list[str]], Path]:
    """Give both threads of the cluster work, which is done when the file exists."""
    go = folder / "go"
    notes = [folder / "one", folder / "two"]
    doing = asyncio.gather(*(offload(work.note_and_wait, str(note), str(go)) for note in notes))
    for note in notes:
        await begun(note)
    return doing, go


async def test_work_that_waits_in_the_cluster_is_taken_back_at_its_deadline(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    """The pool sends more than the workers can do: what has not begun by its deadline never does."""
    async with pool_of(cluster, workers=3) as pool:
        doing, go = await occupy(tmp_path)
        seen = tmp_path / "seen"
        with pytest.raises(roadworthy.TimeoutError):
            await offload(work.note_and_spin, str(seen), timeout=0.5)
        await eventually(lambda: pool.stats().busy == 2, "its place is free")
        go.touch()
        assert await doing == ["seen"] * 2
        assert await asyncio.gather(*(offload(work.square, 3) for _ in range(3))) == [9] * 3
        assert not seen.exists()


def test_work_that_waits_in_the_cluster_goes_with_its_service(cluster: DaskCluster, tmp_path: Path) -> None:
    """kill -9 of the service: what runs goes on, what waits in the cluster never begins."""
    program = (
        "import asyncio, pathlib, sys\n"
        "from roadworthy.patterns import OffloadPool, offload\n"
        "from tests.patterns import test_offload_dask, work\n"
        "async def main():\n"
        "    async with OffloadPool(workers=3) as pool:\n"
        "        await test_offload_dask.occupy(pathlib.Path(sys.argv[1]))\n"
        "        await offload(work.note_and_spin, sys.argv[2])\n"
        "asyncio.run(main())\n"
    )
    seen = tmp_path / "seen"
    service = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(seen)],
        cwd=ROOT,
        env={**os.environ, "ROADWORTHY_OFFLOAD": cluster.url, "ROADWORTHY_OFFLOAD_TIMEOUT": str(DEADLINE)},
    )
    until(lambda: cluster.tasks() == 3, "all pieces are there")
    service.kill()
    service.wait()
    until(lambda: cluster.tasks() == 0, "the scheduler has forgotten them")

    async def go_on() -> None:
        async with pool_of(cluster):  # which has asked the worker, after what the scheduler has told it
            (tmp_path / "go").touch()
            assert await asyncio.gather(*(offload(work.square, 3) for _ in range(3))) == [9] * 3

    asyncio.run(go_on())
    assert not seen.exists()


async def test_a_cluster_without_workers(cluster: DaskCluster) -> None:
    """Health says so; work waits for a worker that comes, until its deadline."""
    cluster.stop_workers()
    async with OffloadPool(settings_of(cluster), timeout=DEADLINE) as pool:
        assert "has no workers" in await trouble(pool)
        with pytest.raises(roadworthy.TimeoutError):
            await offload(work.square, 3, timeout=0.1)
        doing = asyncio.ensure_future(offload(work.square, 4))
        cluster.start_worker()
        assert await doing == 16
        await eventually(lambda: pool.stats().workers == 2, "the worker's threads are counted")
        assert await trouble(pool) == ""
    async with pool_of(cluster, workers=7) as pool:
        assert pool.stats().workers == 7


variable: ContextVar[str] = ContextVar("variable")


async def test_records_of_two_pieces_in_one_worker_are_not_mixed_up(cluster: DaskCluster) -> None:
    """Each record is written in the context of the caller whose work has logged it."""
    found: list[tuple[str, str]] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.getMessage(), variable.get()))

    async def call(name: str) -> None:
        variable.set(name)
        for _ in range(5):
            await offload(work.log, name)

    logger, note = logging.getLogger("service.work"), Note()
    logger.addHandler(note)
    try:
        async with pool_of(cluster):
            await asyncio.gather(*(call(f"caller {number}") for number in range(4)))
            await eventually(lambda: len(found) == 20, "all records have come")
    finally:
        logger.removeHandler(note)
    assert Counter(found) == {(f"says caller {n}", f"caller {n}"): 5 for n in range(4)}


async def test_arguments_and_results_may_be_large(cluster: DaskCluster) -> None:
    """What Dask would warn of arrives: 20 MB in both directions."""
    async with pool_of(cluster):
        assert await offload(len, bytes(20 << 20)) == 20 << 20
        assert len(await offload(work.big, 20 << 20)) == 20 << 20


async def test_a_scheduler_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """The start fails within the time for a connection, says which scheduler, and leaves no thread behind."""
    port = free_port()
    settings = Settings(_env_file=None, offload=f"dask://127.0.0.1:{port}", pool_timeout=0.2)
    with pytest.raises(RuntimeError, match=f"Dask scheduler at tcp://127.0.0.1:{port} does not answer"):
        await OffloadPool(settings).start()
    assert str(port) in caplog.text
    await eventually(
        lambda: "roadworthy-dask" not in {thread.name for thread in threading.enumerate()}, "its thread ends"
    )
    with pytest.raises(RuntimeError, match="no offload pool is open"):
        await offload(work.pid)


async def test_a_scheduler_that_goes_and_comes_back(cluster: DaskCluster) -> None:
    """Under load: every error is 503 within the deadline, and the work goes on without a restart of ours."""
    ends: Counter[str] = Counter()
    slowest = 0.0

    async def load() -> None:
        nonlocal slowest
        while True:
            asked = time.monotonic()
            try:
                ends[str(await offload(work.square, 3, timeout=DEADLINE))] += 1
            except UnavailableError as error:
                ends[f"{error.status} {error.headers.get('Retry-After')}"] += 1
            slowest = max(slowest, time.monotonic() - asked)
            await asyncio.sleep(0.01)

    async with pool_of(cluster, workers=2, queue=10) as pool:
        callers = [asyncio.ensure_future(load()) for _ in range(4)]
        for number in (signal.SIGKILL, signal.SIGTERM):
            await eventually(lambda: ends["9"], "work is done")
            ends.clear()
            cluster.stop_scheduler(number)
            await eventually(lambda: ends["503 2"], "the callers have noticed")
            assert "Dask scheduler" in await trouble(pool)
            cluster.restore()
            assert set(ends) <= {"9", "503 2", "503 None"}
            ends.clear()
        await eventually(lambda: ends["9"] > 10, "work is done again")
        assert await trouble(pool) == ""
        for caller in callers:
            caller.cancel()
        failed = [one for one in await asyncio.gather(*callers, return_exceptions=True) if one is not None]
        assert {type(one) for one in failed} == {asyncio.CancelledError}
    # What had been sent when the scheduler went may have been done, so no repeat is advised.
    assert set(ends) <= {"9", "503 2", "503 None"}
    assert slowest < DEADLINE


async def test_a_scheduler_that_hangs(cluster: DaskCluster) -> None:
    """Deadlines hold while nothing answers, and closing takes no longer than it may."""
    async with pool_of(cluster) as pool:
        assert await offload(work.square, 3) == 9
        cluster.pause_scheduler()
        try:
            with pytest.raises(roadworthy.TimeoutError):
                await offload(work.square, 3, timeout=0.1)
            closing = time.monotonic()
            await pool.stop()
            assert time.monotonic() - closing < 5.0
        finally:
            cluster.pause_scheduler(signal.SIGCONT)


@pytest.mark.filterwarnings("ignore:Mismatched versions")
async def test_another_version_of_dask_is_refused(cluster: DaskCluster) -> None:
    """A worker of another version fails the start with both versions and the place."""
    before = (
        "import distributed.versions as versions\n"
        "real = versions._version_cached\n"
        "versions._version_cached = lambda name: '2000.1.0' if name == 'distributed' else real(name)"
    )
    cluster.start_worker(before)
    until(lambda: cluster.threads() == 4, "both workers are there")
    with pytest.raises(RuntimeError, match=r"distributed is \S+ here and 2000.1.0 in the Dask cluster \(tcp"):
        await OffloadPool(settings_of(cluster)).start()


async def test_a_cluster_without_the_code_is_told(cluster: DaskCluster, tmp_path: Path) -> None:
    """A function whose module the workers do not have: the error names it."""
    (tmp_path / "nowhere_else.py").write_text("def f(): ...\n")
    sys.path.insert(0, str(tmp_path))
    try:
        from nowhere_else import f  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    async with pool_of(cluster):
        with pytest.raises((ModuleNotFoundError, RemoteError), match="nowhere_else"):
            await offload(f)


def test_the_reference_service_computes_in_the_cluster(cluster: DaskCluster, tmp_path: Path) -> None:
    """A service needs the one setting; without its cluster it answers 503 and records why."""
    with reference_service(tmp_path, ROADWORTHY_OFFLOAD=cluster.url) as running:
        with urlopen(f"{running.url}/api/primes/1000", timeout=DEADLINE) as answer:
            assert json.load(answer) == {"n": 1000, "count": 168}
        cluster.stop_scheduler()
        with pytest.raises(HTTPError, match="503") as told:
            urlopen(f"{running.url}/api/primes/1000", timeout=DEADLINE)
        told.value.close()
        until(lambda: "the Dask scheduler at tcp://" in running.log.read_text(), "the reason is recorded")


def test_a_service_without_its_cluster_does_not_start(tmp_path: Path) -> None:
    """It ends by itself, and says which scheduler does not answer."""
    port = free_port()
    settings = {"ROADWORTHY_OFFLOAD": f"dask://127.0.0.1:{port}", "ROADWORTHY_POOL_TIMEOUT": "0.2"}
    with (
        pytest.raises(AssertionError, match=f"127.0.0.1:{port} does not answer"),
        reference_service(tmp_path, **settings),
    ):
        pass


def run_openssl(folder: Path, *arguments: str) -> None:
    """Run a command of openssl's in a folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority, and a certificate that it signs with its key."""
    folder.mkdir()
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run_openssl(
        folder,
        "req",
        "-x509",
        *curve,
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=ours",
    )
    run_openssl(folder, "req", *curve, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=node")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    run_openssl(folder, "x509", "-req", "-in", "node.csr", *signing, "-out", "node.pem")
    return folder / "ca.pem", folder / "node.pem", folder / "node.key"


def tls(files: tuple[Path, Path, Path]) -> dict[str, str]:
    """Return the settings of certificates."""
    return dict(zip(("offload_tls_ca", "offload_tls_cert", "offload_tls_key"), map(str, files), strict=True))


async def test_an_encrypted_cluster(tmp_path: Path) -> None:
    """Work is done with certificates of one authority; with another's and without any nobody connects."""
    files, strange = certificates(tmp_path / "ours"), certificates(tmp_path / "theirs")
    with DaskCluster(nanny=False, certificates=files) as cluster:
        async with OffloadPool(settings_of(cluster, **tls(files)), timeout=DEADLINE):
            assert await offload(work.square, 3) == 9
        for settings in (
            settings_of(cluster, **tls(strange), pool_timeout=1.0),
            settings_of(cluster, **{**tls(strange), "offload_tls_ca": str(files[0])}, pool_timeout=1.0),
            settings_of(cluster, **{**tls(files), "offload_tls_ca": str(strange[0])}, pool_timeout=1.0),
            Settings(_env_file=None, offload=f"dask://127.0.0.1:{cluster.port}", pool_timeout=1.0),
        ):
            with pytest.raises(RuntimeError, match="does not answer"):
                await OffloadPool(settings).start()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"offload_tls_ca": "gone.pem"}, "ROADWORTHY_OFFLOAD_TLS_CA: cannot be read"),
        ({"offload_tls_cert": "gone.pem"}, "ROADWORTHY_OFFLOAD_TLS_CERT: cannot be read"),
        ({"offload_tls_key": "ca.key"}, "ROADWORTHY_OFFLOAD_TLS_CERT: cannot be used"),
        ({"offload_tls_cert": "node.csr"}, "ROADWORTHY_OFFLOAD_TLS_CERT: cannot be used"),
    ],
)
def test_certificates_that_cannot_be_used_are_refused(
    tmp_path: Path, change: dict[str, str], named: str
) -> None:
    """A file that is missing, or does not fit, is named by its setting before anything is sent."""
    values = tls(certificates(tmp_path / "ours"))
    changed = {name: str(tmp_path / "ours" / file) for name, file in change.items()}
    with pytest.raises(SettingsError) as told:
        OffloadPool(Settings(_env_file=None, offload="tls://10.1.2.3:8786", **{**values, **changed}))
    assert named in str(told.value)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("dask://10.1.2.3:8786", "ROADWORTHY_OFFLOAD: is tls://host:port beyond loopback"),
        ("dask://scheduler:8786", "ROADWORTHY_OFFLOAD: is tls://host:port beyond loopback"),
        ("dask://0.0.0.0:8786", "ROADWORTHY_OFFLOAD: is tls://host:port beyond loopback"),
        ("dask://[2001:db8::1]:8786", "ROADWORTHY_OFFLOAD: is tls://host:port beyond loopback"),
        ("dask://127.0.0.1", "ROADWORTHY_OFFLOAD: is dask://host:port"),
        ("dask://127.0.0.1:none", "ROADWORTHY_OFFLOAD: is dask://host:port"),
        ("dask://a:b@127.0.0.1:8786", "ROADWORTHY_OFFLOAD: is dask://host:port"),
        ("tcp://127.0.0.1:8786", "ROADWORTHY_OFFLOAD: is dask://host:port"),
        ("tls://10.1.2.3:8786", "ROADWORTHY_OFFLOAD_TLS_CA: is required with tls://"),
        ("tls://10.1.2.3:8786", "ROADWORTHY_OFFLOAD_TLS_CERT: is required with tls://"),
    ],
)
def test_a_wrong_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str, named: str) -> None:
    """What could be read or sent by others on the way is refused at the start, by the name of the setting."""
    monkeypatch.setenv("ROADWORTHY_OFFLOAD", address)
    with pytest.raises(SettingsError) as told:
        Settings(_env_file=None)
    assert named in str(told.value)
    assert address not in str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
def test_loopback_needs_no_certificates(host: str) -> None:
    """Nobody else reads there."""
    assert Settings(_env_file=None, offload=f"dask://{host}:8786").offload
