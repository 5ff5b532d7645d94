"""A database that units of work, sessions and plain connections share."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, AsyncTransaction

from ...errors import ConflictError, UnavailableError
from ...layer.resources import PoolStats, SqlAlchemyPool
from .._to_the_end import to_the_end
from ..transactions import current_unit
from . import Rules, Savepoint, TransactionError
from .backend import Backend
from .sqlite import SqliteBackend
from .strangers import OWN

__all__ = ("Database", "DatabaseTransaction")

_logger = logging.getLogger("roadworthy.database")


class Database:
    """The connections to one database, for ``resources=[…]`` of :func:`roadworthy.roadworthy`.

    Inside a unit of work :meth:`connection` and :meth:`session` give the unit's own connection, so everything
    that uses them takes part in one transaction. Outside, they lend one that refuses to write: a write that
    belongs to no unit would be permanent on its own, or never (litestar-org/litestar#2569).

    SQLite: write-ahead log, ``synchronous=FULL``, foreign keys, ``BEGIN IMMEDIATE`` for units that may write.

    Parameters:
        url: ``sqlite:///path/to/file.db``.
        wait: seconds that a request waits for a connection or for its turn to write before it is refused.
        readers: most connections that read at the same time, besides the one of SQLite that writes. Each is a
            thread.
        name: for records, metrics and health.

    Raises:
        ValueError: the URL is invalid, or names an unknown kind of database. The message does not
            repeat it.
    """

    def __init__(self, url: str, *, wait: float = 5.0, readers: int = 4, name: str = "database") -> None:
        self.name = name
        self._backend = _backend_for(url, wait, readers)
        self._pools = tuple(
            SqlAlchemyPool(engine, name) for engine in (self._backend.reader, self._backend.writer)
        )

    @property
    def backend(self) -> Backend:
        """What is particular to this kind of database; for repositories."""
        return self._backend

    async def start(self) -> None:
        """Open the first connection.

        Raises:
            UnavailableError: the file is locked.
        """
        try:
            with self._reporting_busy():
                await self._backend.prepare()
            await self.ping()
        except BaseException:
            await self.stop()
            raise

    async def ping(self) -> None:
        """Read through a connection of the pool itself.

        Raises:
            UnavailableError: no connection was free in time, or the file is locked.
        """
        with self._reporting_busy():
            await self._pools[0].ping()

    async def stop(self) -> None:
        """Close every connection."""
        for pool in self._pools:
            await pool.stop()

    def stats(self) -> PoolStats | None:
        """Return how many connections are open and in use, for the metrics."""
        known = [stats for pool in self._pools if (stats := pool.stats()) is not None]
        return PoolStats(
            size=sum(one.size for one in known),
            in_use=sum(one.in_use for one in known),
            max=sum(one.max or 0 for one in known),
        )

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection: the unit's own inside a unit of work, else one for reading.

        Tasks of one unit take turns. Outside a unit each statement sees the newest committed state. The
        driver's own connection is ``(await connection.get_raw_connection()).driver_connection``; what it does
        takes part too.

        Raises:
            UnavailableError: no connection was free in time, or the file is locked.
            TransactionError: a write outside a unit of work, or in one that is ``read_only``.
        """
        unit = current_unit()
        if unit is None:
            with self._reporting_busy(), self._no_writes("put @transactional on the method that does it"):
                async with self._backend.reader.connect() as connection:
                    yield connection
            return
        with self._no_writes("this unit of work is read_only"):
            async with unit.use(self) as transaction:
                yield transaction.connection

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncSession]:
        """Lend an ORM session on the connection of :meth:`connection`; a unit of work has one.

        What was changed is flushed when the block is left. Its ``commit()`` does not commit: the unit does.
        After its ``rollback()`` the unit can only be rolled back.

        Raises:
            UnavailableError: no connection was free in time, or the file is locked.
            TransactionError: a write outside a unit of work, or in one that is ``read_only``.
        """
        unit = current_unit()
        if unit is None:
            async with self.connection() as connection, _session(connection) as session:
                yield session
                await session.flush()
            return
        with self._no_writes("this unit of work is read_only"):
            async with unit.use(self) as transaction:
                if transaction.session is None:
                    transaction.session = _session(transaction.connection)
                yield transaction.session
                await transaction.session.flush()

    async def begin(self, rules: Rules) -> DatabaseTransaction:
        """Begin a transaction; units of work do (:class:`roadworthy.patterns.stores.Store`)."""
        engine = self._backend.reading if rules.read_only else self._backend.writer
        connection = await engine.connect()
        try:
            transaction = await connection.begin()
        except BaseException:
            await to_the_end(connection.close())
            raise
        return DatabaseTransaction(connection, transaction)

    def is_passing(self, error: Exception) -> bool:
        """Return whether a unit of work may succeed if it begins again."""
        return self._backend.is_passing(error)

    def translate(self, error: Exception) -> Exception | None:
        """Return the 503 of a busy or full database, the 409 of a constraint that COMMIT found broken."""
        if self._backend.is_unavailable(error):
            return UnavailableError("The database is busy")
        if self._backend.is_conflict(error):
            return ConflictError()
        return None

    @contextmanager
    def _reporting_busy(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            if not self._backend.is_unavailable(error):
                raise
            raise UnavailableError("The database is busy") from error

    @contextmanager
    def _no_writes(self, advice: str) -> Generator[None]:
        try:
            yield
        except Exception as error:
            if not self._backend.is_read_only(error):
                raise
            raise TransactionError(f"a write was refused: {advice}") from error


class DatabaseTransaction:
    """One transaction: its connection, and the session that it may have."""

    def __init__(self, connection: AsyncConnection, transaction: AsyncTransaction) -> None:
        self.connection = connection
        self.session: AsyncSession | None = None
        self._transaction = transaction

    async def commit(self) -> None:
        """Flush the session and commit; when it raises, everything is undone."""
        try:
            if self.session is not None:
                await self.session.commit()
            if not self._transaction.is_active:
                raise TransactionError("the session rolled this unit of work back; it cannot be committed")
            await self._transaction.commit()
        except BaseException:
            await self._undo()
            raise
        finally:
            await self._close()

    async def rollback(self) -> None:
        """Undo everything."""
        try:
            await self._undo()
        finally:
            await self._close()

    async def savepoint(self) -> Savepoint:
        """Set a point to go back to."""
        return _NestedSavepoint(self, await self.connection.begin_nested())

    async def _undo(self) -> None:
        try:
            await self._transaction.rollback()
            if not self.connection.invalidated:
                # SQLAlchemy takes a COMMIT that failed for the end, where SQLite keeps the transaction open.
                await self.connection.run_sync(lambda connection: connection.connection.rollback())
        except Exception as error:  # a connection that broke is replaced, and the database undoes the rest
            _logger.warning("a connection failed while it was rolled back: %s", type(error).__name__)
            await self.connection.invalidate()

    async def _close(self) -> None:
        if self.session is not None:
            await self.session.close()
        await self.connection.close()


class _NestedSavepoint:
    def __init__(self, transaction: DatabaseTransaction, nested: AsyncTransaction) -> None:
        self._transaction = transaction
        self._nested = nested

    async def release(self) -> None:
        if self._transaction.session is not None:
            await self._transaction.session.flush()
        await self._nested.commit()

    async def rollback(self) -> None:
        if self._transaction.session is not None:
            # What the session holds may be undone; it is read again.
            self._transaction.session.expunge_all()
        await self._nested.rollback()


def _session(connection: AsyncConnection) -> AsyncSession:
    return AsyncSession(
        connection,
        expire_on_commit=False,
        autoflush=True,
        join_transaction_mode="rollback_only",
        info={OWN: True},
    )


def _backend_for(url: str, wait: float, readers: int) -> Backend:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("this is not the URL of a database; write sqlite:///path/to/file.db") from None
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise ValueError(f"{parsed.drivername!r} is not spoken here; write sqlite:///path/to/file.db")
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("a database in memory ends with its connection; write sqlite:///path/to/file.db")
    return SqliteBackend(str(Path(str(parsed.database))), wait, readers)
