"""The pools of PostgreSQL's drivers, given as resources as they are, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from roadworthy import roadworthy
from roadworthy.layer.resources import WithStats, adapted
from roadworthy.types import Receive, Scope, Send

from ..patience import eventually
from ..postgres_server import running_postgres
from ..served import served

pytestmark = [pytest.mark.proof, pytest.mark.anyio]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Run a server."""
    with running_postgres() as url:
        yield url


def _asyncpg(url: str) -> Any:
    import asyncpg

    return asyncpg.create_pool(url, min_size=1, max_size=3)


def _psycopg(url: str) -> Any:
    from psycopg_pool import AsyncConnectionPool

    return AsyncConnectionPool(url, min_size=1, max_size=3, open=False)


def _psycopg_threads(url: str) -> Any:
    from psycopg_pool import ConnectionPool

    return ConnectionPool(url, min_size=1, max_size=3, open=False)


def _sqlalchemy(url: str) -> Any:
    return create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=3)


async def _ask_asyncpg(pool: Any) -> None:
    await pool.fetchval("SELECT 1")


async def _ask_psycopg(pool: Any) -> None:
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")


async def _ask_threads(pool: Any) -> None:
    with pool.connection() as connection:
        connection.execute("SELECT 1")


async def _ask_sqlalchemy(engine: Any) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


KINDS: dict[str, tuple[Callable[[str], Any], Callable[[Any], Awaitable[None]]]] = {
    "asyncpg": (_asyncpg, _ask_asyncpg),
    "psycopg": (_psycopg, _ask_psycopg),
    "psycopg-threads": (_psycopg_threads, _ask_threads),
    "sqlalchemy": (_sqlalchemy, _ask_sqlalchemy),
}


def _connections(url: str) -> int:
    import psycopg

    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'zoo' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture(params=KINDS)
def kind(
    request: pytest.FixtureRequest, postgres: str
) -> Iterator[tuple[Any, Callable[[Any], Awaitable[None]]]]:
    """Make a pool as a module does that is imported: before there is the service's loop."""
    make, ask = KINDS[request.param]
    other = asyncio.new_event_loop()
    asyncio.set_event_loop(other)
    yield make(postgres), ask
    asyncio.set_event_loop(None)
    other.close()


async def test_a_pool_is_opened_asked_and_closed(
    kind: tuple[Any, Callable[[Any], Awaitable[None]]], postgres: str
) -> None:
    """A handler uses it, readiness asks it, and nothing of it is left."""
    pool, ask = kind
    (resource,) = adapted([pool]).values()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await ask(pool)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    layer = roadworthy(app, resources=[pool])
    assert isinstance(resource, WithStats)
    async with served(layer) as client:
        await eventually(lambda: layer.health.details()["checks"]["database"]["status"] == "pass")
        assert (await client.get("/")).status_code == 204
        # psycopg gives connections back in the background.
        await eventually(lambda: (stats := resource.stats()) and stats.size and not stats.in_use)
    await eventually(lambda: _connections(postgres) == 0, "the server has none of its connections")
