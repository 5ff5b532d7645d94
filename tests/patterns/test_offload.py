"""Offloaded work: bounded, ended at its deadline, alone in its failure, never an orphan.

There are three ways to have it done: processes of the pool's own, threads (as any executor), a Dask cluster.
What holds for more than one is tried on each; what a way cannot do has tests of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import roadworthy
from roadworthy import NotFoundError, Settings, UnavailableError, ValidationError
from roadworthy.layer.connection_pooling import ConnectionPooling
from roadworthy.layer.metrics import Metrics
from roadworthy.patterns import OffloadPool, RemoteError, WorkerCrashedError, offload
from tests.dask_cluster import DaskCluster
from tests.patience import DEADLINE, eventually

from . import work

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SETTINGS = Settings(_env_file=None)
MakePool = Callable[..., OffloadPool]


def pool_of(workers: int = 1, **more: Any) -> OffloadPool:
    """Make a pool with processes of its own."""
    return OffloadPool(SETTINGS, workers=workers, **more)


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    """A Dask cluster of two workers."""
    with DaskCluster(workers=2) as cluster:
        yield cluster


@pytest.fixture
def make(request: pytest.FixtureRequest) -> MakePool:
    """Make pools of the way that the test is tried on; processes, unless it says so."""
    way = getattr(request, "param", "processes")
    url = request.getfixturevalue("cluster").url if way == "dask" else None

    def make(workers: int = 1, pool_timeout: float = 5.0, **more: Any) -> OffloadPool:
        settings = Settings(_env_file=None, offload=url, pool_timeout=pool_timeout)
        executor = ThreadPoolExecutor(4) if way == "threads" else None
        return OffloadPool(settings, workers=workers, executor=executor, **more)

    return make


def on(*ways: str) -> pytest.MarkDecorator:
    """Try a test on each of some ways: ``processes``, ``threads``, ``dask``."""
    return pytest.mark.parametrize("make", ways, indirect=True)


EVERYWHERE = on("processes", "threads", "dask")
ELSEWHERE = on("processes", "dask")
"""Outside the process that serves."""
WITHOUT_END = on("threads", "dask")
"""Where what has begun cannot be ended."""


@pytest.fixture
async def pool(make: MakePool) -> AsyncGenerator[OffloadPool]:
    """One worker, room for two pieces in the queue."""
    async with make(queue=2) as pool:
        yield pool


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


async def begun(file: Path) -> int:
    """Wait until the work has said which process it runs in."""
    await eventually(file.exists, "the work has begun")
    return int(await asyncio.to_thread(file.read_text))


@ELSEWHERE
async def test_the_result_comes_back_from_another_process(pool: OffloadPool) -> None:
    """Arguments go there and the result comes back; keyword arguments by partial."""
    assert await offload(work.square, 12) == 144
    assert await offload(partial(work.square, plus=1), 12, pool=pool) == 145
    assert await offload(work.pid) != os.getpid()
    assert len(await offload(work.big, 3 << 20)) == 3 << 20


async def test_workers_stand_back(pool: OffloadPool) -> None:
    """Where cores are short the process that serves comes first."""
    assert await offload(work.niceness) == min(os.nice(0) + 10, 19)


@EVERYWHERE
async def test_pieces_are_done_at_the_same_time(make: MakePool, tmp_path: Path) -> None:
    """Two workers do two pieces at once, and the third waits in the queue."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    async with make(2, queue=1) as pool:
        doing = [offload(work.meet, one, two), offload(work.meet, two, one), offload(work.pid)]
        met = await asyncio.gather(*doing)
        assert met[:2] == ["seen", "seen"]
        assert pool.stats().busy == pool.stats().waiting == 0


@ELSEWHERE
async def test_the_event_loop_goes_on(pool: OffloadPool) -> None:
    """While the work holds a core, the loop serves."""
    doing = asyncio.ensure_future(offload(work.spin, 0.2))
    turns = 0
    while not doing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100


