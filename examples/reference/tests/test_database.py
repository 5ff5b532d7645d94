"""Nothing acknowledged is lost, nothing half done stays, and whoever cannot be served is told so."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from reference.database import Database, database_path
from reference.schema import users
from roadworthy import UnavailableError
from roadworthy.settings import SettingsError

pytestmark = pytest.mark.anyio

_INSERT = text("INSERT INTO users (name, email, created_at) VALUES ('Ada', :email, '')")
_FIRST = text("INSERT INTO users VALUES (1, '0', 'a@b.c', '')")
_READ = text("SELECT name FROM users WHERE id = 1")
_CHANGE = text("UPDATE users SET name = :name WHERE id = 1")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A database with the schema of this release."""
    database = Database(tmp_path / "data.db", wait=5.0)
    await database.start()
    yield database
    await database.stop()


async def _names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(select(users.c.name).order_by(users.c.id))).scalars())


async def test_no_update_is_lost(database: Database) -> None:
    """Of twenty concurrent read-modify-write units none undoes another (omnilib/aiosqlite#251)."""

    async def add_one() -> None:
        async with database.write() as connection:
            before = int((await connection.execute(_READ)).scalar_one())
            await asyncio.sleep(0)
            await connection.execute(_CHANGE, {"name": str(before + 1)})

    async with database.write() as connection:
        await connection.execute(_FIRST)
    await asyncio.gather(*(add_one() for _ in range(20)))
    assert await _names(database) == ["20"]


async def test_no_update_is_lost_between_processes(database: Database) -> None:
    """Two pools on one file, as two processes have them, do not undo each other's updates either."""
    other = Database(database.path, wait=5.0)

    async def add_one(through: Database) -> None:
        async with through.write() as connection:
            before = int((await connection.execute(_READ)).scalar_one())
            await connection.execute(_CHANGE, {"name": str(before + 1)})

    async with database.write() as connection:
        await connection.execute(_FIRST)
    try:
        await asyncio.gather(*(add_one(through) for through in (database, other) * 5))
    finally:
        await other.stop()
    assert await _names(database) == ["10"]


async def test_a_unit_that_raises_leaves_nothing(database: Database) -> None:
    """What a unit of work wrote before it raised is rolled back, and the next one works."""

    async def unit() -> None:
        async with database.write() as connection:
            await connection.execute(_INSERT, {"email": "a@b.c"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unit()
    async with database.write() as connection:
        await connection.execute(_INSERT, {"email": "a@b.c"})
    assert await _names(database) == ["Ada"]


async def test_a_cancelled_unit_leaves_nothing(database: Database) -> None:
    """A cancelled unit of work is rolled back, and frees its connection and its turn (sqlalchemy#13039)."""

    async def unit(number: int, written: asyncio.Event) -> None:
        async with database.write() as connection:
            await connection.execute(_INSERT, {"email": f"{number}@b.c"})
            written.set()
            await asyncio.Event().wait()

    for number in range(10):  # twice the connections of the pool
        written = asyncio.Event()
        task = asyncio.create_task(unit(number, written))
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(10):
        async with database.write() as connection:
            await connection.execute(_INSERT, {"email": "a@b.c"})
        assert await _names(database) == ["Ada"]


async def test_cancelled_at_any_moment(database: Database) -> None:
    """Wherever in a statement or in COMMIT the cancellation falls, the database works on afterwards."""

    async def unit(number: int) -> None:
        async with database.write() as connection:
            await connection.execute(_INSERT, {"email": f"{number}@b.c"})

    for steps in range(40):
        task = asyncio.create_task(unit(steps))
        for _ in range(steps):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(10):
        await unit(1000)
        async with database.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(users))).scalar_one() >= 1
            assert (await connection.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"


async def test_locked_by_another_process(tmp_path: Path) -> None:
    """A writer that waits in vain for another process is refused with 503, and can write afterwards."""
    database = Database(tmp_path / "data.db", wait=0.2)
    await database.start()
    try:
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError):
                async with database.write() as connection:
                    await connection.execute(_INSERT, {"email": "a@b.c"})
            other.execute("ROLLBACK")
        async with database.write() as connection:
            await connection.execute(_INSERT, {"email": "a@b.c"})
    finally:
        await database.stop()


async def test_no_connection_free(tmp_path: Path) -> None:
    """Who waits in vain for a connection is refused with 503, and so is who waits for a turn to write."""
    database = Database(tmp_path / "data.db", wait=0.2)
    await database.start()
    held, release = asyncio.Semaphore(0), asyncio.Event()

    async def hold() -> None:
        async with database.read():
            held.release()
            await release.wait()

    async def hold_turn() -> None:
        async with database.write():
            held.release()
            await release.wait()

    try:
        turn = asyncio.create_task(hold_turn())
        await held.acquire()
        with pytest.raises(UnavailableError):
            async with database.write():
                pass
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


async def test_full_disk(database: Database) -> None:
    """A write that does not fit is refused with 503 and leaves nothing; when there is room, it works."""
    async with database.read() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    # The pool hands out the connection used last, so this one has the limit.
    big = text("INSERT INTO users (name, email, created_at) VALUES (:name, 'a@b.c', '')")
    with pytest.raises(UnavailableError):
        async with database.write() as connection:
            await connection.execute(big, {"name": "x" * 99_999})
    async with database.read() as connection:
        await connection.execute(text("PRAGMA max_page_count = 1000000"))
    async with database.write() as connection:
        await connection.execute(_INSERT, {"email": "a@b.c"})
    assert await _names(database) == ["Ada"]


async def test_pragmas(database: Database) -> None:
    """Every connection keeps foreign keys, waits for the disk at COMMIT, and has a write-ahead log."""
    for lend in (database.read, database.write):
        async with lend() as connection:
            found = [
                (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("foreign_keys", "synchronous", "journal_mode", "busy_timeout")
            ]
        assert found == [1, 2, "wal", 5000]


async def test_stats(database: Database) -> None:
    """The pool counts a connection that is lent."""
    async with database.read():
        stats = database.stats()
    assert stats is not None
    assert (stats.in_use, stats.max) == (1, 5)


async def test_stop_ends_every_thread(tmp_path: Path) -> None:
    """No thread of a connection outlives the pool (aiosqlite#355)."""
    before = set(threading.enumerate())
    database = Database(tmp_path / "data.db")
    await database.start()
    await asyncio.gather(*(database.ping() for _ in range(5)))
    await database.stop()
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("asyncio_"):  # those of asyncio.to_thread end with the loop
            thread.join(timeout=10)
            assert not thread.is_alive()


@pytest.mark.parametrize("url", ["sqlite:///./data.db", "sqlite+aiosqlite:///./data.db"])
def test_database_path(url: str) -> None:
    """A relative path stays relative to the working directory."""
    assert database_path(url) == Path("data.db")


@pytest.mark.parametrize(
    "url", ["postgresql://ada:canary@db/x", "sqlite://", "sqlite:///:memory:", "canary", "mysql+canary"]
)
def test_other_databases(url: str) -> None:
    """A database that this service does not speak is refused by name, without the password."""
    with pytest.raises(SettingsError) as caught:
        database_path(url)
    assert "sqlite:///path/to/file.db" in str(caught.value)
    assert "canary" not in str(caught.value)
