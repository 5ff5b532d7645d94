"""Three hosts behind nginx, with one PostgreSQL and one Redis: they are one service."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..hosts.lan import why_not
from ..hosts.site import Site, site
from ..hosts.writers import Writers, failed, post, user
from ..server.load import Client, Outcome

pytestmark = pytest.mark.proof

Record = Callable[[str, object], None]

_CLIENTS = 20
_HOUR = 3600 / 100
"""Seconds after which ``100/hour`` lets one more through."""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three hosts, whose requests may take 5 s."""
    with site(tmp_path_factory.mktemp("site"), 3, ROADWORTHY_REQUEST_TIMEOUT="5") as made:
        yield made


async def _asked(port: int, path: str, times: int) -> list[Outcome]:
    left = iter(range(times))

    async def run() -> list[Outcome]:
        client = Client(port)
        outcomes = [await client.ask(path) for _ in left]
        client.close()
        return outcomes

    return sum(await asyncio.gather(*(run() for _ in range(_CLIENTS))), [])


def test_a_limit_is_exact_across_hosts(tmp_path: Path, record_property: Record) -> None:
    """Of 1,000 requests that come to three hosts at the limit of 100 an hour, 100 are served: 10 runs of 10."""
    admitted: list[int] = []
    slowest = 0.0
    with site(tmp_path, 3, with_redis=True, ROADWORTHY_RATE_LIMIT="100/hour") as made:
        assert made.redis is not None
        owner = asyncio.run(_user(made, "limits"))
        for _ in range(10):
            with made.redis.client() as redis:
                redis.flushall()
            began = time.monotonic()
            outcomes = asyncio.run(_asked(made.port, f"/api/users/{owner}", 1000))
            slowest = max(slowest, time.monotonic() - began)
            statuses = Counter(one.status for one in outcomes)
            assert set(statuses) == {200, 429}, statuses
            admitted.append(statuses[200])
        served = made.served
    record_property("admitted", admitted)
    record_property("slowest run", f"{slowest:.1f} s")
    assert len([host for host, count in served.items() if count > 1000]) == 3, served
    assert slowest < _HOUR, "the machine was too slow for this proof"
    assert admitted == [100] * 10


async def _user(made: Site, name: str) -> int:
    client = Client(made.port)
    try:
        return await user(client, name)
    finally:
        client.close()
