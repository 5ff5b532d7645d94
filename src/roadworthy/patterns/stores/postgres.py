"""PostgreSQL by asyncpg: one pool, whose connections refuse to write until a unit of work begins on one."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import BigInteger, ExceptionContext, Table, event, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ...errors import OutcomeUnknownError
from .._to_the_end import to_the_end
from . import Isolation, Rules, TransactionError, postgres_errors
from .backend import OVER
from .driver.asyncpg import AsyncpgDriver
from .pool import Lease, MustWaitError, Pool
from .postgres_start import Capacity, ParsedUrl, check, connected

try:
    import asyncpg  # pyright: ignore[reportMissingTypeStubs]
except ImportError:
    raise ModuleNotFoundError('PostgreSQL needs asyncpg: pip install "roadworthy[postgres]"') from None

__all__ = ("PostgresBackend",)

_driver: Any = asyncpg  # it has no types

_ENDING = 5.0
"""Seconds for the answer to COMMIT or ROLLBACK. A server that works answers in milliseconds; one that does
not must not hold a request, and a place in the pool, for longer than others wait for the place."""


_LONGEST_SILENCE = 120
"""Seconds, however long requests may wait for the server."""


class PostgresBackend:
    """One PostgreSQL database.

    A session's default is READ ONLY, and a transaction may be begun READ WRITE in it
    (https://www.postgresql.org/docs/current/sql-set-transaction.html). So readers and units of work share one
    pool, what is read outside a unit needs no BEGIN, and a write there is refused by the server.

    PgBouncer in transaction mode gives each transaction another connection of the server. There nothing is
    said of a session: statements have no names, what is read outside a unit stands between BEGIN and COMMIT
    too, and each transaction sets its timeouts (https://www.pgbouncer.org/features.html).

    Parameters:
        url: as libpq takes it.
        capacity: connections of this process and of all.
        wait: seconds to wait for a connection of the pool, and for a new one to open.
        timeout: seconds for a statement, and for a transaction to idle.
        longest: seconds that a connection may be held without a record of it.
    """

    def __init__(
        self, url: ParsedUrl, capacity: Capacity, wait: float, timeout: float, longest: float
    ) -> None:
        milliseconds = f"{max(1, round(timeout * 1000))}"
        limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
        self._url = url
        self._capacity = capacity
        self._wait = wait
        self._preferred = 0  # number of a host
        self._settings = {"application_name": f"roadworthy worker {os.getpid()}"}
        more = ""
        if url.pgbouncer:
            more = "".join(f"; SET LOCAL {name} = {value}" for name, value in limits.items())
        else:
            self._settings |= {"default_transaction_read_only": "on", **limits}
        self._settings = {name: value for name, value in self._settings.items() if name not in url.given}
        self._begins = {
            (level, read_only): _begin(level, read_only) + more
            for level in _LEVELS
            for read_only in (False, True)
        }
        self._outside = f"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY{more}" if url.pgbouncer else None
        direct = _Direct()
        engine = _engine(self._open, direct, capacity.size, url.pgbouncer)
        self._pool = Pool(engine, capacity.size, wait, longest, direct)
        self.pools = (self._pool,)
        self.driver = AsyncpgDriver(engine.dialect, self.lend, self.end)

    async def prepare(self) -> None:
        """Connect, and check the server's version and its room for all workers."""
        driver = await connected(self._connect, self._wait)
        try:
            await check(driver, None if self._url.pgbouncer else self._capacity)
        finally:
            await driver.close(timeout=self._wait)

    async def open(self) -> None:
        """Connect, so that what is wrong with the URL is reported in words."""
        driver = await connected(self._connect, self._wait)
        await driver.close(timeout=self._wait)

    async def lend(self) -> Lease:
        """Lend a connection in autocommit whose default is READ ONLY."""
        if self._outside is None:
            return await self._pool.take()
        return await self._begin(self._outside)

    async def end(self, lease: Lease) -> None:
        """Take it back."""
        try:
            if self._outside is not None:
                await self.rollback(lease)
        finally:
            await lease.give_back()

    async def begin(self, rules: Rules) -> Lease:
        """Begin; on another connection where the first turns out to be broken, for nothing is done yet."""
        begin = self._begins[rules.isolation, rules.read_only]
        try:
            return await self._begin(begin)
        except Exception as error:
            if not postgres_errors.is_lost(error):
                raise
        return await self._begin(begin)

    async def commit(self, lease: Lease) -> None:
        """Commit, and report what PostgreSQL makes of COMMIT after a statement that failed: ROLLBACK."""
        try:
            answer = await lease.driver.execute("COMMIT", timeout=_ENDING)
        except Exception as error:
            postgres_errors.without_values(error)
            if postgres_errors.is_refused_commit(error):
                raise
            await lease.discard()
            raise OutcomeUnknownError from error
        if answer != "COMMIT":
            raise TransactionError(OVER)

    async def rollback(self, lease: Lease) -> None:
        """Undo everything; a connection that does not answer is closed, and the server undoes the rest."""
        driver = lease.driver
        if driver is None or driver.is_closed() or not driver.is_in_transaction():
            return
        try:
            await driver.execute("ROLLBACK", timeout=_ENDING)
        except BaseException:
            await lease.discard()
            raise

    async def lock(self, connection: AsyncConnection, name: str) -> bool:
        """Take an advisory lock, which has a number of 64 bits."""
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        asked = select(func.pg_try_advisory_xact_lock(literal(number, BigInteger)))
        return bool((await connection.execute(asked)).scalar_one())

    def is_passing(self, error: Exception) -> bool:
        """Return whether another transaction was in the way, or the connection broke before COMMIT."""
        return postgres_errors.is_passing(error)

    def refusal(self, error: Exception) -> Exception | None:
        """Return 503, 504 or 409; see :mod:`roadworthy.patterns.stores.postgres_errors`."""
        return postgres_errors.refusal_of(error)

    def is_read_only(self, error: Exception) -> bool:
        """Return whether a write was refused because the transaction must not write."""
        return postgres_errors.is_read_only(error)

    def is_over(self, error: Exception) -> bool:
        """Return whether the transaction has failed before."""
        return postgres_errors.is_over(error)

    def unique_columns(self, error: Exception, table: Table) -> tuple[str, ...]:
        """Read the columns from the error's fields."""
        return postgres_errors.unique_columns(error, table)

    async def missing_parent(
        self, error: Exception, table: Table, values: Mapping[str, Any], connection: AsyncConnection
    ) -> str | None:
        """Read the column from the error's fields; no question is possible after an error."""
        return postgres_errors.missing_parent(error, table)

    def is_referred_to(self, error: Exception) -> bool:
        """Return whether a foreign key keeps the row."""
        return postgres_errors.is_referred_to(error)

    async def _begin(self, begin: str) -> Lease:
        lease = await self._pool.take()
        try:
            await lease.driver.execute(begin)
        except BaseException:
            # Cancelled or broken in the middle of it: nobody knows whether it has begun.
            await lease.discard()
            await lease.give_back()
            raise
        lease.begun = True
        return lease

    async def _connect(self) -> Any:
        """Connect to the first host that will have us, beginning with the one that had us last.

        Each has its share of the time. One that has lost its power refuses nothing, and asyncpg alone would
        wait for it until there is no time left for the others.
        """
        count = len(self._url.texts)
        for attempt in range(count):
            number = (self._preferred + attempt) % count
            try:
                driver = await self._connect_to(self._url.texts[number], self._wait / count)
            except Exception as error:
                away = isinstance(error, OSError) or postgres_errors.is_lost(error)
                if not away or attempt == count - 1:
                    raise
            else:
                self._preferred = number
                return driver
        raise AssertionError("a URL has at least one host")

    async def _connect_to(self, url: str, wait: float) -> Any:
        opened: list[Any] = []

        async def connect() -> None:
            size = 0 if self._url.pgbouncer else 100
            opened.append(
                await _driver.connect(
                    url, timeout=wait, server_settings=self._settings, statement_cache_size=size
                )
            )

        try:
            # Cancelled half-way, asyncpg leaves a future behind whose exception nobody takes.
            await to_the_end(connect())
            _notice_silence(opened[0], self._wait)
        except BaseException:
            for driver in opened:
                driver.terminate()
            raise
        return opened[0]

    async def _open(self) -> Any:
        driver = await self._connect()
        if self._url.pgbouncer:
            # Until SQLAlchemy has asked what it wants to know of a new connection; _engine ends it.
            await driver.execute("BEGIN READ ONLY")
        return driver


def _begin(isolation: Isolation | None, read_only: bool) -> str:
    level: Isolation = isolation or "read committed"
    if read_only and level == "read committed":
        level = "repeatable read"  # all of it sees one state
    return f"BEGIN ISOLATION LEVEL {level.upper()} READ {'ONLY' if read_only else 'WRITE'}"


_LEVELS: tuple[Isolation | None, ...] = (None, "read committed", "repeatable read", "serializable")


def _notice_silence(driver: Any, seconds: float) -> None:
    """Have TCP give up a server that is not there any more, as libpq's ``tcp_user_timeout`` does.

    One that has lost its power says nothing, and by default TCP waits for a quarter of an hour with something
    unanswered, and for two hours without (tcp(7)).
    """
    transport = getattr(driver, "_transport", None)
    line = transport.get_extra_info("socket") if transport is not None else None
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    idle = min(max(1, round(seconds)), _LONGEST_SILENCE)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", idle),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", idle),  # Linux takes 127 at most
        ("TCP_USER_TIMEOUT", 1000 * idle),
    ):
        if hasattr(socket, name):  # these are Linux's
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _Direct:
    """asyncpg knows of a closed connection when the socket does, and of a transaction by every answer."""

    is_quiet = True

    def __init__(self) -> None:
        self.at_once = False

    def is_open(self, driver: Any) -> bool:
        return not driver.is_closed()

    def is_clean(self, driver: Any) -> bool:
        return driver.is_closed() or not driver.is_in_transaction()

    def abort(self, driver: Any) -> None:
        driver.terminate()

    async def aborted(self) -> None:
        """Return: the socket is closed at once."""


