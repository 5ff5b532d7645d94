"""Statements on SQLite, by the standard library's driver."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, cast

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError

from . import EVERY, Query
from .reader_threads import ReaderThreads

__all__ = ("SqliteDriver", "hop")

_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))

_BY_ROWID = re.compile(r"SEARCH \S+ USING INTEGER PRIMARY KEY \(rowid=\?\)")
_BY_INDEX = re.compile(r"SEARCH \S+ USING (?:COVERING )?INDEX (\S+) \(([^()]*)\)")


class SqliteDriver:
    """Runs statements on a file.

    Inside a transaction they run on the thread of its connection (aiosqlite's). Outside, the read of one row
    by a unique key runs on the event loop, as a thread costs several times what the read does; everything
    else runs on threads of its own.

    Parameters:
        dialect: of SQLAlchemy's engine.
        connect: opens a connection that refuses to write and waits so many seconds for a lock.
        size: most threads.
        wait: seconds to wait for a thread, or for a lock.
    """

    def __init__(
        self, dialect: Dialect, connect: Callable[[float], sqlite3.Connection], size: int, wait: float
    ) -> None:
        self.dialect = dialect
        self._connect = connect
        self.threads = ReaderThreads(lambda: connect(wait), size, wait)
        self._here: sqlite3.Connection | None = None

    def at_once(self, query: Query, sql: str, parameters: Sequence[Any]) -> list[Any] | None:
        """Read on the event loop, if that reads one row and nothing holds a lock."""
        if not query.is_point:
            return None
        try:
            here = self._here
            if here is None:
                here = self._here = self._connect(0.0)
            rows = here.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                return None
            raise self._translated(error, sql) from error
        return (query.make or query.described(None))(rows)

    async def read(self, query: Query, sql: str, parameters: Sequence[Any], most: int) -> list[Any]:
        """Read on a thread: execution, all rows and what they become in one hop."""
        if query.is_point is None:
            return cast(
                "list[Any]", await self.threads.run(lambda here: self._first(here, query, sql, parameters))
            )
        return cast(
            "list[Any]", await self.threads.run(lambda here: self._rows(here, query, sql, parameters, most))
        )

    async def fetch(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Any], most: int
    ) -> list[Any]:
        """Read or change on the thread of the transaction's connection."""
        return cast("list[Any]", await hop(connection, self._rows, query, sql, parameters, most))

    async def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> int:
        """Change on the thread of the transaction's connection."""
        return cast("int", await hop(connection, self._count, sql, parameters))

    async def execute_many(self, connection: Any, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Change on the thread of the transaction's connection, in one hop for all."""
        await hop(connection, self._many, sql, parameters)

    async def fetch_many(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """Change on the thread of the transaction's connection, in one hop for all."""
        return cast("list[Any]", await hop(connection, self._rows_of_many, query, sql, parameters))

    async def stream(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Any], size: int
    ) -> AsyncGenerator[list[Any]]:
        """Read on the thread of the connection, a hop for each piece."""
        make = query.make or query.described(None)
        cursor = await hop(connection, self._open, sql, parameters)
        try:
            while rows := await hop(connection, self._piece, cursor, sql, size):
                yield make(rows)
        finally:
            await hop(connection, _close, cursor)

    async def stop(self) -> None:
        """Close the connections of the threads and of the event loop."""
        await self.threads.stop()
        here, self._here = self._here, None
        if here is not None:
            here.close()

    # -- on a thread

    def _rows(
        self, here: sqlite3.Connection, query: Query, sql: str, parameters: Sequence[Any], most: int
    ) -> list[Any]:
        try:
            cursor = here.execute(sql, parameters)
            if most == EVERY:
                rows = cursor.fetchall()
            else:
                rows = cursor.fetchmany(most)
                cursor.close()  # a statement that has rows left keeps its transaction open
        except sqlite3.Error as error:
            raise self._translated(error, sql) from error
        return (query.make or query.described(None))(rows)

    def _first(
        self, here: sqlite3.Connection, query: Query, sql: str, parameters: Sequence[Any]
    ) -> list[Any]:
        rows = self._rows(here, query, sql, parameters, EVERY)
        query.is_point = _is_point(here, sql, parameters)
        return rows

    def _count(self, here: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> int:
        try:
            cursor = here.execute(sql, parameters)
            if cursor.description is not None:
                return len(cursor.fetchall())
            return cursor.rowcount
        except sqlite3.Error as error:
            raise self._translated(error, sql) from error

    def _many(self, here: sqlite3.Connection, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        try:
            here.executemany(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error, sql) from error

    def _rows_of_many(
        self, here: sqlite3.Connection, query: Query, sql: str, parameters: Sequence[Sequence[Any]]
    ) -> list[Any]:
        rows: list[Any] = []
        try:
            for one in parameters:  # executemany() takes no statement that returns rows
                rows += here.execute(sql, one).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error, sql) from error
        return (query.make or query.described(None))(rows)

    def _open(self, here: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return here.execute(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error, sql) from error

    def _piece(self, _: sqlite3.Connection, cursor: sqlite3.Cursor, sql: str, size: int) -> list[Any]:
        try:
            return cursor.fetchmany(size)
        except sqlite3.Error as error:
            raise self._translated(error, sql) from error

    def _translated(self, error: sqlite3.Error, sql: str) -> Exception:
        return cast(
            "Exception",
            DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True, dialect=self.dialect),
        )


async def hop(driver: Any, work: Callable[..., Any], *args: Any) -> Any:
    """Call ``work`` with the connection of aiosqlite and ``args``, on its thread."""
    # Its own methods take a hop for each of execution, rows and end, and have no way to do all in one.
    return await driver._execute(work, driver._conn, *args)


def _close(_: sqlite3.Connection, cursor: sqlite3.Cursor) -> None:
    cursor.close()


def _is_point(here: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> bool:
    steps = here.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    if len(steps) != 1:
        return False
    step = str(steps[0][3])
    if _BY_ROWID.fullmatch(step):
        return True
    found = _BY_INDEX.fullmatch(step)
    return found is not None and _is_unique(here, found[1], found[2])


def _is_unique(here: sqlite3.Connection, index: str, terms: str) -> bool:
    """Return whether the terms, as ``email=?``, leave at most one row of an index."""
    owner = here.execute(
        "SELECT tbl_name FROM sqlite_schema WHERE type = 'index' AND name = ?", (index,)
    ).fetchone()
    if owner is None:
        return False
    listed = here.execute('SELECT name, "unique", partial FROM pragma_index_list(?)', owner).fetchall()
    if (index, 1, 0) not in listed:
        return False
    columns = {name for (name,) in here.execute("SELECT name FROM pragma_index_info(?)", (index,))}
    # Of NULL a unique index may hold many.
    required = {
        name for (name,) in here.execute('SELECT name FROM pragma_table_info(?) WHERE "notnull"', owner)
    }
    return columns <= required and {f"{name}=?" for name in columns} == set(terms.split(" AND "))
