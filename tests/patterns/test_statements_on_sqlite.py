"""Where statements run on SQLite: a read by a unique key on the event loop, everything else on threads."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Integer, bindparam, func, insert, literal, or_, select

from roadworthy import UnavailableError
from roadworthy.patterns import Database, Statement, unit_of_work
from tests.patience import DEADLINE

from .accounts import accounts

pytestmark = pytest.mark.anyio


class Placed(BaseModel):
    """An account, and the thread that has made this."""

    id: int
    email: str
    thread: int = Field(default_factory=threading.get_ident)


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """The open database, with two accounts."""
    database = Database(f"sqlite:///{path}", wait=DEADLINE)
    await database.start()
    async with unit_of_work():
        await Statement(database, insert(accounts)).many([{"email": "a@b.c"}, {"email": "d@e.f"}])
    yield database
    await database.stop()


_EMAIL = accounts.c.email == bindparam("email", "a@b.c")


@pytest.mark.parametrize(
    ("condition", "on_the_loop"),
    [
        (accounts.c.id == 1, True),
        (_EMAIL, True),
        (_EMAIL & (accounts.c.balance == 0), True),
        (accounts.c.id.in_([1]), False),
        (accounts.c.id < 2, False),
        (accounts.c.balance == 0, False),
        (or_(accounts.c.id == 1, _EMAIL), False),
        (accounts.c.id == select(func.min(accounts.c.id)).scalar_subquery(), False),
    ],
    ids=str,
)
async def test_reads_by_a_unique_key_run_on_the_loop(
    database: Database, condition: Any, on_the_loop: bool
) -> None:
    """The first asks the database how it searches, on a thread; the next run on the loop, or never do."""
    statement = Statement(database, select(accounts).where(condition), Placed)
    await statement.first()
    found = await statement.first()
    assert found is not None
    assert (found.thread == threading.get_ident()) is on_the_loop


async def test_in_a_unit_they_run_on_its_thread(database: Database) -> None:
    """Inside a unit of work the same read takes part in the transaction, on its thread."""
    statement = Statement(database, select(accounts).where(_EMAIL), Placed)
    for _ in range(3):
        async with unit_of_work():
            assert (await statement.one()).thread != threading.get_ident()


async def test_a_locked_file_does_not_hold_the_loop(path: Path) -> None:
    """A read on the loop that meets a lock goes to a thread, waits there, and is refused in time."""
    database = Database(f"sqlite:///{path}", wait=0.2)
    await database.start()
    statement = Statement(database, select(accounts).where(_EMAIL), Placed)
    for _ in range(2):
        await statement.first()
    await database.stop()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError):
            await statement.first()
    ticking.cancel()
    assert ticks > 1
    assert await statement.first() is None
    await database.stop()


async def test_what_is_cancelled_is_interrupted(database: Database) -> None:
    """A read whose task is cancelled frees its thread: more of them than there are threads hold up nobody."""
    numbers = select(literal(1, Integer).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < 10**10))
    endless = Statement(database, select(func.count()).select_from(numbers), int)
    for _ in range(6):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(endless.one(), 0.05)
    count = Statement(database, select(func.count()).select_from(accounts), int)
    assert await asyncio.wait_for(count.one(), DEADLINE) == 2


async def test_more_reads_than_threads_wait_in_order(path: Path) -> None:
    """A read that gets no thread in time is refused, and the next one is served; both are counted."""
    database = Database(f"sqlite:///{path}", wait=0.05, readers=1)
    await database.start()
    before = database.stats()
    numbers = select(literal(1, Integer).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < 10**10))
    endless = Statement(database, select(func.count()).select_from(numbers), int)
    count = Statement(database, select(func.count()).select_from(accounts), int)
    busy = asyncio.create_task(endless.one())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(count.one())
    await asyncio.sleep(0)
    during = database.stats()
    with pytest.raises(UnavailableError):
        await waiting
    assert before is not None
    assert during is not None
    assert (before.in_use, before.waiting, before.max) == (0, 0, 3)
    assert (during.size, during.in_use, during.waiting) == (before.size + 1, 1, 1)
    busy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await busy
    assert await count.one() == 0
    after = database.stats()
    assert after is not None
    assert (after.in_use, after.waiting) == (0, 0)
    await database.stop()
