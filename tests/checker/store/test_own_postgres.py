"""Databases of the check's own on a PostgreSQL server: what they are made from, and who may have them."""

from __future__ import annotations

import asyncio

import pytest

from roadworthy.checker.store.own import PREFIX, CannotOwn
from roadworthy.checker.store.own_postgres import OwnPostgres
from roadworthy.checker.store.postgres_client import PostgresSession, ask
from tests.free_port import free_port
from tests.postgres_server import PostgresServer

_COUNT = "SELECT count(*) FROM pg_stat_user_tables"


async def _make_table(url: str) -> None:
    session = await PostgresSession.connect(url)
    try:
        await session.run("CREATE TABLE made (id int)")
    finally:
        await session.close()


def _left(server: PostgresServer) -> int:
    return server.psql("SELECT datname FROM pg_database").stdout.count(PREFIX.encode())


@pytest.mark.parametrize("how", ["adopted", "filled"])
def test_tables_are_made_once(postgres: PostgresServer, how: str) -> None:
    """What a service or database.setup has made is in every database that is made afterwards."""

    async def check() -> None:
        own = OwnPostgres(postgres.fresh_url(), "abc123")
        await own.prepare()
        try:
            first = await own.make()
            assert not await own.adopt(first), "there are no tables yet"
            if how == "filled":
                assert await own.fill(_make_table)
                assert await own.fill(_make_table), "it is done once"
            else:
                await _make_table(first)
            assert await own.adopt(first) == (how == "adopted")
            second = await own.make()
            assert await ask(second, _COUNT) == [(1,)]
            await own.remove(second)
            assert _left(postgres) == 2, "the base, and the first"
        finally:
            await own.close()
        assert _left(postgres) == 0

    asyncio.run(check())


def test_databases_of_a_check_that_runs_are_left_alone(postgres: PostgresServer) -> None:
    """A second check on the same server removes what a killed one has left, and nothing of one that runs."""

    async def check() -> None:
        url = postgres.fresh_url()
        running, killed = OwnPostgres(url, "aaa"), OwnPostgres(url, "bbb")
        await running.prepare()
        await killed.prepare()
        kept = await running.make()
        await killed.make()
        session = killed._session  # as the kernel ends it with the process
        assert session is not None
        await session.close()
        third = OwnPostgres(url, "ccc")
        await third.prepare()
        names = postgres.psql("SELECT datname FROM pg_database").stdout.decode().split()
        assert not any(name.startswith(f"{PREFIX}bbb_") for name in names)
        assert kept.rpartition("/")[2] in names
        await third.close()
        await running.close()
        assert _left(postgres) == 0

    asyncio.run(check())


def test_a_server_that_does_not_answer() -> None:
    """Where nobody can be asked there is no database of the check's own, and the reason has no password."""
    own = OwnPostgres(f"postgresql://user:secret@127.0.0.1:{free_port()}/name", "abc")
    with pytest.raises(CannotOwn) as failed:
        asyncio.run(own.prepare())
    assert str(failed.value)
    assert "secret" not in str(failed.value)
