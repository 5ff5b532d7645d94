"""SQLite, opened so that nothing acknowledged is lost and concurrent writers do not undo each other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

from sqlalchemy import URL, Dialect, Table, and_, event, select, text
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ...errors import ConflictError, UnavailableError
from .._to_the_end import to_the_end
from . import Rules
from .driver.sqlite import SqliteDriver, hop
from .pool import Lease, MustWaitError, Pool

__all__ = ("SqliteBackend",)

_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_FULL = frozenset((sqlite3.SQLITE_FULL,))
_TAKEN = frozenset(
    (
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_ROWID,
    )
)
# ON DELETE RESTRICT is reported as a trigger.
_REFERRED_TO = frozenset((sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, sqlite3.SQLITE_CONSTRAINT_TRIGGER))
_CONFLICTS = _TAKEN | _REFERRED_TO | {sqlite3.SQLITE_CONSTRAINT_CHECK}


class SqliteBackend:
    """One SQLite file.

    ``synchronous=FULL``: COMMIT returns after the write-ahead log is on the disk. With NORMAL an acknowledged
    write survives ``kill -9`` but not a loss of power (https://sqlite.org/pragma.html#pragma_synchronous).

    Parameters:
        path: the database file.
        wait: seconds to wait for a connection, and for the writer of another process.
        readers: most connections that read at the same time.
        longest: seconds that one may be held without a record of it.
    """

    def __init__(self, path: str, wait: float, readers: int, longest: float) -> None:
        direct = _Direct()
        self._reader = Pool(
            _engine(path, wait, readers, direct, writes=False), readers, wait, longest, direct
        )
        # One connection: SQLite has one writer, and here writers of this process wait in order, where
        # SQLite's own wait, which writers of other processes go through, polls.
        self._writer = Pool(_engine(path, wait, 1, direct, writes=True), 1, wait, longest, direct)
        self.pools = (self._reader, self._writer)
        dialect = self._reader.engine.dialect
        self.driver = SqliteDriver(dialect, partial(_reader, path, dialect), readers, wait)
        self._reader.besides = self.driver.threads.stats

    async def stop(self) -> None:
        """Close every connection."""
        await self.driver.stop()
        for pool in self.pools:
            await pool.stop()

    async def prepare(self) -> None:
        """Leave it to :meth:`open`, which each process repeats without harm."""

    async def open(self) -> None:
        """Give the file a write-ahead log, so that readers and the writer do not wait for each other."""
        # Outside a transaction, where alone the mode can change; and only if needed: it takes the file for
        # itself.
        async with self._reader.engine.connect() as connection:
            mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
            if mode != "wal":
                await connection.execute(text("PRAGMA query_only=OFF"))
                await connection.execute(text("PRAGMA journal_mode=WAL"))
                await connection.execute(text("PRAGMA query_only=ON"))

    async def lend(self) -> Lease:
        """Lend a connection with ``query_only``, in autocommit."""
        return await self._reader.take()

    async def end(self, lease: Lease) -> None:
        """Take it back."""
        await lease.give_back()

    async def begin(self, rules: Rules) -> Lease:
        """Begin. One that writes is IMMEDIATE: any other that reads first and then writes fails at once when
        another has written in between, whatever the busy timeout (omnilib/aiosqlite#251).
        """
        lease = await (self._reader if rules.read_only else self._writer).take()
        try:
            await hop(
                lease.driver, sqlite3.Connection.execute, "BEGIN" if rules.read_only else "BEGIN IMMEDIATE"
            )
        except BaseException:
            # Cancelled: the thread may begin all the same.
            await to_the_end(self._end_begun(lease))
            raise
        lease.begun = True
        return lease

    async def commit(self, lease: Lease) -> None:
        """Commit."""
        await hop(lease.driver, sqlite3.Connection.commit)

    async def rollback(self, lease: Lease) -> None:
        """Undo everything."""
        await hop(lease.driver, sqlite3.Connection.rollback)

    async def _end_begun(self, lease: Lease) -> None:
        try:
            await self.rollback(lease)
        finally:
            await lease.give_back()

    async def lock(self, connection: AsyncConnection, name: str) -> bool:
        """Return True: it is the only transaction that may write."""
        return True

    def is_passing(self, error: Exception) -> bool:
        """Return whether another connection held the lock."""
        return _primary_code(error) in _BUSY

    def refusal(self, error: Exception) -> Exception | None:
        """Return 503 where another writes or the disk is full, 409 where a constraint failed that looks at
        what is there. A missing value is a mistake.
        """
        if _primary_code(error) in _BUSY | _FULL:
            return UnavailableError("The database is busy")
        return ConflictError() if _code(error) in _CONFLICTS else None

    def is_read_only(self, error: Exception) -> bool:
        """Return whether ``query_only`` refused the write."""
        return _primary_code(error) == sqlite3.SQLITE_READONLY

    def is_over(self, error: Exception) -> bool:
        """Return False: here a statement that failed undoes itself alone."""
        return False

    def unique_columns(self, error: Exception, table: Table) -> tuple[str, ...]:
        """Read the columns from ``UNIQUE constraint failed: users.email``, SQLite's only way to name them."""
        if _code(error) not in _TAKEN:
            return ()
        names = str(getattr(error, "orig", "")).partition(": ")[2]
        named = [part.rpartition(".")[2] for part in names.split(", ")]
        known = tuple(name for name in named if name in table.c)
        return known or tuple(table.primary_key.columns.keys())

    async def missing_parent(
        self, error: Exception, table: Table, values: Mapping[str, Any], connection: AsyncConnection
    ) -> str | None:
        """Ask for each foreign key's row: SQLite does not say which of them failed."""
        if _code(error) != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return None
        for constraint in table.foreign_key_constraints:
            given = {element.parent.name: values.get(element.parent.name) for element in constraint.elements}
            if None in given.values():
                continue
            same = and_(*(element.column == given[element.parent.name] for element in constraint.elements))
            if (await connection.execute(select(1).where(same))).first() is None:
                return constraint.elements[0].parent.name
        return None

    def is_referred_to(self, error: Exception) -> bool:
        """Return whether a foreign key keeps the row."""
        return _code(error) in _REFERRED_TO


class _Connection(sqlite3.Connection):
    """A connection that nobody needs to close by name.

    aiosqlite drops the one that it opens for a task which is cancelled meanwhile. Dropping closes it, and
    from 3.13 on Python warns of that; of one that is dropped later aiosqlite warns by itself.
    """

    def __del__(self) -> None:
        """Do without the warning."""


def _engine(path: str, wait: float, size: int, direct: _Direct, *, writes: bool) -> AsyncEngine:
    def connect(*where: Any, **options: Any) -> Any:
        dbapi: Any = engine.dialect.dbapi
        return direct.opened(dbapi.aiosqlite.connect(*where, **options))

    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=path),
        pool_size=size,
        max_overflow=-1,  # the gate before it bounds them
        pool_reset_on_return=None,  # whoever began a transaction ends it
        connect_args={"timeout": wait, "factory": _Connection, "async_creator_fn": connect},
        hide_parameters=True,  # what clients sent belongs into no record of a failure
    )
    event.listen(engine.sync_engine, "do_connect", direct.do_connect)
    event.listen(engine.sync_engine, "connect", _prepared(writes))
    event.listen(engine.sync_engine, "invalidate", _undo)
    return engine


