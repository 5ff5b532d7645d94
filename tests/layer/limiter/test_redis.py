"""Counts in a real Redis, and what happens when it is away."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from roadworthy.layer.limiter.memory import MemoryStore
from roadworthy.layer.limiter.policy import Policy, Room
from roadworthy.layer.limiter.redis import RedisStore
from roadworthy.settings import Rate

from ...counting import count_in_processes
from ...redis_server import RedisServer

pytestmark = pytest.mark.anyio

_LATEST = 0.1
"""Seconds within which a decision must be taken whatever the server does (reliability: p99 <= 100 ms)."""


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    """Share one server that stays up among the tests that only use it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    """Give a server without keys."""
    with running.client() as client:
        client.flushall()
    return running


async def _decide(store: RedisStore, policy: Policy, key: str = "client") -> Room:
    answer = store.take(policy, key)
    return answer if answer is None or isinstance(answer, int) else await answer


async def _burst(store: RedisStore, policy: Policy, requests: int, key: str = "client") -> int:
    rooms = await asyncio.gather(*(_decide(store, policy, key) for _ in range(requests)))
    return sum(room is not None and room >= 0 for room in rooms)


def _store(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(server.url, MemoryStore(1000), **options)


@pytest.mark.parametrize("attempt", range(3))
def test_two_processes_admit_exactly_the_limit(server: RedisServer, attempt: int) -> None:
    """Of 1,000 requests in two processes at once exactly 100 are admitted."""
    assert count_in_processes("redis", server.url, "100/hour", 1000, 2) == 100


async def test_burst_refill_and_waiting_are_those_of_the_local_counts(server: RedisServer) -> None:
    """A burst admits exactly N, then one more after the wait that a refused client is told."""
    store, policy = _store(server), Policy("default", Rate((3, 3)))
    assert await _burst(store, policy, 10) == 3
    room = await _decide(store, policy)
    assert room is not None
    assert policy.reset(room) == 1
    await asyncio.sleep(policy.reset(room))  # the wait that the client is told is what is tested
    assert await _burst(store, policy, 10) == 1
    assert store.refusals == 7 + 1 + 9
    assert store.fallbacks == 0
    await store.close()


async def test_keys_and_policies_are_counted_apart(server: RedisServer) -> None:
    """A client has one count under each policy, and no client pays for another."""
    store = _store(server)
    for policy in (Policy("/a", Rate((1, 60))), Policy("/b", Rate((1, 60)))):
        assert [await _burst(store, policy, 1, key) for key in ("x", "y", "x")] == [1, 1, 0]
    await store.close()


async def test_every_key_expires_when_it_stops_counting(server: RedisServer) -> None:
    """No key stays behind: each lives as long as its count and no longer (alisaifee/limits#277)."""
    store, policy = _store(server), Policy("default", Rate((100, 3600)))
    for number in range(50):
        await _burst(store, policy, 1 + number % 3, f"client-{number}")
    with server.client() as client:
        lives = {str(name): int(client.pttl(name)) for name in client.keys("*")}
    assert len(lives) == 50
    assert all(0 < life <= 3 * 36_000 for life in lives.values())
    await store.close()


async def test_the_script_is_loaded_again_when_the_server_forgot_it(server: RedisServer) -> None:
    """After SCRIPT FLUSH (or a failover) decisions go on, each request counted once."""
    store, policy = _store(server), Policy("default", Rate((10, 3600)))
    assert await _burst(store, policy, 4) == 4
    with server.client() as client:
        client.script_flush()
    assert await _burst(store, policy, 10) == 6
    assert store.fallbacks == 0
    await store.close()


async def test_many_requests_share_one_connection(server: RedisServer) -> None:
    """A worker opens one connection, however many requests wait at once."""
    store, policy = _store(server), Policy("default", Rate((100, 3600)))
    assert await _burst(store, policy, 1000) == 100
    with server.client() as client:
        clients: list[Any] = client.client_list()
    assert len(clients) - 1 <= 1
    assert store.fallbacks == 0
    await store.close()


async def test_a_cancelled_request_leaves_no_answer_for_another(server: RedisServer) -> None:
    """Requests cancelled at any moment never shift answers to other requests (redis/redis-py#2665)."""
    store = _store(server)
    wide, narrow = Policy("wide", Rate((1_000_000, 3600))), Policy("narrow", Rate((1, 3600)))
    assert await _burst(store, narrow, 1) == 1
    for turn in range(200):
        doomed = [asyncio.ensure_future(_decide(store, wide)) for _ in range(3)]
        for _ in range(turn % 20):
            await asyncio.sleep(0)
        for task in doomed:
            task.cancel()
        kept, refused = await asyncio.gather(_decide(store, wide, "kept"), _decide(store, narrow))
        assert kept is not None
        assert kept >= 0
        assert refused is not None
        assert refused < 0
        await asyncio.gather(*doomed, return_exceptions=True)
    assert store.fallbacks == 0
    await store.close()


async def test_a_handler_that_holds_the_loop_is_no_outage(server: RedisServer) -> None:
    """An answer that arrived while the loop was busy counts, though the deadline has passed."""
    store, policy = _store(server), Policy("default", Rate((10, 3600)))
    await _decide(store, policy)
    for _ in range(3):
        answer = asyncio.ensure_future(_decide(store, policy))
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(0.08)  # noqa: ASYNC251 - the fault itself
        assert await answer is not None
    assert store.fallbacks == 0
    await store.close()


async def _outage(store: RedisStore, policy: Policy, decisions: int) -> tuple[list[Room], list[float]]:
    rooms, waits = [], []
    for _ in range(decisions):
        started = time.monotonic()
        rooms.append(await _decide(store, policy))
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.005)
    return rooms, sorted(waits)


