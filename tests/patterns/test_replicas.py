"""Read-only units of work on a standby of PostgreSQL, and clients that read what they have written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from roadworthy import Settings, UnavailableError, roadworthy
from roadworthy.patterns import Database, TransactionError, transactional, unit_of_work
from roadworthy.settings import SettingsError
from roadworthy.types import ASGIApp
from tests.asgi_driver import ask
from tests.patience import DEADLINE
from tests.postgres_server import PostgresServer, StandbyServer
from tests.redis_server import RedisServer
from tests.served import served

from .accounts import Accounts, emptied

pytestmark = pytest.mark.anyio

_WHERE = text("SELECT pg_is_in_recovery()")


@dataclass
class Site:
    """What the hosts share."""

    primary: PostgresServer
    standby: StandbyServer
    redis: RedisServer


@pytest.fixture(scope="module")
def servers() -> Iterator[Site]:
    """A primary with one standby, and Redis."""
    with (
        PostgresServer() as primary,
        StandbyServer(primary, synchronous=False) as standby,
        RedisServer() as redis,
    ):
        yield Site(primary, standby, redis)


@pytest.fixture
async def site(servers: Site) -> Site:
    """The same with empty tables, and nothing remembered."""
    await emptied(servers.primary.url)
    servers.standby.catch_up()
    with servers.redis.client() as client:
        client.flushall()
    return servers


class Service:
    """A service as users write one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts = Accounts(database)

    @transactional
    async def add(self, email: str) -> None:
        await self.accounts.insert({"email": email})

    @transactional(read_only=True)
    async def emails(self) -> tuple[list[str], bool]:
        """Return what is there, and whether a standby said so."""
        found = [one.email for one in (await self.accounts.list(limit=100)).items]
        return found, await self.is_on_standby()

    async def is_on_standby(self) -> bool:
        async with self.database.connection() as connection:
            return bool((await connection.execute(_WHERE)).scalar_one())


def _database(site: Site, **options: Any) -> Database:
    given = {"wait": DEADLINE, "size": 5, "replica_urls": [site.standby.url], "redis_url": site.redis.url}
    return Database(site.primary.url, **{**given, **options})


@asynccontextmanager
async def _opened(site: Site, **options: Any) -> AsyncIterator[Service]:
    database = _database(site, **options)
    await database.start()
    try:
        yield Service(database)
    finally:
        await database.stop()


def _host(database: Database) -> ASGIApp:
    app = FastAPI()
    service = Service(database)

    app.post("/accounts/{email}", status_code=201)(service.add)
    app.get("/accounts")(service.emails)
    return roadworthy(app, resources=[database], settings=Settings(rate_limit="off"))


@asynccontextmanager
async def _hosts(site: Site, **options: Any) -> AsyncIterator[tuple[ASGIApp, ASGIApp]]:
    """Run two hosts of one service."""
    hosts = _host(_database(site, **options)), _host(_database(site, **options))
    async with AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(served(host))
        yield hosts


