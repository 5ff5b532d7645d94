"""A database that units of work, sessions and plain connections share."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, AsyncTransaction

from ...errors import TimeoutError, UnavailableError
from ...layer.resources import PoolStats
from ...settings import Problem, Settings, SettingsError
from ..transactions import current_unit
from . import Rules, Savepoint, TransactionError
from .backend import OVER, Backend
from .driver import Driver
from .opening import Options, ReplicaError, backend_for
from .pool import Lease
from .strangers import OWN

__all__ = ("NO_UNIT", "Database", "DatabaseTransaction")

NO_UNIT = "a write was refused: put @transactional on the method that does it"
_READ_ONLY = "a write was refused: this unit of work is read_only"

_logger = logging.getLogger("roadworthy.database")

_PING = text("SELECT 1")


class Database:
    """The connections to one database, for ``resources=[…]`` of :func:`roadworthy.roadworthy`.

    Inside a unit of work :meth:`connection` and :meth:`session` give the unit's own connection, so everything
    that uses them takes part in one transaction. Outside, they lend one that refuses to write: a write that
    belongs to no unit would be permanent on its own, or never (litestar-org/litestar#2569).

    SQLite: write-ahead log, ``synchronous=FULL``, foreign keys, ``BEGIN IMMEDIATE`` for units that may write.
    PostgreSQL: READ COMMITTED where a unit asks for no other level; see docs/patterns.md.

    Parameters:
        url: ``sqlite:///path/to/file.db`` or ``postgresql://user:password@host/name``, with what libpq takes
            in it: several hosts, ``target_session_attrs``, ``sslmode``, the folder of a Unix socket as
            ``host``.
        wait: seconds that a request waits for a connection or for its turn to write before it is refused.
        readers: most connections that read at the same time, besides the one of SQLite that writes. Each is a
            thread.
        size: most connections to PostgreSQL of this process.
        timeout: seconds that PostgreSQL works on one statement, and that a unit of work may idle between two;
            give it the service's ``request_timeout``.
        workers: processes with such a pool.
        instances: machines or containers with so many workers. Where all of them together would want more
            connections than PostgreSQL gives, :meth:`prepare` warns or refuses.
        longest: seconds that a connection may be held without a record that says where it was taken. With 10,
            a third of the time that a request has by default.
        name: for records, metrics and health.
        replica_urls: of standbys of the PostgreSQL server, which then carry out the units of work that are
            ``read_only``, each with a pool of ``size``. A client reads what it has written.
        replica_lag: seconds that a replica may be behind for everybody else. Farther behind, it is not used.
        redis_url: of the Redis or Valkey server that remembers who has written up to where.

    Raises:
        ValueError: a URL is invalid, or names an unknown kind of database, or there are replicas and no
            Redis. The message does not repeat it.
    """

    def __init__(
        self,
        url: str,
        *,
        wait: float = 5.0,
        readers: int = 4,
        size: int = 10,
        timeout: float = 30.0,
        workers: int = 1,
        instances: int = 1,
        longest: float = 10.0,
        name: str = "database",
        replica_urls: Sequence[str] = (),
        replica_lag: float = 10.0,
        redis_url: str | None = None,
    ) -> None:
        self.name = name
        self.url = url
        """As it was given, with its password."""
        self._backend = backend_for(
            url,
            Options(
                wait=wait,
                readers=readers,
                size=size,
                timeout=timeout,
                workers=workers,
                instances=instances,
                longest=longest,
                name=name,
                replicas=replica_urls,
                lag=replica_lag,
                redis=redis_url,
            ),
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, name: str = "database") -> Self:
        """Return the database of ``database_url``, with the service's pool, deadlines and workers.

        Parameters:
            settings: of the service.
            name: for records, metrics and health.

        Raises:
            SettingsError: ``database_url`` is invalid, or its driver is not installed.
        """
        redis = settings.redis_url
        try:
            return cls(
                settings.database_url.get_secret_value(),
                wait=settings.pool_timeout,
                size=settings.pool_size,
                timeout=settings.request_timeout,
                workers=settings.workers,
                instances=settings.instances,
                name=name,
                replica_urls=[url.get_secret_value() for url in settings.database_replica_urls],
                replica_lag=settings.replica_lag,
                redis_url=None if redis is None else redis.get_secret_value(),
            )
        except ReplicaError as error:
            raise SettingsError([Problem("DATABASE_REPLICA_URLS", str(error))]) from None
        except (ValueError, ModuleNotFoundError) as error:
            raise SettingsError([Problem("DATABASE_URL", str(error))]) from None

    @property
    def backend(self) -> Backend:
        """What is particular to this kind of database; for repositories."""
        return self._backend

    async def prepare(self) -> None:
        """Check once per start of the service that the database can be used as it is set up.

        Raises:
            SettingsError: it cannot: the server refuses, is too old, or gives too few connections.
            UnavailableError: nobody answers.
        """
        await self._backend.prepare()

    async def start(self) -> None:
        """Open the first connection.

        Raises:
            SettingsError: the server refuses it.
            UnavailableError: the file is locked, or nobody answers.
        """
        try:
            with self._reporting_busy():
                await self._backend.open()
            await self.ping()
        except BaseException:
            await self.stop()
            raise

    async def ping(self) -> None:
        """Read through a connection of the pool itself, and log the connections that are held for too long.

        Raises:
            UnavailableError: no connection was free in time, or the file is locked.
        """
        for pool in self._backend.pools:
            pool.report_held()
        with self._reporting_busy():
            lease = await self._backend.lend()
            try:
                await lease.connection.execute(_PING)
            finally:
                await self._backend.end(lease)

    async def stop(self) -> None:
        """Close every connection."""
        await self._backend.stop()

    def stats(self) -> PoolStats | None:
        """Return how many connections are open and in use, for the metrics."""
        known = [pool.stats() for pool in self._backend.pools]
        return PoolStats(
            size=sum(one.size for one in known),
            in_use=sum(one.in_use for one in known),
            waiting=sum(one.waiting or 0 for one in known),
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
            with self._reporting_busy(), self._no_misuse(NO_UNIT):
                lease = await self._backend.lend()
                try:
                    yield lease.connection
                finally:
                    await self._backend.end(lease)
            return
        with self._no_misuse(_READ_ONLY):
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
        with self._no_misuse(_READ_ONLY):
            async with unit.use(self) as transaction:
                if transaction.session is None:
                    transaction.session = _session(transaction.connection)
                yield transaction.session
                await transaction.session.flush()

    @property
    def driver(self) -> Driver:
        """Runs statements without SQLAlchemy's connections."""
        return self._backend.driver

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[Any]:
        """Lend the driver's own connection of what :meth:`connection` gives; raises as that does."""
        unit = current_unit()
        if unit is None:
            lease = await self._backend.lend()
            try:
                yield lease.driver
            finally:
                await self._backend.end(lease)
            return
        async with unit.use(self) as transaction:
            if transaction.session is not None:
                await transaction.session.flush()
            yield transaction.lease.driver

    def report(self, error: Exception) -> None:
        """Raise what a service gets in place of an error of the driver; return where it gets that itself.

        That the database is busy is left to a unit of work, which may begin again.
        """
        inside = current_unit() is not None
        if not inside:
            self._report_busy(error)
        self._report_misuse(error, _READ_ONLY if inside else NO_UNIT)

    async def begin(self, rules: Rules) -> DatabaseTransaction:
        """Begin a transaction; units of work do (:class:`roadworthy.patterns.stores.Store`)."""
        lease = await self._backend.begin(rules)
        lease.place = rules.place
        return DatabaseTransaction(self._backend, lease)

    def is_passing(self, error: Exception) -> bool:
        """Return whether a unit of work may succeed if it begins again."""
        return self._backend.is_passing(error)

    def translate(self, error: Exception) -> Exception | None:
        """Return the 503 of a busy or full database, the 409 of a constraint that COMMIT found broken."""
        return self._backend.refusal(error)

    @contextmanager
    def _reporting_busy(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            self._report_busy(error)
            raise

    def _report_busy(self, error: Exception) -> None:
        refusal = self._backend.refusal(error)
        if isinstance(refusal, (UnavailableError, TimeoutError)):
            raise refusal from error

    @contextmanager
    def _no_misuse(self, message: str) -> Generator[None]:
        try:
            yield
        except Exception as error:
            self._report_misuse(error, message)
            raise

    def _report_misuse(self, error: Exception, message: str) -> None:
        if self._backend.is_read_only(error):
            raise TransactionError(message) from error
        if self._backend.is_over(error):
            raise TransactionError(OVER) from error


class DatabaseTransaction:
    """One transaction: its connection, and the session that it may have."""

    def __init__(self, backend: Backend, lease: Lease) -> None:
        self.lease = lease
        """What it holds."""
        self.session: AsyncSession | None = None
        self._backend = backend

    @property
    def connection(self) -> AsyncConnection:
        """SQLAlchemy's connection."""
        return self.lease.connection

    @property
    def ends_by_itself(self) -> bool:
        """Whether only the driver, which bounds it by itself, takes part in the end."""
        return self.session is None and not self.lease.is_shared

    async def commit(self) -> None:
        """Flush the session and commit; when it raises, everything is undone.

        Raises:
            OutcomeUnknownError: the connection broke at COMMIT, which may have been carried out.
        """
        try:
            if self.session is not None:
                await self.session.commit()
            if not self.lease.is_whole:
                raise TransactionError("the session rolled this unit of work back; it cannot be committed")
            await self._backend.commit(self.lease)
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
            await self._backend.rollback(self.lease)
        except Exception as error:  # a connection that broke is replaced, and the database undoes the rest
            _logger.warning("a connection failed while it was rolled back: %s", type(error).__name__)
            await self.lease.discard()

    async def _close(self) -> None:
        if self.session is not None:
            await self.session.close()
        await self.lease.give_back()


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