class _Direct:
    """aiosqlite knows of an open transaction without asking its thread."""

    is_quiet = False

    def __init__(self) -> None:
        self.at_once = False
        self._ending: set[asyncio.Future[Any]] = set()

    def do_connect(self, *_: Any) -> None:
        """Raise in place of connecting where that must not wait; an event of SQLAlchemy's."""
        if self.at_once:
            raise MustWaitError

    async def opened(self, connection: Any) -> Any:
        """Open a connection; where that fails its thread is one of those that :meth:`aborted` waits for."""
        connection._thread.daemon = True  # as SQLAlchemy does with what it opens itself
        try:
            return await connection
        except BaseException:
            self._await(asyncio.ensure_future(asyncio.to_thread(connection._thread.join)))
            raise

    def is_open(self, driver: Any) -> bool:
        return bool(driver._running)

    def is_clean(self, driver: Any) -> bool:
        return not (driver._running and driver.in_transaction)

    def abort(self, driver: Any) -> None:
        ending = driver.stop()
        if ending is not None:
            self._await(ending)

    def _await(self, ending: asyncio.Future[Any]) -> None:
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def aborted(self) -> None:
        """Wait for the threads: one that ends after its event loop raises."""
        if self._ending:
            await asyncio.wait(self._ending)


def _reader(path: str, dialect: Dialect, wait: float) -> sqlite3.Connection:
    """Open a connection for :class:`SqliteDriver`, as the engine opens those of its pool."""
    # It is used on one thread at a time: its own, or that of the event loop, which need not be the same
    # in its whole life.
    connection = sqlite3.connect(path, timeout=wait, check_same_thread=False, factory=_Connection)
    on_connect: Any = pysqlite.dialect.on_connect(cast("Any", dialect))
    if on_connect is not None:
        on_connect(connection)
    _prepared(writes=False)(connection, None)
    return connection


def _prepared(writes: bool) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, _record: Any) -> None:
        # None: sqlite3 begins no transaction by itself. Its own mode begins one before a write only, so that
        # what was read before belongs to no transaction, and updates get lost without an error.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        if not writes:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    return prepare


def _undo(connection: Any, _record: Any, _error: BaseException | None) -> None:
    # A statement that was cancelled keeps SQLite from closing the connection, which keeps the lock of its
    # transaction as long as anything refers to the statement (https://sqlite.org/c3ref/close.html).
    with suppress(BaseException):  # cancelled again: the driver's thread does it all the same
        connection.rollback()


def _code(error: Exception) -> int:
    # Connecting fails with the driver's own error, everything else with one that has it.
    code = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlite_errorcode", 0)
    return code if isinstance(code, int) else 0


def _primary_code(error: Exception) -> int:
    return _code(error) & 0xFF
