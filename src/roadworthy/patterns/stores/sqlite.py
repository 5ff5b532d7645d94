"""SQLite, opened so that nothing acknowledged is lost and concurrent writers do not undo each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection, Table, and_, event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

__all__ = ("SqliteBackend",)

_BEGIN = "roadworthy_begin"

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
    """

    def __init__(self, path: str, wait: float, readers: int) -> None:
        self.reader = _engine(path, wait, readers, writes=False)
        self.reading = self.reader.execution_options(**{_BEGIN: "BEGIN"})
        # One connection: SQLite has one writer, and here writers of this process wait in order, where
        # SQLite's own wait, which writers of other processes go through, polls. IMMEDIATE: a deferred
        # transaction that reads first and then writes fails at once when another has written in between,
        # whatever the busy timeout (omnilib/aiosqlite#251).
        self.writer = _engine(path, wait, 1, writes=True).execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})

    async def prepare(self) -> None:
        """Give the file a write-ahead log, so that readers and the writer do not wait for each other."""
        # Outside a transaction, where alone the mode can change; and only if needed: it takes the file for
        # itself.
        async with self.reader.connect() as connection:
            mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
            if mode != "wal":
                await connection.execute(text("PRAGMA query_only=OFF"))
                await connection.execute(text("PRAGMA journal_mode=WAL"))
                await connection.execute(text("PRAGMA query_only=ON"))

    def is_passing(self, error: Exception) -> bool:
        """Return whether another connection held the lock."""
        return _primary_code(error) in _BUSY

    def is_unavailable(self, error: Exception) -> bool:
        """Return whether another writes, the disk is full, or every connection was in use."""
        return isinstance(error, PoolTimeoutError) or _primary_code(error) in _BUSY | _FULL

    def is_conflict(self, error: Exception) -> bool:
        """Return whether a constraint failed that looks at what is there. A missing value is a mistake."""
        return _code(error) in _CONFLICTS

    def is_read_only(self, error: Exception) -> bool:
        """Return whether ``query_only`` refused the write."""
        return _primary_code(error) == sqlite3.SQLITE_READONLY

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


def _engine(path: str, wait: float, size: int, *, writes: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=path),
        pool_size=size,
        max_overflow=0,
        pool_timeout=wait,
        connect_args={"timeout": wait, "factory": _Connection},
        hide_parameters=True,  # what clients sent belongs into no record of a failure
    )
    event.listen(engine.sync_engine, "connect", _prepared(writes))
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "invalidate", _undo)
    return engine


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


def _begin(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN)
    if begin is not None:
        connection.exec_driver_sql(begin)


def _code(error: Exception) -> int:
    if not isinstance(error, DBAPIError):
        return 0
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return code if isinstance(code, int) else 0


def _primary_code(error: Exception) -> int:
    return _code(error) & 0xFF