def _engine(
    connect: Callable[[], Awaitable[Any]], direct: _Direct, size: int, pgbouncer: bool
) -> AsyncEngine:
    def creator() -> Any:
        if direct.at_once:
            raise MustWaitError
        dbapi: Any = engine.dialect.dbapi
        if not pgbouncer:
            return dbapi.connect(async_creator_fn=connect)
        return dbapi.connect(
            async_creator_fn=connect,
            prepared_statement_cache_size=0,
            prepared_statement_name_func=lambda: "",
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        creator=creator,
        isolation_level="AUTOCOMMIT",  # transactions are begun and ended here, without SQLAlchemy
        pool_size=size,
        max_overflow=-1,  # the gate before it bounds them
        pool_reset_on_return=None,
        hide_parameters=True,  # what clients sent belongs into no record of a failure
    )
    event.listen(engine.sync_engine, "handle_error", _without_values)
    if pgbouncer:
        event.listen(engine.sync_engine, "connect", _end_first_transaction)
    return engine


def _without_values(context: ExceptionContext) -> None:
    original = context.original_exception
    postgres_errors.without_values(original.__cause__, original, context.sqlalchemy_exception)


def _end_first_transaction(connection: Any, _record: Any) -> None:
    async def end(driver: Any) -> None:
        await driver.execute("ROLLBACK")

    connection.run_async(end)
