"""Nothing acknowledged is lost, nothing half done stays, and whoever cannot be served is told so."""

import asyncio
import contextvars
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

from roadworthy import UnavailableError
from roadworthy.layer.resources import Resource, WithStats
from roadworthy.patterns import Database, TransactionError, transactional, unit_of_work
from tests.patience import DEADLINE

from .accounts import Accounts, accounts, create

pytestmark = pytest.mark.anyio

# With its lock, for those databases that let two read what both will change.
_READ = select(accounts.c.balance).where(accounts.c.id == 1).with_for_update()
_PEEK = text("SELECT balance FROM accounts WHERE id = 1")
_CHANGE = text("UPDATE accounts SET balance = :balance WHERE id = 1")


class Base(DeclarativeBase):
    pass


class Mapped(Base):
    __table__ = accounts


async def _add(database: Database, email: str = "a@b.c") -> None:
    async with unit_of_work(), database.connection() as connection:
        await connection.execute(insert(accounts).values(email=email))


async def _emails(database: Database) -> list[str]:
    async with database.connection() as connection:
        return list((await connection.execute(select(accounts.c.email).order_by(accounts.c.id))).scalars())


@transactional
async def _add_one(database: Database) -> None:
    async with database.connection() as connection:
        before = int((await connection.execute(_READ)).scalar_one())
        await asyncio.sleep(0)
        await connection.execute(_CHANGE, {"balance": before + 1})


async def _balance(database: Database) -> int:
    async with database.connection() as connection:
        return int((await connection.execute(_PEEK)).scalar_one())


def test_it_is_a_resource(path: Path) -> None:
    """The layer can open it, ask it, count it and close it."""
    database = Database(f"sqlite:///{path}")
    assert isinstance(database, Resource)
    assert isinstance(database, WithStats)


async def test_no_update_is_lost(database: Database) -> None:
    """Of twenty concurrent read-modify-write units none undoes another (omnilib/aiosqlite#251)."""
    await _add(database)
    await asyncio.gather(*(_add_one(database) for _ in range(20)))
    assert await _balance(database) == 20


async def test_no_update_is_lost_between_processes(database: Database, url: str) -> None:
    """Two pools on one database, as two processes have them, do not undo each other's updates either."""
    other = Database(url)
    await _add(database)
    try:
        await asyncio.gather(*(_add_one(through) for through in (database, other) * 5))
    finally:
        await other.stop()
    assert await _balance(database) == 10


async def test_a_cancelled_unit_leaves_nothing(database: Database) -> None:
    """A cancelled unit of work is rolled back and frees its connection (sqlalchemy/sqlalchemy#13039)."""

    async def unit(number: int, written: asyncio.Event) -> None:
        async with unit_of_work():
            await _add(database, f"{number}@b.c")
            written.set()
            await asyncio.Event().wait()

    for number in range(10):
        written = asyncio.Event()
        task = asyncio.create_task(unit(number, written))
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(DEADLINE):
        await _add(database)
        assert await _emails(database) == ["a@b.c"]


async def test_cancelled_at_any_moment(database: Database) -> None:
    """Wherever in a statement or in COMMIT the cancellation falls, the database works on afterwards."""
    for steps in range(40):
        task = asyncio.create_task(_add(database, f"{steps}@b.c"))
        for _ in range(steps):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(DEADLINE):
        await _add(database)
        async with database.connection() as connection:
            assert (await connection.execute(select(func.count()).select_from(accounts))).scalar_one() >= 1
            if "sqlite" in connection.dialect.name:
                assert (await connection.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"


async def test_locked_by_another_process(path: Path) -> None:
    """A writer that waits in vain for another process is refused with 503, and can write afterwards."""
    database = Database(f"sqlite:///{path}", wait=0.1)
    await database.start()
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError):
                await _add(database)
            other.execute("ROLLBACK")
        await _add(database)
    finally:
        await database.stop()