async def _recovered(store: RedisStore, policy: Policy) -> float:
    """Decide until the server counts again; return the seconds that took."""
    started = time.monotonic()
    while time.monotonic() < started + 10:
        before = store.fallbacks
        await _decide(store, policy, "recovery")
        if store.fallbacks == before:
            break
        await asyncio.sleep(0.01)
    return time.monotonic() - started


@pytest.mark.parametrize("fault", ["stopped", "gone"])
async def test_an_outage_is_bounded_counted_and_over_soon(fault: str) -> None:
    """With a server that hangs or is gone, decisions are quick and local, and not long after its return."""
    with RedisServer() as server:
        store, policy = _store(server), Policy("default", Rate((20, 3600)))
        assert await _burst(store, policy, 30) == 20
        (server.pause if fault == "stopped" else server.stop)()
        rooms, waits = await _outage(store, policy, 300)
        assert sum(room is not None and room >= 0 for room in rooms) == 20  # one more limit for this worker
        assert waits[int(len(waits) * 0.99) - 1] <= _LATEST
        assert waits[-1] <= 5 * _LATEST  # the few that ask the server itself, on a busy machine
        assert store.fallbacks == 300
        (server.resume if fault == "stopped" else server.start)()
        assert await _recovered(store, policy) <= 5
        if fault == "stopped":
            # The counts from before are still there, and no late answer is taken for a new one.
            assert await _burst(store, policy, 10) == 0
        assert await _burst(store, policy, 30, "fresh") == 20
        await store.close()


async def test_the_loop_runs_on_while_a_decision_waits() -> None:
    """A server that hangs holds up the request that waits for it, and no other (laurentS/slowapi#130)."""
    with RedisServer() as server:
        store, policy = _store(server), Policy("default", Rate((20, 3600)))
        await _decide(store, policy)
        server.pause()
        answer = asyncio.ensure_future(_decide(store, policy))
        turns = 0
        while not answer.done():
            turns += 1
            await asyncio.sleep(0)
        # A call that blocks ends within the first turns; one that is waited for spans five wake-ups at least.
        assert turns >= 5
        assert store.fallbacks == 1
        server.resume()
        await store.close()


async def test_a_server_that_is_away_is_asked_once_a_second() -> None:
    """During an outage a worker dials at most about once a second, whatever the traffic (reliability R5)."""
    dials = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dials
        dials += 1
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    store = RedisStore(f"redis://127.0.0.1:{port}", MemoryStore(1000))
    policy = Policy("default", Rate((1, 3600)))
    started = time.monotonic()
    while time.monotonic() < started + 2.5:
        await asyncio.gather(*(_decide(store, policy) for _ in range(20)))
        await asyncio.sleep(0.01)
    assert 2 <= dials <= 4
    await store.close()
    listener.close()
    await listener.wait_closed()


async def test_refusing_during_an_outage_when_so_configured() -> None:
    """With the policy "closed" nothing is admitted while the counts cannot be reached."""
    with RedisServer() as server:
        store, policy = _store(server, fail_open=False), Policy("default", Rate((20, 3600)))
        assert await _burst(store, policy, 1) == 1
        server.stop()
        rooms, _ = await _outage(store, policy, 20)
        assert rooms == [None] * 20
        assert store.fallbacks == 20
        await store.close()


@pytest.mark.parametrize(
    "options",
    [("--requirepass", "not-told"), ("--maxmemory", "1"), ("--min-replicas-to-write", "1")],
    ids=["NOAUTH", "OOM", "NOREPLICAS"],
)
async def test_a_server_that_refuses_is_an_outage(
    options: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """NOAUTH, OOM and NOREPLICAS fall under the outage policy, and one record says so without a secret."""
    with RedisServer(*options) as server:
        store, policy = _store(server), Policy("default", Rate((5, 3600)))
        assert await _burst(store, policy, 20) == 5
        assert store.fallbacks == 20
        await store.close()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert "not-told" not in caplog.text


async def test_a_worker_may_start_before_its_redis() -> None:
    """A server that was never there is an outage like any other."""
    with RedisServer() as server:
        server.stop()
        store, policy = _store(server), Policy("default", Rate((5, 3600)))
        assert await _burst(store, policy, 20) == 5
        server.start()
        assert await _recovered(store, policy) <= 5
        await store.close()


def test_an_url_of_something_else_is_refused() -> None:
    """A wrong scheme stops the start with the variable's name and without its value."""
    with pytest.raises(ValueError, match="ROADWORTHY_REDIS_URL") as caught:
        RedisStore("http://user:hunter2@host", MemoryStore(1000))
    assert "hunter2" not in str(caught.value)


def test_a_missing_package_is_named() -> None:
    """Without the extra the start stops and says what to install."""
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from roadworthy.layer.limiter.memory import MemoryStore\n"
        "from roadworthy.layer.limiter.redis import RedisStore\n"
        "RedisStore('redis://127.0.0.1', MemoryStore(1000))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 'pip install "roadworthy[redis]"' in done.stderr.splitlines()[-1]
