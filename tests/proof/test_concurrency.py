"""Fan-out and offloaded work of the reference service, under load and with workers killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import roadworthy
from roadworthy import Settings, UnavailableError
from roadworthy.patterns import OffloadPool, WorkerCrashedError, fan_out, offload
from tests.patience import eventually

from ..patterns import work
from ..patterns.test_offload import begun, is_running
from ..reference_service import REFERENCE, reference_service
from ..server.load import Client

pytestmark = [pytest.mark.proof, pytest.mark.anyio]

Record = Callable[[str, object], None]
SETTINGS = Settings(_env_file=None)
SLOW = 0.2
ROUNDS = 20


@asynccontextmanager
async def _reads(folder: Path, slow: tuple[str, ...] = ()) -> AsyncGenerator[Any]:
    """Open the reference service's database with three users, and slow down some of its reads."""
    if str(REFERENCE) not in sys.path:
        sys.path.insert(0, str(REFERENCE))
    from reference.database import Database  # type: ignore[import-not-found]
    from reference.reads.service import ReadService  # type: ignore[import-not-found]
    from reference.storage import in_database  # type: ignore[import-not-found]
    from reference.users.dto import UserInput  # type: ignore[import-not-found]
    from reference.users.service import UserService  # type: ignore[import-not-found]
    from roadworthy.layer.connection_pooling import ConnectionPooling

    database = Database(f"sqlite:///{folder / 'data.db'}")
    pooling = ConnectionPooling(SETTINGS, [database])
    await pooling.start()
    try:
        storage = in_database(database)
        service = UserService(storage.users)
        for number in range(3):
            await service.create(UserInput(name="Ada", email=f"ada{number}@example.com"))

        class Slow:
            """A repository whose reads take longer."""

            def __init__(self, inner: Any) -> None:
                self._inner = inner

            async def get(self, key: int) -> Any:
                await asyncio.sleep(SLOW)
                return await self._inner.get(key)

            async def list(self, **how: Any) -> Any:
                await asyncio.sleep(SLOW)
                return await self._inner.list(**how)

        users = Slow(storage.users) if "users" in slow else storage.users
        posts = Slow(storage.posts) if "posts" in slow else storage.posts
        yield database, ReadService(users, posts), storage
    finally:
        await pooling.stop()


@pytest.mark.parametrize("slow", [("users",), ("posts",), ("users", "posts")])
async def test_an_overview_costs_its_longer_read(
    tmp_path: Path, slow: tuple[str, ...], record_property: Record
) -> None:
    """The overview takes no more than 1.2 times the longer of its two reads."""
    async with _reads(tmp_path, slow) as (_, reads, storage):
        await reads.overview(1)
        whole, single = [], []
        for _ in range(10):
            began = time.perf_counter()
            await asyncio.sleep(SLOW)
            await storage.users.get(1)
            single.append(time.perf_counter() - began)
            began = time.perf_counter()
            await reads.overview(1)
            whole.append(time.perf_counter() - began)
    ratio = statistics.median(whole) / statistics.median(single)
    record_property("slow", "+".join(slow))
    record_property("ratio_to_the_longer_read", round(ratio, 3))
    assert ratio <= 1.2


async def test_a_batch_stays_within_the_pool(tmp_path: Path, record_property: Record) -> None:
    """Batches of 1,000, four at a time, never hold more connections than the pool has."""
    async with _reads(tmp_path) as (database, reads, _):
        from reference.reads.dto import Batch  # type: ignore[import-not-found]

        limit = database.stats().max
        most, over = 0, False

        async def watch() -> None:
            nonlocal most
            while not over:
                most = max(most, database.stats().in_use)
                await asyncio.sleep(0)

        watching = asyncio.ensure_future(watch())
        asked = Batch(ids=[number % 4 + 1 for number in range(1000)])
        for _ in range(5):
            for result in await asyncio.gather(*(reads.batch(asked) for _ in range(4))):
                assert [user.id if user else 4 for user in result.items] == asked.ids
        over = True
        await watching
        record_property("most_connections_of_the_pool", f"{most} of {limit}")
        assert 0 < most <= limit


async def test_a_failing_child_ends_the_rest(record_property: Record) -> None:
    """Of a hundred children one fails: the others have ended within 50 ms, twenty times."""
    ended: list[float] = []
    failed_at = 0.0

    async def fail() -> None:
        nonlocal failed_at
        await asyncio.sleep(0.01)
        failed_at = time.perf_counter()
        raise ValueError("one of them")

    for _ in range(ROUNDS):
        children = [fail(), *(asyncio.sleep(3600) for _ in range(99))]
        with pytest.raises(ValueError, match="one of them"):
            await fan_out(children, limit=100)
        ended.append(time.perf_counter() - failed_at)
    record_property("median_ms_to_end_99_siblings", round(statistics.median(ended) * 1000, 2))
    record_property("slowest_ms_to_end_99_siblings", round(max(ended) * 1000, 2))
    # The slowest of them tells of the machine's other work as well.
    assert statistics.median(ended) <= 0.05


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


async def _ask_for(port: int, count: int) -> list[float]:
    client = Client(port)
    found = []
    for _ in range(count):
        outcome = await client.ask("/api/users/1")
        assert (outcome.kind, outcome.status) == ("ok", 200)
        found.append(outcome.seconds)
        await asyncio.sleep(0.002)
    client.close()
    return found


