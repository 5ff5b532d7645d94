"""SQLite, opened so that nothing acknowledged is lost and concurrent writers do not undo each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_FULL, SQLITE_LOCKED
from typing import Any

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from roadworthy import UnavailableError
from roadworthy.layer.connection_pooling import PoolStats, SqlAlchemyPool
from roadworthy.settings import Problem, SettingsError

from .migrate import MigrationError, migrate

__all__ = ("Database", "database_path")

_logger = logging.getLogger("reference.database")

_CONNECTIONS = 5
"""Open connections, one thread each. SQLite has one writer, so more would only wait for each other."""

_PASSING = frozenset((SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL))
"""Failures that go away without a change to the service: another process writes, or the disk is full."""

_BEGIN = "sqlite_begin"


def database_path(url: str) -> Path:
    """Return the file that a database URL names.

    Raises:
        SettingsError: it is not ``sqlite:///path/to/file.db``. The message names the scheme, never the URL: a
            URL may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused("this is not a URL") from None
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise _refused(f"this service does not speak {parsed.drivername!r}")
    if parsed.database in (None, "", ":memory:"):
        raise _refused("a database in memory ends with the connection")
    return Path(str(parsed.database))


def _refused(why: str) -> SettingsError:
    return SettingsError([Problem("DATABASE_URL", f"{why}; write sqlite:///path/to/file.db")])


class Database:
    """The pool of connections to one SQLite file.

    ``synchronous=FULL``: COMMIT returns after the write-ahead log is on the disk. With NORMAL an acknowledged
    write survives ``kill -9`` but not a loss of power (https://sqlite.org/pragma.html#pragma_synchronous).

    Parameters:
        path: the database file.
        wait: seconds that a request waits for a connection or for its turn to write before it is refused.
    """

    name = "database"

    def __init__(self, path: Path, wait: float = 5.0) -> None:
        self.path = path
        self._wait = wait
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=wait,
            connect_args={"timeout": wait},
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        self._engine: AsyncEngine = engine
        self._pool = SqlAlchemyPool(engine)
        # IMMEDIATE: a deferred transaction that reads first and then writes fails at once when another has
        # written in between, whatever the busy timeout. A single read needs no transaction of its own.
        self._writer = engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Bring the file to this release's schema and open the first connection.

        Raises:
            MigrationError: see :func:`reference.migrate.migrate`.
        """
        try:
            await asyncio.to_thread(migrate, self.path)
            await self.ping()
        except MigrationError as error:
            _logger.critical("%s", error)
            raise
        except BaseException:
            await self.stop()
            raise

    async def ping(self) -> None:
        """Read through a connection of the pool itself.

        Raises:
            UnavailableError: no connection was free in time, or the file is locked.
        """
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def stop(self) -> None:
        """Close every connection and end its thread."""
        await self._pool.stop()

    def stats(self) -> PoolStats | None:
        """Return how many connections are open and in use, for the metrics."""
        return self._pool.stats()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection for reading; each statement sees the newest committed state.

        Raises:
            UnavailableError: no connection was free in time, or the file is locked.
        """
        with _refusals():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection inside a unit of work: COMMIT has returned when the block is left.

        The block is rolled back when it raises, and when COMMIT fails that is what is raised: nobody is told
        of a success that did not happen.

        Raises:
            UnavailableError: the turn to write did not come in time, the file is locked, the disk is full.
        """
        with _refusals():
            # Writers of this process queue here, in order; SQLite's own wait, which other processes' writers
            # go through, polls.
            async with asyncio.timeout(self._wait):
                await self._turn.acquire()
            try:
                async with self._writer.begin() as connection:
                    yield connection
            finally:
                self._turn.release()


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except (PoolTimeoutError, TimeoutError) as error:
        raise UnavailableError("The database is busy") from error
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise UnavailableError("The database is busy") from error
        raise


def _prepare(connection: Any, _record: Any) -> None:
    # None: sqlite3 begins no transaction by itself. Its own mode begins one before a write only, so that what
    # was read before belongs to no transaction, and updates get lost without an error.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN)
    if begin is not None:
        connection.exec_driver_sql(begin)