async def _ask(host: ASGIApp, method: str, path: str, user: str, address: str) -> Any:
    fields = [(b"authorization", f"Bearer {user}".encode())] if user else []
    answer = await ask(host, method, path, fields, client=(address, 1))
    assert answer.status in (200, 201), answer.body
    return answer.json()


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_units_that_only_read_are_on_the_standby(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What may write, what asks for SERIALIZABLE, and what is read outside units is on the primary."""
    async with _opened(site) as service:
        on_standby: dict[str, bool] = {"outside": await service.is_on_standby()}
        async with unit_of_work(read_only=True):
            on_standby["read only"] = await service.is_on_standby()
        async with unit_of_work(read_only=True, isolation="repeatable read"):
            on_standby["repeatable read"] = await service.is_on_standby()
        async with unit_of_work(read_only=True, isolation="serializable"):
            on_standby["serializable"] = await service.is_on_standby()
        async with unit_of_work():
            on_standby["writes"] = await service.is_on_standby()
            async with unit_of_work(read_only=True):
                on_standby["part of what writes"] = await service.is_on_standby()
    assert {name for name, on in on_standby.items() if on} == {"read only", "repeatable read"}
    assert "cannot be read from" not in caplog.text


async def test_a_write_on_the_standby_is_refused(site: Site) -> None:
    """A unit that is read_only may not write there either, in the same words."""
    async with _opened(site) as service:
        with pytest.raises(TransactionError, match="read_only"):
            async with unit_of_work(read_only=True):
                await service.accounts.insert({"email": "a"})


@pytest.mark.parametrize(
    ("user", "address", "knows"),
    [
        ("ada", "10.0.0.1", True),
        ("ada", "10.0.0.2", True),  # another network
        ("bob", "10.0.0.1", True),  # signed in since
        ("", "10.0.0.1", True),  # signed out since
        ("bob", "10.0.0.2", False),
        ("", "10.0.0.2", False),
    ],
)
async def test_a_client_reads_what_it_has_written_on_another_host(
    site: Site, user: str, address: str, knows: bool
) -> None:
    """On a standby that is behind everybody else reads what was, and whoever wrote reads it elsewhere."""
    async with _hosts(site) as (one, other):
        await _ask(one, "POST", "/accounts/old", "eve", "10.0.0.9")
        site.standby.catch_up()
        # A host that has just started wants to see where the primary stood then.
        await _ask(other, "GET", "/accounts", "eve", "10.0.0.9")
        site.standby.fall_behind()
        try:
            await _ask(one, "POST", "/accounts/new", "ada", "10.0.0.1")
            seen = await _ask(other, "GET", "/accounts", user, address)
        finally:
            site.standby.catch_up()
        assert seen == ([["old", "new"], False] if knows else [["old"], True])
        # Once the standby has it, it serves them all.
        assert await _ask(other, "GET", "/accounts", user, address) == [["old", "new"], True]


async def test_what_a_process_writes_outside_requests_it_reads(site: Site) -> None:
    """A job that has written does not read from a standby that is behind."""
    async with _opened(site) as service:
        await service.emails()
        site.standby.fall_behind()
        try:
            await service.add("a")
            seen = await service.emails()
        finally:
            site.standby.catch_up()
        assert (seen, await service.emails()) == ((["a"], False), (["a"], True))


async def test_a_standby_that_is_far_behind_is_not_used(site: Site) -> None:
    """After the seconds that a replica may be behind nobody reads from it until it has caught up."""
    async with _hosts(site, replica_lag=1.0) as (one, other):
        site.standby.fall_behind()
        try:
            await _ask(one, "POST", "/accounts/a", "ada", "10.0.0.1")

            async def everybody() -> bool:
                return bool(await _ask(other, "GET", "/accounts", "bob", "10.0.0.2") == [["a"], False])

            await _until(everybody)
            # Also when nothing is remembered of it any more.
            with site.redis.client() as client:
                client.flushall()
            assert await _ask(other, "GET", "/accounts", "ada", "10.0.0.1") == [["a"], False]
        finally:
            site.standby.catch_up()
        assert await _ask(other, "GET", "/accounts", "bob", "10.0.0.2") == [["a"], True]


async def test_a_standby_that_is_away_costs_no_request(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The primary is read from, with one warning, until the standby is back."""
    async with _opened(site) as service:
        await service.add("a")
        site.standby.catch_up()
        assert await service.emails() == (["a"], True)
        site.standby.stop("immediate")
        try:
            seen = [await service.emails() for _ in range(5)]
        finally:
            site.standby.start()
        site.standby.catch_up()
        assert seen == [(["a"], False)] * 5

        async def is_back() -> bool:
            return (await service.emails())[1]

        await _until(is_back)
    warned = [one.getMessage() for one in caplog.records if "replica 1" in one.getMessage()]
    assert [one.partition(" (")[0] for one in warned] == [
        "replica 1 of the database cannot be read from",
        "replica 1 of the database is read from again",
    ]


async def test_a_service_starts_without_its_standby(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A replica that does not answer at the start is no reason to stay away."""
    site.standby.stop("fast")
    try:
        database = _database(site, wait=1.0)
        await database.prepare()
        async with _opened(site) as service:
            assert await service.emails() == ([], False)
    finally:
        site.standby.start()
    assert "replica 1 of the database does not answer" in caplog.text


async def test_without_redis_the_primary_is_read_from(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Who has written is not known then; what is written meanwhile is known when Redis is back."""
    async with _hosts(site) as (one, other):
        for host in (one, other):
            await _ask(host, "GET", "/accounts", "ada", "10.0.0.1")
        site.standby.fall_behind()
        site.redis.stop()
        try:
            await _ask(one, "POST", "/accounts/a", "ada", "10.0.0.1")
            assert await _ask(other, "GET", "/accounts", "bob", "10.0.0.2") == [["a"], False]
            site.redis.start()

            async def one_reads_the_standby() -> bool:
                return bool((await _ask(one, "GET", "/accounts", "bob", "10.0.0.2"))[1])

            async def other_reads_the_standby() -> bool:
                return bool((await _ask(other, "GET", "/accounts", "bob", "10.0.0.2"))[1])

            await _until(one_reads_the_standby)
            await _until(other_reads_the_standby)
            assert await _ask(other, "GET", "/accounts", "ada", "10.0.0.1") == [["a"], False]
        finally:
            site.standby.catch_up()
    assert "everybody reads from the primary" in caplog.text


async def test_a_server_that_follows_another_primary_is_not_read_from(
    site: Site, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Positions of two clusters have nothing to do with each other."""
    async with _opened(site, replica_urls=[postgres.url]) as service:
        await service.add("a")
        assert await service.emails() == (["a"], False)
    assert "it follows another primary" in caplog.text


async def test_two_replicas_share_the_reads(site: Site) -> None:
    """Of two that have nothing to do each takes every other unit."""
    async with _opened(site, replica_urls=[site.standby.url, site.standby.url], size=3) as service:
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(service.emails() for _ in range(20)))
        open_before = service.database.stats()
        assert open_before is not None
        # More than the three of one, besides the primary's.
        assert (open_before.max, open_before.in_use) == (9, 0)
        assert open_before.size > 4


async def test_a_promoted_standby_is_read_from(site: Site) -> None:
    """A standby that became a primary has what it had, and serves reads."""
    with StandbyServer(site.primary, synchronous=False) as standby:
        async with _opened(site, replica_urls=[standby.url]) as service:
            await service.add("a")
            standby.catch_up()
            assert await service.emails() == (["a"], True)
            standby.promote()
            assert (await service.emails())[0] == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"redis_url": None}, "REDIS_URL"),
        ({"database_url": "sqlite:///./data.db"}, "DATABASE_URL names none"),
        ({"database_replica_urls": "mysql://zoo:sesame-4711@host/zoo"}, "write postgresql://"),
        ({"database_replica_urls": "postgresql://zoo:sesame-4711@[/zoo"}, "postgresql://user:password@host"),
        ({"redis_url": "http://zoo:sesame-4711@host"}, "redis://"),
    ],
)
def test_replicas_that_cannot_be_used_stop_the_start(change: dict[str, Any], message: str) -> None:
    """One message names the setting and what to do, and shows no password."""
    given: dict[str, Any] = {
        "env": "test",
        "database_url": "postgresql://zoo:sesame-4711@host/zoo",
        "database_replica_urls": "postgresql://zoo:sesame-4711@host/zoo",
        "redis_url": "redis://host",
        **change,
    }
    with pytest.raises(SettingsError) as caught:
        Database.from_settings(Settings(**given))
    (problem,) = str(caught.value).splitlines()[1:]
    assert "DATABASE_REPLICA_URLS" in problem
    assert message in problem
    assert "sesame" not in problem


async def test_a_replica_that_refuses_stops_the_start(site: Site) -> None:
    """A wrong password of a replica is reported as that of the primary is."""
    database = _database(site, replica_urls=[site.standby.url.replace("zoo:zoo", "zoo:sesame-4711")])
    with pytest.raises(SettingsError, match="DATABASE_REPLICA_URLS: the server refuses the password"):
        await database.prepare()


async def test_a_full_replica_refuses_as_a_full_primary_does(site: Site) -> None:
    """Whoever gets no connection in time is refused, and the primary is not overrun."""
    async with _opened(site, size=1, wait=0.1) as service, unit_of_work(read_only=True):
        assert await service.is_on_standby()
        with pytest.raises(UnavailableError):
            await asyncio.create_task(service.emails(), context=_nothing())
        assert not await asyncio.create_task(service.is_on_standby(), context=_nothing())


def _nothing() -> Any:
    from contextvars import Context

    return Context()