@EVERYWHERE
async def test_a_full_queue_is_503_at_once(pool: OffloadPool, tmp_path: Path) -> None:
    """One piece is done and two wait: the fourth is refused with Retry-After, and the others complete."""
    go = tmp_path / "go"
    doing = [asyncio.ensure_future(offload(work.wait_for, str(go))) for _ in range(3)]
    await eventually(lambda: pool.stats().waiting == 2, "two pieces wait")
    with pytest.raises(UnavailableError) as told:
        await offload(work.pid)
    assert told.value.status == 503
    assert int(told.value.headers["Retry-After"]) >= 1
    go.touch()
    assert await asyncio.gather(*doing) == ["seen"] * 3
    assert await offload(work.square, 2) == 4


@ELSEWHERE
async def test_a_failure_comes_back_with_its_stack(pool: OffloadPool) -> None:
    """The exception is of its own class, and its cause is the text of the stack over there."""
    with pytest.raises(ValueError, match="nothing of that kind") as told:
        await offload(work.fail, "nothing of that kind")
    assert "in fail" in str(told.value.__cause__)
    assert "raise ValueError(text)" in str(told.value.__cause__)
    with pytest.raises(NotFoundError) as missing:
        await offload(work.not_found)
    assert (missing.value.status, missing.value.message) == (404, "no such thing")
    with pytest.raises(ValidationError) as invalid:
        await offload(work.invalid)
    assert invalid.value.errors[0].pointer == "/n"


@ELSEWHERE
@pytest.mark.parametrize(
    ("function", "named"), [(work.picky, "Picky"), (work.leave, "SystemExit")], ids=["unpicklable", "exit"]
)
async def test_a_failure_that_cannot_travel_is_named(
    pool: OffloadPool, function: Callable[[], object], named: str
) -> None:
    """What cannot be made again, or would end the service, is told by name and with its stack."""
    with pytest.raises(RemoteError, match=named) as told:
        await offload(function)
    assert f"in {function.__name__}" in str(told.value.__cause__)
    assert await offload(work.square, 2) == 4


@ELSEWHERE
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (lambda: 1, (), "lambda"),
        (work.square, (threading.Lock(),), "pickled"),
        (eventually, (bool, ""), "eventually is async"),
    ],
    ids=["lambda", "lock", "async"],
)
async def test_what_cannot_be_sent_is_told_at_once(
    pool: OffloadPool, function: Callable[..., object], arguments: tuple[object, ...], named: str
) -> None:
    """A lambda, an argument that cannot be pickled, an async function: a TypeError says what to do."""
    with pytest.raises(TypeError, match=named):
        await offload(function, *arguments)
    with pytest.raises(Exception, match=r"pickle|local object"):  # Python's own words, which change
        await offload(work.unpicklable)
    assert pool.stats().busy == pool.stats().waiting == 0


async def test_work_that_never_ends_is_ended_at_its_deadline(pool: OffloadPool, tmp_path: Path) -> None:
    """At the deadline the caller is told 504, the process is gone, and another takes its place."""
    note = tmp_path / "pid"
    asked = time.monotonic()
    await offload(work.pid)
    # Enough for a piece to begin, by what one has just taken.
    with pytest.raises(roadworthy.TimeoutError) as told:
        await offload(work.note_and_spin, str(note), timeout=0.5 + 5 * (time.monotonic() - asked))
    assert told.value.status == 504
    first = await begun(note)
    await eventually(lambda: not is_running(first), "the worker is gone")
    assert await offload(work.pid) != first


@EVERYWHERE
async def test_the_deadline_counts_from_the_call(pool: OffloadPool, tmp_path: Path) -> None:
    """A piece that has waited in the queue for as long as it may is never begun."""
    go, seen = tmp_path / "go", tmp_path / "seen"
    doing = asyncio.ensure_future(offload(work.wait_for, str(go)))
    await eventually(lambda: pool.stats().busy, "the worker is busy")
    with pytest.raises(roadworthy.TimeoutError):
        await offload(work.note_and_spin, str(seen), timeout=0.02)
    assert pool.stats().waiting == 0
    go.touch()
    assert await doing == "seen"
    assert not seen.exists()