def test_computing_does_not_hold_up_reading(tmp_path: Path, record_property: Record) -> None:
    """While eight clients have primes counted without a pause, p99 of reads is at most five times the idle
    one."""
    with reference_service(tmp_path) as running:
        httpx.post(
            f"{running.url}/api/users", json={"name": "Ada", "email": "a@example.com"}, trust_env=False
        )
        over = False
        computed: list[float] = []

        async def compute() -> None:
            client = Client(running.port)
            while not over:
                outcome = await client.ask("/api/primes/5000000")
                assert outcome.status == 200, outcome
                computed.append(outcome.seconds)
            client.close()

        async def act() -> tuple[list[float], list[float]]:
            nonlocal over
            await _ask_for(running.port, 200)
            idle = await _ask_for(running.port, 1500)
            load = [asyncio.ensure_future(compute()) for _ in range(8)]
            await asyncio.sleep(0.5)
            busy = await _ask_for(running.port, 1500)
            over = True
            await asyncio.gather(*load)
            return idle, busy

        idle, busy = asyncio.run(act())
    ratio = _p99(busy) / _p99(idle)
    record_property("idle_p99_ms", round(_p99(idle) * 1000, 2))
    record_property("busy_p99_ms", round(_p99(busy) * 1000, 2))
    record_property("ratio", round(ratio, 2))
    record_property("sieves_meanwhile", len(computed))
    assert ratio <= 5


def test_a_full_queue_answers_at_once(tmp_path: Path, record_property: Record) -> None:
    """With one worker and no queue, eight clients at once: refusals are 503 and leave within 50 ms."""
    settings = {"ROADWORTHY_OFFLOAD_WORKERS": "1", "ROADWORTHY_OFFLOAD_QUEUE": "0"}
    with reference_service(tmp_path, **settings) as running:

        async def act() -> None:
            clients = [Client(running.port) for _ in range(8)]
            for _ in range(3):
                outcomes = await asyncio.gather(*(client.ask("/api/primes/5000000") for client in clients))
                assert {outcome.status for outcome in outcomes} == {200, 503}
            for client in clients:
                client.close()

        asyncio.run(act())
        refused = [
            float(found[1])
            for line in running.lines()
            if '"status":503' in line and (found := re.search(r'"duration_ms":([\d.]+)', line))
        ]
    record_property("refusals", len(refused))
    record_property("slowest_refusal_ms", max(refused))
    assert max(refused) < 50


async def test_a_refusal_costs_little(tmp_path: Path, record_property: Record) -> None:
    """Two hundred calls on a full queue are refused within 50 ms each."""
    async with OffloadPool(SETTINGS, workers=1, queue=1) as pool:
        go = tmp_path / "go"
        doing = [asyncio.ensure_future(offload(work.wait_for, str(go))) for _ in range(2)]
        await eventually(lambda: pool.stats().waiting == 1, "the queue is full")
        slowest = 0.0
        for _ in range(200):
            began = time.perf_counter()
            with pytest.raises(UnavailableError):
                await offload(work.pid)
            slowest = max(slowest, time.perf_counter() - began)
        go.touch()
        await asyncio.gather(*doing)
    record_property("slowest_refusal_ms", round(slowest * 1000, 3))
    assert slowest < 0.05


async def test_endless_work_is_ended_at_its_deadline(tmp_path: Path, record_property: Record) -> None:
    """Twenty pieces that never end: each caller is told within 100 ms of its deadline, each worker is
    replaced."""
    late: list[float] = []
    back: list[float] = []
    async with OffloadPool(SETTINGS, workers=1) as pool:
        for number in range(ROUNDS):
            note = tmp_path / str(number)
            doing = asyncio.ensure_future(offload(work.note_and_spin, str(note), timeout=0.5))
            began = time.perf_counter()
            pid = await begun(note)
            with pytest.raises(roadworthy.TimeoutError):
                await doing
            late.append(time.perf_counter() - began - 0.5)
            began = time.perf_counter()
            assert await offload(work.pid) != pid
            back.append(time.perf_counter() - began)
            assert not is_running(pid)
        assert pool.stats().busy == 0
    record_property("ended", ROUNDS)
    record_property("latest_after_the_deadline_ms", round(max(late) * 1000, 1))
    record_property("slowest_replacement_ms", round(max(back) * 1000))
    assert max(late) < 0.1


async def test_a_killed_worker_fails_its_piece_alone(tmp_path: Path, record_property: Record) -> None:
    """kill -9 of a busy worker, twenty times, beside other work: only the victims' pieces fail."""
    done = failed = 0
    async with OffloadPool(SETTINGS, workers=2, queue=50):
        over = False

        async def others() -> None:
            nonlocal done
            while not over:
                assert await offload(work.square, 7) == 49
                done += 1

        for number in range(ROUNDS):
            note = tmp_path / str(number)
            victim = asyncio.ensure_future(offload(work.note_and_spin, str(note)))
            pid = await begun(note)
            over = False
            stream = asyncio.ensure_future(others())
            before = done
            await eventually(lambda: done > before + 5, "other work is done")  # noqa: B023
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(WorkerCrashedError, match="SIGKILL"):
                await victim
            failed += 1
            over = True
            await stream
    record_property("killed", ROUNDS)
    record_property("failed", failed)
    record_property("other_pieces_done", done)


def test_no_orphan_after_the_service_was_killed(tmp_path: Path, record_property: Record) -> None:
    """kill -9 of the service, five times: none of its worker processes is left."""
    slowest = 0.0
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        with reference_service(folder, ROADWORTHY_OFFLOAD_WORKERS="2") as running:
            parent = running.process.pid
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            assert len(children) == 2
            running.process.kill()
            running.process.wait()
            began = time.perf_counter()
            asyncio.run(eventually(lambda: not any(is_running(int(one)) for one in children), "none"))  # noqa: B023
            slowest = max(slowest, time.perf_counter() - began)
    record_property("kills", 5)
    record_property("orphans", 0)
    record_property("slowest_end_ms", round(slowest * 1000, 1))
