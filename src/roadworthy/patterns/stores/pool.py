"""The connections of one engine, lent in the order in which they are asked for.

SQLAlchemy's pool keeps them; the gate before it bounds how many are out. So the pool itself never waits, and
a connection that is free is taken without a switch to the greenlet in which SQLAlchemy waits.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from math import inf
from time import perf_counter
from types import CodeType, FrameType
from typing import Any, Protocol

from sqlalchemy import Connection, Transaction
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from ...errors import UnavailableError
from ...layer.resources import PoolStats
from .._to_the_end import to_the_end
from .gate import Gate

_logger = logging.getLogger("roadworthy.database")

_BETWEEN = ("roadworthy.patterns.", "contextlib", "sqlalchemy.")
"""Modules between a pool and the code that wants a connection."""

_known_between: set[str] = set()

_NO_OPTIONS: Mapping[str, Any] = {}

__all__ = ("Direct", "Lease", "MustWaitError", "Pool")


class MustWaitError(Exception):
    """Raised in place of connecting, which takes a wait, where there is to be none."""


class Direct(Protocol):
    """What a driver does without a wait, where it can."""

    at_once: bool
    """Connecting is to raise :class:`MustWaitError`."""

    @property
    def is_quiet(self) -> bool:
        """Whether SQLAlchemy's connection is closed without a wait, too."""
        ...

    def is_open(self, driver: Any) -> bool:
        """Return whether the other side has not closed the connection."""
        ...

    def is_clean(self, driver: Any) -> bool:
        """Return whether the connection has no transaction."""
        ...

    def abort(self, driver: Any) -> None:
        """Close the connection now."""
        ...

    async def aborted(self) -> None:
        """Wait until what was closed so is gone."""
        ...


class Lease:
    """A connection that was taken from a :class:`Pool`, and goes back there."""

    __slots__ = (
        "_connection",
        "_fairy",
        "_pool",
        "_since",
        "_transaction",
        "bare",
        "begun",
        "options",
        "place",
        "writes",
    )

    def __init__(self, pool: Pool, fairy: PoolProxiedConnection, bare: Any) -> None:
        self._since = perf_counter()
        self.place: tuple[CodeType, int] | None = None
        """The code that records name; the first that asks for the connection where nothing is set."""
        self._pool = pool
        self._fairy = fairy
        self.bare = bare
        """The driver's own connection, for what gives it back before other code of the service runs."""
        self._connection: AsyncConnection | None = None
        self._transaction: Transaction | None = None
        self.options: Mapping[str, Any] = _NO_OPTIONS
        """Execution options of :attr:`connection`."""
        self.begun = False
        """Whether the driver has begun a transaction that SQLAlchemy is to take for its own."""
        self.writes = False
        """Whether that transaction may write."""

    @property
    def driver(self) -> Any:
        """The driver's own connection; None when it was thrown away. Who asks first is named in records."""
        if self.place is None:
            self.place = _place()
        return self.bare if self._fairy.is_valid else None

    @property
    def connection(self) -> AsyncConnection:
        """SQLAlchemy's connection, made when it is first asked for."""
        if self._connection is None:
            if self.place is None:
                self.place = _place()
            engine = self._pool.engine
            inner = Connection(engine.sync_engine, self._fairy)
            if self.options:
                inner.execution_options(**self.options)
            if self.begun:
                self._transaction = inner.begin()
            self._connection = AsyncConnection(engine, inner)
        return self._connection

    @property
    def is_shared(self) -> bool:
        """Whether SQLAlchemy has the connection, too."""
        return self._connection is not None

    @property
    def is_whole(self) -> bool:
        """Whether nobody has ended its transaction through SQLAlchemy."""
        return self._transaction is None or self._transaction.is_active

    def report(self, longest: float) -> None:
        """Log it, once, where it has been held for more than ``longest`` seconds, with who took it.

        One that is lent for a single statement is reported when it comes back: until then nobody asked for
        the place, which costs as much as the rest of lending.
        """
        held = perf_counter() - self._since
        if held > longest and self.place is not None:
            code, line = self.place
            self._since = inf
            _logger.warning(
                "a connection to the database has been held for %.1f s; it was taken in %s",
                held,
                code.co_qualname,
                extra={"taken_in": f"{code.co_filename}:{line}"},
            )

    async def begin(self) -> None:
        """Begin a transaction through SQLAlchemy."""
        self._transaction = (await self.connection.begin()).sync_transaction

    async def discard(self) -> None:
        """Close the connection; it is still to be given back."""
        direct = self._pool.direct
        if direct is None:
            await self.connection.invalidate()
        elif self._fairy.is_valid:
            direct.abort(self.bare)

    async def give_back(self) -> None:
        """Let the next one have it, also when cancelled."""
        pool = self._pool
        direct = pool.direct
        if perf_counter() - self._since > pool.longest:
            self.place = self.place or _place()
            self.report(pool.longest)
        try:
            if direct is None:
                await to_the_end(self.connection.close())
                return
            if self._fairy.is_valid and not direct.is_clean(self.bare):
                direct.abort(self.bare)
            if self._connection is None:
                pool.keep(self._fairy, self.bare)
            elif not direct.is_quiet:
                await to_the_end(self._connection.close())
            elif self._connection.sync_connection is not None:
                self._connection.sync_connection.close()
        finally:
            pool.returned(self)