@ELSEWHERE
async def test_a_killed_worker_fails_its_piece_alone(make: MakePool, tmp_path: Path) -> None:
    """kill -9 of one of two workers: its caller gets a named error, the other piece completes, and there is
    work to be had again."""
    async with make(2):
        go, note = tmp_path / "go", tmp_path / "pid"
        other = asyncio.ensure_future(offload(work.note_and_wait, str(tmp_path / "other"), str(go)))
        await begun(tmp_path / "other")
        victim = asyncio.ensure_future(offload(work.note_and_spin, str(note)))
        os.kill(await begun(note), signal.SIGKILL)
        with pytest.raises(WorkerCrashedError, match="while it ran note_and_spin"):
            await victim
        go.touch()
        assert await other == "seen"
        pids = await asyncio.gather(*(offload(work.pid) for _ in range(10)))
        assert len(pids) == 10


@ELSEWHERE
@pytest.mark.parametrize(("repeats", "times"), [(0, 1), (2, 3)])
async def test_work_is_begun_as_often_as_was_asked(
    pool: OffloadPool, tmp_path: Path, repeats: int, times: int
) -> None:
    """Work that ends its worker is begun once; with repeats, that much more often and no more."""
    notes = tmp_path / "notes"
    with pytest.raises(WorkerCrashedError):
        await offload(work.count_and_die, str(notes), timeout=DEADLINE, repeats=repeats)
    assert await offload(work.square, 2, timeout=DEADLINE) == 4
    assert notes.read_text().count("begun") == times


@ELSEWHERE
async def test_work_whose_worker_is_lost_is_repeated_where_asked(pool: OffloadPool, tmp_path: Path) -> None:
    """The caller that asked for repeats gets the result and does not see that a worker was lost."""
    doing = offload(work.count_and_die, str(tmp_path / "notes"), 2, timeout=DEADLINE, repeats=1)
    assert await doing == "done"
    assert 'offload_repeats_total{pool="offload"} 1.0' in exposed(pool)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
async def test_a_crash_is_named(pool: OffloadPool, number: signal.Signals) -> None:
    """What ended the process is said, and the next piece finds a worker."""
    with pytest.raises(WorkerCrashedError, match=f"{number.name} while it ran die"):
        await offload(work.die, int(number))
    assert await offload(work.square, 3) == 9


async def test_an_idle_worker_that_is_killed_is_replaced(pool: OffloadPool) -> None:
    """Nobody notices the death of a worker that had nothing to do."""
    first = await offload(work.pid)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not is_running(first), "it is gone")
    with suppress(WorkerCrashedError):  # the kernel may tell of the end a moment later
        await offload(work.pid)
    assert await offload(work.pid) != first


async def test_cancelling_the_caller_ends_the_work(pool: OffloadPool, tmp_path: Path) -> None:
    """A client that left does not keep a core busy."""
    note = tmp_path / "pid"
    doing = asyncio.ensure_future(offload(work.note_and_spin, str(note)))
    first = await begun(note)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    await eventually(lambda: not is_running(first), "the worker is gone")
    assert await offload(work.square, 2) == 4


async def test_short_work_whose_caller_left_costs_no_process(pool: OffloadPool) -> None:
    """What completes within a tenth of a second of its caller's leaving leaves the worker alive."""
    same: list[bool] = []
    while not any(same) and len(same) < 50:  # a tenth of a second is short on a machine that is busy
        first = await offload(work.pid)
        for _ in range(5):
            doing = asyncio.ensure_future(offload(work.square, 3))
            await asyncio.sleep(0)
            doing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doing
        await eventually(lambda: pool.stats().busy == 0, "the worker is free")
        same.append(await offload(work.pid) == first)
    assert any(same)


async def test_what_the_work_has_started_goes_with_it(pool: OffloadPool, tmp_path: Path) -> None:
    """A process that the work started is ended together with the worker."""
    note = tmp_path / "pid"
    with pytest.raises(roadworthy.TimeoutError):
        await offload(work.with_child, str(note), timeout=DEADLINE / 20)
    child = await begun(note)
    await eventually(lambda: not is_running(child), "the child is gone")


