"""One PostgreSQL server, which may have several hosts: connecting to it, and a pool of connections."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from .._to_the_end import to_the_end
from . import Isolation, Rules, postgres_errors
from .pool import Lease, MustWaitError, Pool
from .postgres_start import Capacity, ParsedUrl, check, connected

try:
    import asyncpg  # pyright: ignore[reportMissingTypeStubs]
except ImportError:
    raise ModuleNotFoundError('PostgreSQL needs asyncpg: pip install "roadworthy[postgres]"') from None

__all__ = ("ENDING", "Server", "rolled_back")

_driver: Any = asyncpg  # it has no types

ENDING = 5.0
"""Seconds for the answer to COMMIT or ROLLBACK. A server that works answers in milliseconds; one that does
not must not hold a request, and a place in the pool, for longer than others wait for the place."""

_ANSWER = 1.0
"""Seconds for the answer to a question about the server itself, which takes it no time."""

_POSITION = """
SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)
    - '0/0'::pg_lsn
"""
"""Where the log is inserted, not written, to: with ``synchronous_commit = off`` the latter is behind."""
_SYSTEM = "SELECT system_identifier FROM pg_control_system()"

_LONGEST_SILENCE = 120
"""Seconds, however long requests may wait for the server."""

_LEVELS: tuple[Isolation | None, ...] = (None, "read committed", "repeatable read", "serializable")


class Server:
    """The connections to one server.

    A session's default is READ ONLY, and a transaction may be begun READ WRITE in it
    (https://www.postgresql.org/docs/current/sql-set-transaction.html). So readers and units of work share one
    pool, what is read outside a unit needs no BEGIN, and a write there is refused by the server.

    PgBouncer in transaction mode gives each transaction another connection of the server. There nothing is
    said of a session: statements have no names, what is read outside a unit stands between BEGIN and COMMIT
    too, and each transaction sets its timeouts (https://www.pgbouncer.org/features.html).

    Parameters:
        url: as libpq takes it.
        capacity: connections of this process and of all.
        wait: seconds to wait for a connection of the pool.
        patience: seconds for a new one to open.
        timeout: seconds for a statement, and for a transaction to idle.
        longest: seconds that a connection may be held without a record of it.
        setting: that names the URL, for messages.
    """

    def __init__(
        self,
        url: ParsedUrl,
        capacity: Capacity,
        *,
        wait: float,
        patience: float,
        timeout: float,
        longest: float,
        setting: str = "DATABASE_URL",
    ) -> None:
        milliseconds = f"{max(1, round(timeout * 1000))}"
        limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
        self._url = url
        self._capacity = capacity
        self._patience = patience
        self._setting = setting
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
        self.engine = _engine(self._open, direct, capacity.size, url.pgbouncer)
        self.pool = Pool(self.engine, capacity.size, wait, longest, direct)

    async def prepare(self) -> None:
        """Connect, and check the server's version and its room for all workers.

        Raises:
            SettingsError: the server refuses, is too old, or gives too few connections.
            UnavailableError: nobody answers.
        """
        driver = await connected(self.connect, self._patience, self._setting)
        try:
            await check(driver, None if self._url.pgbouncer else self._capacity, self._setting)
        finally:
            await driver.close(timeout=self._patience)

    async def open(self) -> None:
        """Connect, to have what is wrong with the URL reported in words; raises as :meth:`prepare` does."""
        driver = await connected(self.connect, self._patience, self._setting)
        await driver.close(timeout=self._patience)

    async def lend(self) -> Lease:
        """Lend a connection in autocommit whose default is READ ONLY."""
        if self._outside is None:
            return await self.pool.take()
        return await _begun(await self.pool.take(), self._outside)

    async def end(self, lease: Lease) -> None:
        """Take it back."""
        try:
            if self._outside is not None:
                await rolled_back(lease)
        finally:
            await lease.give_back()

    async def begin(self, rules: Rules) -> Lease:
        """Begin; on another connection where the first turns out to be broken, for nothing is done yet."""
        lease = await self.pool.take()
        lease.writes = not rules.read_only
        try:
            await lease.bare.execute(self._begins[rules.isolation, rules.read_only])
        except BaseException as error:
            await _given_up(lease)
            if not isinstance(error, Exception) or not postgres_errors.is_lost(error):
                raise
            return await self.begin_on(await self.pool.take(), rules)
        lease.begun = True
        return lease

    async def begin_on(self, lease: Lease, rules: Rules) -> Lease:
        """Begin on a connection of the pool, which is given back where that fails."""
        lease.writes = not rules.read_only
        return await _begun(lease, self._begins[rules.isolation, rules.read_only])

    async def position_of(self, driver: Any) -> int:
        """Return where the log stands: what a primary has written, and a standby has carried out.

        Parameters:
            driver: a connection that has no transaction.
        """
        return int(await self._asked(driver, _POSITION) or 0)

    async def system_of(self, driver: Any) -> int:
        """Return the number that a cluster and its standbys have in common."""
        return int(await self._asked(driver, _SYSTEM))

    async def connect(self) -> Any:
        """Connect to the first host that will have us, beginning with the one that had us last.

        Each has its share of the time. One that has lost its power refuses nothing, and asyncpg alone would
        wait for it until there is no time left for the others.
        """
        count = len(self._url.texts)
        for attempt in range(count):
            number = (self._preferred + attempt) % count
            try:
                driver = await self._connect_to(self._url.texts[number], self._patience / count)
            except Exception as error:
                away = isinstance(error, OSError) or postgres_errors.is_lost(error)
                if not away or attempt == count - 1:
                    raise
            else:
                self._preferred = number
                return driver
        raise AssertionError("a URL has at least one host")

    async def _asked(self, driver: Any, question: str) -> Any:
        if self._outside is None:
            return await driver.fetchval(question, timeout=_ANSWER)
        await driver.execute(self._outside, timeout=_ANSWER)
        answer = await driver.fetchval(question, timeout=_ANSWER)
        await driver.execute("ROLLBACK", timeout=_ANSWER)
        return answer

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
            _notice_silence(opened[0], self._patience)
        except BaseException:
            for driver in opened:
                driver.terminate()
            raise
        return opened[0]

    async def _open(self) -> Any:
        driver = await self.connect()
        if self._url.pgbouncer:
            # Until SQLAlchemy has asked what it wants to know of a new connection; _engine ends it.
            await driver.execute("BEGIN READ ONLY")
        return driver


async def _begun(lease: Lease, begin: str) -> Lease:
    try:
        await lease.driver.execute(begin)
    except BaseException:
        await _given_up(lease)
        raise
    lease.begun = True
    return lease


async def _given_up(lease: Lease) -> None:
    """Close a connection that was cancelled, or broke, in the middle of BEGIN: nobody knows its state."""
    await lease.discard()
    await lease.give_back()


async def rolled_back(lease: Lease) -> None:
    """Undo everything; a connection that does not answer is closed, and the server undoes the rest."""
    driver = lease.driver
    if driver is None or driver.is_closed() or not driver.is_in_transaction():
        return
    try:
        await driver.execute("ROLLBACK", timeout=ENDING)
    except BaseException:
        await lease.discard()
        raise


def _begin(isolation: Isolation | None, read_only: bool) -> str:
    level: Isolation = isolation or "read committed"
    if read_only and level == "read committed":
        level = "repeatable read"  # all of it sees one state
    return f"BEGIN ISOLATION LEVEL {level.upper()} READ {'ONLY' if read_only else 'WRITE'}"


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
