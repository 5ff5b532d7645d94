"""A unit of work around a session that is not its own: what it writes is not lost without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from roadworthy import roadworthy
from roadworthy.patterns import Database, transactional
from roadworthy.patterns._warn_once import forget
from roadworthy.patterns.stores import TransactionError
from roadworthy.types import Receive, Scope, Send

from ..asgi_driver import ask
from ..warnings_of import warnings_of

pytestmark = pytest.mark.anyio


class Base(DeclarativeBase):
    """The tables of the tests."""

    metadata = MetaData()


class Row(Base):
    """A row."""

    __tablename__ = "rows"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Site:
    """A database with a session maker of the service's own, and the project's store on the same file."""

    def __init__(self, file: Path) -> None:
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
        self.maker = async_sessionmaker(self.engine, expire_on_commit=False)
        self.store = Database(f"sqlite:///{file}")
        self.file = file

    async def count(self) -> int:
        """Return how many rows are committed."""
        async with self.maker() as session:
            return (await session.execute(select(func.count()).select_from(Row))).scalar_one()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Make the tables, with one row."""
    site = Site(tmp_path / "rows.db")
    async with site.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Row).values(id=1, name="first"))
    await site.store.start()
    yield site
    await site.store.stop()
    await site.engine.dispose()


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Collect the warnings of units of work, which come once in a process."""
    forget()
    with warnings_of("roadworthy.transactions") as found:
        yield found


async def _added(session: AsyncSession) -> None:
    session.add(Row(id=2, name="new"))


async def _flushed(session: AsyncSession) -> None:
    session.add(Row(id=2, name="new"))
    await session.flush()


async def _changed(session: AsyncSession) -> None:
    row = await session.get_one(Row, 1)
    row.name = "other"
    await session.flush()


async def _inserted(session: AsyncSession) -> None:
    await session.execute(insert(Row).values(id=2, name="new"))


WRITES: dict[str, Callable[[AsyncSession], Awaitable[None]]] = {
    "added": _added,
    "flushed": _flushed,
    "changed": _changed,
    "inserted": _inserted,
}


@pytest.mark.parametrize("way", WRITES)
async def test_a_write_that_nobody_commits_is_an_error(way: str, site: Site) -> None:
    """Each way to write through a session of the service's own, inside `@transactional`."""

    @transactional
    async def write() -> None:
        async with site.maker() as session:
            await WRITES[way](session)

    with pytest.raises(TransactionError, match=r"Database\.session\(\)"):
        await write()


async def test_a_session_in_a_thread_is_seen_too(site: Site) -> None:
    """Handlers that are plain functions use the synchronous session."""
    engine = create_engine(f"sqlite:///{site.file}")

    def in_thread() -> None:
        with Session(engine) as session:
            session.add(Row(id=2, name="new"))
            session.flush()

    @transactional
    async def write() -> None:
        await asyncio.to_thread(in_thread)

    with pytest.raises(TransactionError):
        await write()
    engine.dispose()


async def test_what_is_committed_read_or_the_unit_s_own_is_none(site: Site) -> None:
    """A session that commits itself, one that reads, and that of the store."""

    @transactional
    async def commits() -> None:
        async with site.maker.begin() as session:
            session.add(Row(id=2, name="new"))

    @transactional
    async def reads() -> int:
        async with site.maker() as session:
            return len((await session.execute(select(Row))).all())

    @transactional
    async def own() -> None:
        async with site.store.session() as session:
            session.add(Row(id=3, name="own"))
            await session.execute(text("UPDATE rows SET name = 'x' WHERE id = 1"))

    await commits()
    assert await reads() == 2
    await own()
    assert await site.count() == 3


@pytest.mark.parametrize(("env", "status"), [("production", 200), ("development", 500), ("test", 500)])
async def test_production_warns_once(env: str, status: int, site: Site, warnings: list[str]) -> None:
    """An error where it can be mended, one warning where users are served."""

    @transactional
    async def write() -> None:
        async with site.maker() as session:
            session.add(Row(id=2, name="new"))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await write()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    layer: Any = roadworthy(app, env=env)
    assert [(await ask(layer)).status for _ in range(2)] == [status] * 2
    about = [one for one in warnings if "is not part of it" in one]
    assert len(about) == (1 if env == "production" else 0)


async def test_a_unit_that_used_no_store_is_pointed_out_once(site: Site, warnings: list[str]) -> None:
    """A driver of one's own, which SQLAlchemy cannot see, has a warning; an early return is right as well."""

    @transactional
    async def does_nothing() -> str:
        return "early"

    @transactional(read_only=True)
    async def reads_nothing() -> str:
        return "early"

    assert [await does_nothing(), await does_nothing(), await reads_nothing()] == ["early"] * 3
    assert len(warnings) == 1
    assert "does_nothing is one unit of work and used no store" in warnings[0]