@EVERYWHERE
async def test_closing_waits_for_the_work(make: MakePool, tmp_path: Path) -> None:
    """The drain: what has begun and what waits completes, new work is refused, and no worker stays."""
    go = tmp_path / "go"
    pool = make(queue=1)
    await pool.start()
    doing = [asyncio.ensure_future(offload(work.wait_for, str(go))) for _ in range(2)]
    await eventually(lambda: pool.stats().waiting == 1, "one is done, one waits")
    workers = _workers()
    closing = asyncio.ensure_future(pool.stop())
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="shutting down"):
        await offload(work.pid, pool=pool)
    go.touch()
    assert await asyncio.gather(*doing) == ["seen"] * 2
    await closing
    assert not any(map(is_running, workers))


def _workers() -> list[int]:
    mine = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split()
    return [int(one) for one in mine if b"offload/worker.py" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("make", "pool_timeout", "ended"),
    [("processes", 0.2, True), ("threads", 0.2, False), ("dask", 3.0, False)],
    indirect=["make"],
)
async def test_work_that_outlasts_the_drain_is_cut(
    make: MakePool, pool_timeout: float, ended: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing takes no longer than a resource may: the caller of the rest gets 503, and it is recorded."""
    pool = make(pool_timeout=pool_timeout)
    pooling = ConnectionPooling(Settings(_env_file=None, pool_timeout=DEADLINE), [pool])
    await pooling.start()
    note, go = tmp_path / "pid", tmp_path / "go"
    doing = asyncio.ensure_future(offload(work.note_and_wait, str(note), str(go)))
    first = await begun(note)
    await pooling.stop()
    with pytest.raises(UnavailableError, match="shutting down"):
        await doing
    assert is_running(first) is not ended
    assert [record.getMessage() for record in caplog.records] == ["cut 1 pieces of offloaded work"]
    go.touch()


@pytest.mark.parametrize("function", ["note_and_spin", "hold_the_lock"])
def test_no_worker_outlives_its_parent(tmp_path: Path, function: str) -> None:
    """kill -9 of the service: its workers are gone, idle or at work, even in C code that holds the lock."""
    program = (
        "import asyncio, sys\n"
        "from roadworthy import Settings\n"
        "from roadworthy.patterns import OffloadPool, offload\n"
        "from tests.patterns import work\n"
        "async def main():\n"
        "    async with OffloadPool(Settings(_env_file=None), workers=2) as pool:\n"
        "        print(await offload(work.pid), await offload(work.pid), flush=True)\n"
        f"        await offload(work.{function}, sys.argv[1])\n"
        "asyncio.run(main())\n"
    )
    note = tmp_path / "pid"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(note)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    workers = {*map(int, parent.stdout.readline().split())}
    workers.add(asyncio.run(begun(note)))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    asyncio.run(eventually(lambda: not any(map(is_running, workers)), "all workers are gone"))


@ELSEWHERE
async def test_records_of_the_work_are_written_here(
    pool: OffloadPool, caplog: pytest.LogCaptureFixture
) -> None:
    """What the work logs is logged by the service: its logger, its text, its fields."""
    await offload(work.log, "hello")
    await eventually(lambda: caplog.records, "the record has come")
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.__dict__["key"]) == ("service.work", "says hello", 1)


async def test_in_threads() -> None:
    """Work that releases the interpreter's lock runs in threads, in the context of its caller."""
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("request")
    async with pool_of(executor=ThreadPoolExecutor(1)) as pool:
        assert await offload(variable.get, pool=pool) == "request"
        assert await offload(work.pid) == os.getpid()
        with pytest.raises(RuntimeError, match="SystemExit"):
            await offload(work.leave)


@WITHOUT_END
@pytest.mark.parametrize("why", ["deadline", "cancelled"])
async def test_what_cannot_be_ended_keeps_its_place(make: MakePool, tmp_path: Path, why: str) -> None:
    """The caller leaves at once, the work goes on and is counted, and the bound holds until it is done."""
    note, go = tmp_path / "pid", tmp_path / "go"
    async with make(queue=0) as pool:
        asked = time.monotonic()
        await offload(work.pid)
        timeout = 0.5 + 5 * (time.monotonic() - asked) if why == "deadline" else None
        doing = asyncio.ensure_future(offload(work.note_and_wait, str(note), str(go), timeout=timeout))
        await begun(note)
        if why == "cancelled":
            doing.cancel()
        with pytest.raises((roadworthy.TimeoutError, asyncio.CancelledError)):
            await doing
        assert 'offload_abandoned{pool="offload"} 1.0' in exposed(pool)
        with pytest.raises(UnavailableError):
            await offload(work.pid)
        go.touch()
        await eventually(lambda: pool.stats().busy == 0, "the work is done")
        assert 'offload_abandoned{pool="offload"} 0.0' in exposed(pool)
        assert await offload(work.square, 3) == 9


class Inline(Executor):
    """An executor that does the work at once: the smallest there is."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


async def test_in_any_executor() -> None:
    """Only the interface of concurrent.futures is needed."""
    async with pool_of(executor=Inline()):
        assert await asyncio.gather(*(offload(work.square, n) for n in range(5))) == [0, 1, 4, 9, 16]
        with pytest.raises(ValueError, match="this"):
            await offload(work.fail, "this")


def exposed(pool: OffloadPool) -> str:
    """Return the metrics page with the numbers of a pool."""
    metrics = Metrics(SETTINGS)
    ConnectionPooling(SETTINGS, [pool]).report_to(metrics.watch)
    return metrics.exposition().body.decode()


@ELSEWHERE
async def test_the_numbers_are_in_the_metrics(pool: OffloadPool) -> None:
    """Each piece is counted by how it ended, and the workers, the queue and the restarts are there."""
    await offload(work.square, 2)
    with pytest.raises(WorkerCrashedError):
        await offload(work.die)
    with pytest.raises(roadworthy.TimeoutError):
        await offload(work.spin, 1.0, timeout=0.05)
    page = exposed(pool)
    for line in (
        'offload_tasks_total{pool="offload",outcome="ok"} 1.0',
        'offload_tasks_total{pool="offload",outcome="crashed"} 1.0',
        'offload_tasks_total{pool="offload",outcome="timeout"} 1.0',
        'offload_workers{pool="offload"} 1.0',
        'offload_queued{pool="offload"} 0.0',
    ):
        assert line in page
    assert "connection_pool" not in page


async def test_workers_that_do_not_come_up_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Health says so while no worker can be started, and no longer once one can."""
    async with pool_of() as pool:
        await pool.ping()
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\nexit 7\n")
        broken.chmod(0o755)
        good = sys.executable
        monkeypatch.setattr(sys, "executable", str(broken))
        with pytest.raises(WorkerCrashedError):
            await offload(work.die)

        while await _trouble(pool) is None:
            await asyncio.sleep(0.005)
        assert "exit code 7 while it started" in str(await _trouble(pool))
        monkeypatch.setattr(sys, "executable", good)
        assert await offload(work.square, 2) == 4
        assert await _trouble(pool) is None


async def _trouble(pool: OffloadPool) -> Exception | None:
    try:
        await pool.ping()
    except RuntimeError as error:
        return error
    return None


async def test_wrong_use_is_told() -> None:
    """Without a pool the error says how to have one; numbers out of range are refused."""
    with pytest.raises(RuntimeError, match=r"resources=\[OffloadPool\(\)\]"):
        await offload(work.pid)
    for wrong in ({"workers": 0}, {"queue": -1}, {"timeout": 0.0}):
        with pytest.raises(ValueError, match="workers >= 1, queue >= 0, timeout > 0"):
            OffloadPool(SETTINGS, **wrong)
    with pytest.raises(RuntimeError, match="closed"):
        await pool_of().ping()


def test_a_function_of_the_program_itself_is_told(tmp_path: Path) -> None:
    """A script's own functions are in no module that a worker can import; the error says so."""
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio\n"
        "from roadworthy.patterns import OffloadPool, offload\n"
        "def f(): ...\n"
        "async def main():\n"
        "    async with OffloadPool(workers=1):\n"
        "        await offload(f)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "TypeError: offload cannot send f: it is defined in the program that was started" in done.stderr


@ELSEWHERE
async def test_records_stay_below_their_level(pool: OffloadPool, caplog: pytest.LogCaptureFixture) -> None:
    """A logger that is off in the service is off for the work's records."""
    with caplog.at_level(logging.ERROR, "service.work"):
        await offload(work.log, "hello")
    assert not caplog.records