class Pool:
    """The connections of one engine.

    Parameters:
        engine: its pool has no limit of its own (``max_overflow=-1``): a pool that waits would want a
            greenlet for it.
        size: most connections at a time.
        wait: seconds that a task waits for one.
        longest: seconds that one may be held without a record of it.
        direct: of a driver whose connections are taken and given back without a wait.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        size: int,
        wait: float,
        longest: float,
        direct: Direct | None = None,
    ) -> None:
        self.engine = engine
        self.longest = longest
        self._gate = Gate(size, wait)
        self._lent: set[Lease] = set()
        self.direct = direct
        self._idle: list[tuple[PoolProxiedConnection, Any]] = []
        self._size = size
        self.besides: Callable[[], PoolStats] | None = None
        """Counts connections that belong to the pool for who looks at it, and that it does not lend."""

    async def take(self) -> Lease:
        """Take a connection.

        Raises:
            UnavailableError: none was free in time.
        """
        if not self._gate.enter_now():
            try:
                await self._gate.enter()
            except TimeoutError:
                raise UnavailableError("No connection to the database became free in time") from None
        try:
            while True:
                if self._idle:
                    fairy, driver = self._idle.pop()
                else:
                    fairy = await self._checkout()
                    driver = fairy.driver_connection
                if self.direct is None or self.direct.is_open(driver):
                    lease = Lease(self, fairy, driver)
                    self._lent.add(lease)
                    return lease
                # Closed by the other side while it was idle, as all are when a server restarts.
                fairy.invalidate()
                fairy.close()
        except BaseException:
            self._gate.leave()
            raise

    def keep(self, fairy: PoolProxiedConnection, driver: Any) -> None:
        """Keep for the next one what nobody uses now and SQLAlchemy has made no connection of.

        Going back to SQLAlchemy's pool, and coming from there, costs half of what a read by a key does.
        """
        self._idle.append((fairy, driver))

    def returned(self, lease: Lease) -> None:
        """Let the next one in."""
        self._lent.discard(lease)
        self._gate.leave()

    def report_held(self) -> None:
        """Log the connections that have been held for too long and are still lent."""
        for lease in tuple(self._lent):
            lease.report(self.longest)

    async def stop(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop()[0].close()
        await self.engine.dispose()
        if self.direct is not None:
            await self.direct.aborted()

    def stats(self) -> PoolStats:
        """Return how many are open and lent."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool), "engines with a file or a server have one"
        used = pool.checkedout() - len(self._idle)
        own = PoolStats(pool.checkedout() + pool.checkedin(), used, self._gate.waiting, self._size)
        more = PoolStats(0, 0) if self.besides is None else self.besides()
        return PoolStats(
            own.size + more.size,
            own.in_use + more.in_use,
            self._gate.waiting + (more.waiting or 0),
            self._size + (more.max or 0),
        )

    async def _checkout(self) -> PoolProxiedConnection:
        pool, direct = self.engine.pool, self.direct
        if direct is not None and isinstance(pool, QueuePool) and pool.checkedin():
            direct.at_once = True
            try:
                return pool.connect()
            except MustWaitError:  # that one was thrown away, and another is to be opened in its place
                pass
            finally:
                direct.at_once = False
        return await self.engine.raw_connection()


def _place() -> tuple[CodeType, int] | None:
    """Return whose code asks for a connection, as cheaply as it can be kept."""
    frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module not in _known_between:
            if not module.startswith(_BETWEEN):
                return frame.f_code, frame.f_lineno
            _known_between.add(module)
        frame = frame.f_back
    return None
