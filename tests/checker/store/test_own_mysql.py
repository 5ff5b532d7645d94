"""Databases of the check's own on a MariaDB server: what they are loaded from, and who may have them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from roadworthy.checker.store.mysql_client import MysqlSession
from roadworthy.checker.store.own import PREFIX, CannotOwn
from roadworthy.checker.store.own_mysql import OwnMysql
from tests.free_port import free_port
from tests.mariadb_server import MariadbServer

_MADE = """
CREATE TABLE owners (id INT PRIMARY KEY, name TEXT);
CREATE TABLE things (
    id INT AUTO_INCREMENT PRIMARY KEY, owner INT, FOREIGN KEY (owner) REFERENCES owners (id)
);
INSERT INTO owners VALUES (1, 'Zoë');
INSERT INTO things (owner) VALUES (1);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    """A server, with a database in which there are tables."""
    with MariadbServer() as server:
        server.sql("CREATE DATABASE full CHARACTER SET latin1; CREATE DATABASE empty;")
        server.sql(_MADE, "full")
        yield server


def _left(server: MariadbServer) -> int:
    return server.sql("SHOW DATABASES").count(PREFIX)


async def _ask(url: str, statement: str) -> list[tuple[object, ...]]:
    session = await MysqlSession.connect(url)
    try:
        return await session.ask(statement)
    finally:
        await session.close()


async def _make_table(url: str) -> None:
    await _ask(url, "CREATE TABLE made (id INT)")


@pytest.mark.proof
def test_a_copy_has_all_that_the_declared_one_has(server: MariadbServer) -> None:
    """Tables, rows, keys between tables and the character set are those of the declared database."""

    async def check() -> None:
        own = OwnMysql(server.url_of("full"), "abc123")
        await own.prepare()
        try:
            assert not own.doubtful
            url = await own.make()
            assert await own.is_filled(url)
            assert await _ask(url, "SELECT name, things.id FROM things JOIN owners ON owner = owners.id") == [
                ("Zoë", 1)
            ]
            assert await _ask(url, "SELECT @@character_set_database") == [("latin1",)]
            keys = "SELECT COUNT(*) FROM information_schema.referential_constraints "
            keys += "WHERE constraint_schema = DATABASE()"
            assert await _ask(url, keys) == [(1,)]
            assert await own.make() != url
        finally:
            await own.close()
        assert _left(server) == 0

    asyncio.run(check())


@pytest.mark.proof
@pytest.mark.parametrize("how", ["adopted", "filled"])
def test_tables_are_made_once(server: MariadbServer, how: str) -> None:
    """What a service or database.setup has made is in every database that is made afterwards."""

    async def check() -> None:
        own = OwnMysql(server.url_of("empty"), "abc123")
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
            assert await own.is_filled(second)
            # A session that is open, with a table that it has locked, keeps nothing from being dropped.
            session = await MysqlSession.connect(second)
            await session.ask("LOCK TABLES made WRITE")
            await own.remove(second)
            assert _left(server) == 1
            await session.close()
        finally:
            await own.close()
        assert _left(server) == 0

    asyncio.run(check())


@pytest.mark.proof
def test_without_the_programs_the_service_fills_it(
    server: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can write the declared database into a file, a new one is empty, and doubtful."""
    monkeypatch.setenv("PATH", "")

    async def check() -> None:
        own = OwnMysql(server.url_of("full"), "abc")
        await own.prepare()
        try:
            assert own.doubtful
            assert not await own.is_filled(await own.make())
            assert not await own.fill(_make_table)
        finally:
            await own.close()

    asyncio.run(check())
    monkeypatch.undo()
    assert _left(server) == 0


@pytest.mark.proof
def test_databases_of_a_check_that_runs_are_left_alone(server: MariadbServer) -> None:
    """A second check on the same server removes what a killed one has left, and nothing of one that runs."""

    async def check() -> None:
        url = server.url_of("empty")
        running, killed = OwnMysql(url, "aaa"), OwnMysql(url, "bbb")
        await running.prepare()
        await killed.prepare()
        await running.make()
        await killed.make()
        session = killed._session  # as the kernel ends it with the process
        assert session is not None
        await session.close()
        third = OwnMysql(url, "ccc")
        await third.prepare()
        names = server.sql("SHOW DATABASES")
        assert f"{PREFIX}bbb_" not in names
        assert f"{PREFIX}aaa_" in names
        await third.close()
        await running.close()
        assert _left(server) == 0

    asyncio.run(check())


@pytest.mark.proof
def test_a_user_who_may_not_create_databases(server: MariadbServer) -> None:
    """The reason names the right that is missing."""
    server.sql("GRANT SELECT ON empty.* TO poor@'127.0.0.1'")
    own = OwnMysql(server.url_of("empty", "poor"), "abc")
    with pytest.raises(CannotOwn, match="GRANT ALL ON"):
        asyncio.run(own.prepare())
    asyncio.run(own.close())


def test_a_server_that_does_not_answer() -> None:
    """Where nobody can be asked there is no database of the check's own, and the reason has no password."""
    own = OwnMysql(f"mysql://user:secret@127.0.0.1:{free_port()}/name", "abc")
    with pytest.raises(CannotOwn) as failed:
        asyncio.run(own.prepare())
    assert str(failed.value)
    assert "secret" not in str(failed.value)