async def test_no_connection_free(path: Path) -> None:
    """Who waits in vain for a connection is refused with 503, and so is who waits for a turn to write."""
    database = Database(f"sqlite:///{path}", wait=0.2)
    await database.start()
    held, release = asyncio.Semaphore(0), asyncio.Event()

    async def hold() -> None:
        async with database.connection():
            held.release()
            await release.wait()

    async def hold_turn() -> None:
        async with unit_of_work(), database.connection():
            held.release()
            await release.wait()

    try:
        turn = asyncio.create_task(hold_turn())
        await held.acquire()
        with pytest.raises(UnavailableError):
            await _add(database)
        tasks = [asyncio.create_task(hold()) for _ in range(4)]
        for _ in tasks:
            await held.acquire()
        with pytest.raises(UnavailableError):
            await database.ping()
        release.set()
        await asyncio.gather(turn, *tasks)
        await database.ping()
    finally:
        await database.stop()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_full_disk(database: Database) -> None:
    """A write that does not fit is refused with 503 and leaves nothing; when there is room, it works."""

    async def limit(pages: int) -> None:
        async with unit_of_work(), database.connection() as connection:
            await connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    async with database.connection() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
    await limit(pages)  # there is one connection that writes, so this one has the limit
    with pytest.raises(UnavailableError):
        await _add(database, "x" * 99_999)
    await limit(1_000_000)
    await _add(database)
    assert await _emails(database) == ["a@b.c"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_pragmas(database: Database) -> None:
    """Every connection keeps foreign keys, waits for the disk at COMMIT, and has a write-ahead log."""
    names = ("foreign_keys", "synchronous", "journal_mode", "busy_timeout", "query_only")

    async def found() -> list[object]:
        async with database.connection() as connection:
            return [(await connection.execute(text(f"PRAGMA {name}"))).scalar_one() for name in names]

    waits = int(DEADLINE * 1_000)  # SQLite has whole ones
    assert await found() == [1, 2, "wal", waits, 1]
    async with unit_of_work():
        assert await found() == [1, 2, "wal", waits, 0]
    async with unit_of_work(read_only=True):
        assert await found() == [1, 2, "wal", waits, 1]


async def test_write_outside_a_unit(database: Database) -> None:
    """A write outside a unit of work is refused and says what to do, instead of vanishing (litestar#2569)."""
    with pytest.raises(TransactionError, match="put @transactional on the method"):
        async with database.connection() as connection:
            await connection.execute(insert(accounts).values(email="a@b.c"))
    with pytest.raises(TransactionError, match="put @transactional on the method"):
        async with database.session() as session:
            session.add(Mapped(email="a@b.c"))
    assert await _emails(database) == []


async def test_session_and_connections_share_the_transaction(database: Database) -> None:
    """The session, a Core statement and the driver's own connection see and undo the same changes."""

    async def unit() -> None:
        async with unit_of_work():
            async with database.session() as session:
                session.add(Mapped(email="orm@b.c"))
            async with database.connection() as connection:
                await connection.execute(insert(accounts).values(email="core@b.c"))
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                await raw.execute("INSERT INTO accounts (email, balance, version) VALUES ('raw@b.c', 0, 1)")
            assert await _emails(database) == ["orm@b.c", "core@b.c", "raw@b.c"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unit()
    assert await _emails(database) == []
    async with unit_of_work():
        async with database.session() as session:
            session.add(Mapped(email="orm@b.c"))
        async with database.session() as session:
            found = (await session.execute(select(Mapped))).scalars().all()
            assert [vars(one)["email"] for one in found] == ["orm@b.c"]
            await session.commit()
    assert await _emails(database) == ["orm@b.c"]


async def test_commit_of_a_session_commits_nothing(database: Database) -> None:
    """What a session "commits" inside a unit of work is undone with the unit."""

    async def unit() -> None:
        async with unit_of_work():
            async with database.session() as session:
                session.add(Mapped(email="a@b.c"))
                await session.commit()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unit()
    assert await _emails(database) == []


async def test_rollback_of_a_session(database: Database) -> None:
    """After a session was rolled back the unit cannot pretend that all is well."""

    async def unit() -> None:
        async with unit_of_work():
            await _add(database)
            async with database.session() as session:
                session.add(Mapped(email="b@b.c"))
                await session.flush()
                await session.rollback()

    with pytest.raises(TransactionError, match="rolled this unit of work back"):
        await unit()
    assert await _emails(database) == []


async def test_tasks_of_one_unit_take_turns(database: Database) -> None:
    """Tasks that a unit of work starts share its transaction, one statement after the other."""
    accounts_ = Accounts(database)
    async with unit_of_work():
        await asyncio.gather(*(accounts_.insert({"email": f"{n}@b.c"}) for n in range(10)))
        assert len(await _emails(database)) == 10
    assert len(await _emails(database)) == 10


async def test_read_only_unit_sees_one_state(database: Database) -> None:
    """A read-only unit of work sees the state of its first statement until its end."""
    await _add(database, "1@b.c")

    @transactional(read_only=True)
    async def twice() -> list[list[str]]:
        before = await _emails(database)
        await asyncio.create_task(_add(database, "2@b.c"), context=outside)
        return [before, await _emails(database)]

    outside = contextvars.copy_context()
    assert await twice() == [["1@b.c"], ["1@b.c"]]
    assert await _emails(database) == ["1@b.c", "2@b.c"]


async def test_stats(database: Database) -> None:
    """The pools count the connections that are lent."""
    async with unit_of_work(), database.connection():
        stats = database.stats()
    assert stats is not None
    # SQLite: four connections that read, the one that writes, and four threads that read for statements.
    assert (stats.in_use, stats.max) == (1, 9 if database.url.startswith("sqlite") else 5)


async def test_stop_ends_every_thread(path: Path) -> None:
    """No thread of a connection outlives the pools (omnilib/aiosqlite#355)."""
    before = set(threading.enumerate())
    database = Database(f"sqlite:///{path}")
    await database.start()
    await asyncio.gather(_add(database), *(database.ping() for _ in range(5)))
    await database.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=DEADLINE)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "url", ["mysql://ada:canary@db/x", "sqlite://", "sqlite:///:memory:", "canary", "mysql+canary"]
)
def test_other_databases(url: str) -> None:
    """A database that is not known is refused by name, without the password."""
    with pytest.raises(ValueError, match=r"sqlite:///path/to/file\.db") as caught:
        Database(url)
    assert "canary" not in str(caught.value).replace("'mysql+canary'", "")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A database that cannot be opened leaves no thread and no connection behind."""
    (tmp_path / "data.db").write_bytes(b"no database" * 1000)
    before = threading.active_count()
    database = Database(f"sqlite:///{tmp_path / 'data.db'}")
    with pytest.raises(Exception, match="not a database"):
        await database.start()
    async with asyncio.timeout(DEADLINE):
        while threading.active_count() > before:
            await asyncio.sleep(0.01)
    create(tmp_path / "other.db")


async def test_children_of_a_block_that_holds_the_connection_are_refused(database: Database) -> None:
    """Two tasks on one connection would mix their statements, and waiting for the holder may have no end."""
    with pytest.raises(TransactionError, match="held by the block that began this task"):
        async with unit_of_work(), database.connection():
            await asyncio.gather(_add(database), _add(database, "b@b.c"))


async def test_a_start_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    """The thread of a connection that could not be opened has ended when the database has stopped."""
    before = set(threading.enumerate())
    switching = sys.getswitchinterval()
    sys.setswitchinterval(5)  # a thread goes on only where this one waits
    try:
        database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'data.db'}")
        with pytest.raises(DBAPIError, match="unable to open"):
            await database.start()
        await database.stop()
        left = {one for one in threading.enumerate() if one.name.endswith("(_connection_worker_thread)")}
        assert left - before == set()
    finally:
        sys.setswitchinterval(switching)
