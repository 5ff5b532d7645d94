"""PostgreSQL goes away under three hosts that are under load, and comes back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import DEADLINE

from ..hosts.lan import Lan, why_not
from ..hosts.site import PORT, REQUEST, Service, Site, relayed, site
from ..hosts.writers import Writers
from ..postgres_server import PostgresServer, StandbyServer
from ..server.load import Client, Outcome

pytestmark = pytest.mark.proof

Record = Callable[[str, object], None]

_AGAIN = DEADLINE / 12
"""Seconds after PostgreSQL accepts by which all hosts serve in full: 5, or more on a machine that is busy."""
_SLACK = 2.0
"""Seconds that a refusal may be late: what nginx waits beyond a request's own deadline."""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three hosts."""
    with site(tmp_path_factory.mktemp("site"), 3) as made:
        yield made


@asynccontextmanager
async def _watched(services: list[Service], path: str) -> AsyncGenerator[list[Outcome]]:
    """Ask all hosts themselves, over and over."""
    outcomes: list[Outcome] = []
    stopping = False

    async def watch(service: Service) -> None:
        client = Client(PORT, host=service.host.address)
        while not stopping:
            outcomes.append(await client.ask(path))
            await asyncio.sleep(0.1)
        client.close()

    tasks = [asyncio.create_task(watch(service)) for service in services]
    try:
        yield outcomes
    finally:
        stopping = True
        await asyncio.gather(*tasks)


async def _away(
    made: Site,
    name: str,
    harm: Callable[[], None],
    lasts: float,
    mend: Callable[[], None],
    database: PostgresServer,
    record_property: Record,
) -> None:
    """Take PostgreSQL away for a while, under load, and judge all that clients saw."""
    before = [sorted(service.host.pids) for service in made.services]
    async with Writers(made.port, name) as load, _watched(made.services, "/livez") as lives:
        await load.more()
        harmed = time.monotonic()
        await asyncio.to_thread(harm)
        await asyncio.sleep(lasts)
        await asyncio.to_thread(mend)
        accepted = time.monotonic()
        await asyncio.sleep(_AGAIN)
        await load.more()
    failures = load.failures
    late = load.failures_since(accepted + _AGAIN)
    last = max((one.began for one in failures), default=accepted) - accepted
    repeated = await load.settle()
    record_property("requests", dict(load.kinds))
    record_property("PostgreSQL was away", f"{accepted - harmed:.1f} s")
    record_property("last request that failed, after it was back", f"{last:.1f} s")
    record_property("slowest failure", f"{max((one.seconds for one in failures), default=0.0):.1f} s")
    record_property("sent again with the same key", repeated)
    record_property("slowest /livez", f"{max(one.seconds for one in lives):.1f} s")
    load.check(database)
    assert late == []
    assert {one.status for one in failures} <= {503, 504}, load.kinds
    assert all(one.seconds < REQUEST + _SLACK for one in failures), max(one.seconds for one in failures)
    assert {(one.kind, one.status) for one in lives} == {("ok", 200)}
    assert [sorted(service.host.pids) for service in made.services] == before, "a process was replaced"


def test_refused(three: Site, record_property: Record) -> None:
    """Stopped for some seconds: connections are refused."""
    server = three.postgres
    asyncio.run(_away(three, "refused", server.stop, 4.0, server.start, server, record_property))


def test_stalled(three: Site, record_property: Record) -> None:
    """Connections stay up and nothing answers, for longer than requests may take."""
    server = three.postgres

    def stall() -> None:
        server.signal(signal.SIGSTOP)

    def go_on() -> None:
        server.signal(signal.SIGCONT)

    asyncio.run(_away(three, "stalled", stall, REQUEST + 3.0, go_on, server, record_property))


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_restarted(three: Site, how: str, record_property: Record) -> None:
    """Restarted: all connections end, some in the middle of a transaction."""
    server = three.postgres

    def stop() -> None:
        server.stop("immediate" if how == "immediate" else "fast")

    asyncio.run(_away(three, how, stop, 0.0, server.start, server, record_property))


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_failed_over(how: str, tmp_path: Path, record_property: Record) -> None:
    """The primary is killed, or falls silent as without power; its synchronous standby is promoted."""
    with Lan(4) as lan:
        settings: dict[str, Any] = {"listen_addresses": f"127.0.0.1,{lan.gateway}", "max_connections": 60}
        with (
            PostgresServer(lan.network, **settings) as primary,
            StandbyServer(primary, lan.network, **settings) as standby,
            relayed(lan.hosts[3], primary, lan.gateway) as url,
        ):
            both = url.replace(":5432/", f":5432,{lan.gateway}:{standby.port}/")

            def end() -> None:
                if how == "killed":
                    primary.stop("immediate")
                else:
                    lan.hosts[3].cut()

            asked = f"{both}?target_session_attrs=read-write"
            with site(tmp_path, 3, lan=lan, store=primary, DATABASE_URL=asked) as made:
                asyncio.run(_away(made, how, end, 1.0, standby.promote, standby, record_property))
