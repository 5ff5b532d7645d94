"""The long proofs of exactness: twenty runs each, and two hundred kills of a process that holds the locks."""

import asyncio
import time
from pathlib import Path

import pytest

from roadworthy.layer.limiter.policy import Policy
from roadworthy.layer.limiter.shared import SharedStore
from roadworthy.settings import Rate

from ..counting import count_in_processes, hold_locks
from ..redis_server import RedisServer

pytestmark = pytest.mark.proof


def test_four_processes_admit_exactly_the_limit_every_time(tmp_path: Path) -> None:
    """In 20 runs of 20, four processes admit exactly 100 of 1,000 requests."""
    runs = [
        count_in_processes("shared", str(tmp_path / f"limits-{run}"), "100/hour", 1000, 4)
        for run in range(20)
    ]
    assert runs == [100] * 20


def test_two_processes_with_redis_admit_exactly_the_limit_every_time() -> None:
    """In 20 runs of 20, two processes with one Redis admit exactly 100 of 1,000 requests."""
    runs = []
    with RedisServer() as server:
        for _ in range(20):
            with server.client() as client:
                client.flushall()
            runs.append(count_in_processes("redis", server.url, "100/hour", 1000, 2))
    assert runs == [100] * 20


def test_killing_the_holder_of_the_locks_never_blocks_the_others(tmp_path: Path) -> None:
    """After each of 200 kill -9 of a process that holds every lock the next decision takes at most 100 ms."""
    store = SharedStore(tmp_path / "limits", 1000)
    policy = Policy("default", Rate((100, 86_400)))  # so slow that none is refilled while this runs
    waits, admitted = [], 0
    for _ in range(200):
        holder = hold_locks(str(store.path))
        holder.kill()
        holder.wait()
        started = time.monotonic()
        admitted += store.take(policy, "client") >= 0
        waits.append(time.monotonic() - started)
        holder.communicate()
    assert max(waits) <= 0.1
    assert store.fallbacks == 0
    assert admitted == 100
    asyncio.run(store.close())
