"""Connection pooling: pools open before the first request, prove themselves, and close after the last one.

A pool that is exhausted answers 503 with ``Retry-After`` after ``pool_timeout`` (fastapi/fastapi#12066,
full-stack-fastapi-template#104): waiting longer only moves the queue to where nobody sees it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakSet

from ..errors import UnavailableError
from ..exits import is_apps_own
from ..settings import Settings, SettingsError
from .kinds import kinds_of
from .resources import PoolStats, Resource, Resources, Watch, WithMetrics, WithPrepare, WithStats, adapted

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ("Checks", "ConnectionPooling", "is_pool_timeout", "smallest_pool")

_Held = TypeVar("_Held")
_logger = logging.getLogger("roadworthy.pools")

_TIMEOUTS = frozenset(
    (
        ("sqlalchemy", "TimeoutError"),  # QueuePool limit of size … reached (sqlalche.me/e/20/3o7r)
        ("psycopg_pool", "PoolTimeout"),
        ("psycopg_pool", "TooManyRequests"),
        ("asyncpg", "TooManyConnectionsError"),  # SQLSTATE 53300: the server has no slot left
        ("psycopg", "TooManyConnections"),
        ("redis", "MaxConnectionsError"),
    )
)
"""Root package and class name: a driver that is not in use is not imported to be asked."""


class Checks(Protocol):
    """What takes the health checks of the resources."""

    def add(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        """Run ``check`` in the background; it raises when the resource does not work."""
        ...


@dataclass(slots=True)
class _Waits:
    """How long tasks waited for a connection of one pool."""

    acquired: int = 0
    timeouts: int = 0
    waiting: int = 0
    seconds: float = field(default=0.0)


class ConnectionPooling:
    """Opens resources in order, closes them in reverse, and bounds the wait for their connections.

    Parameters:
        settings: ``pool_timeout``, seconds to wait for a connection or for a resource to close.
        resources: in the order in which they open; see :mod:`roadworthy.layer.resources`.

    Raises:
        TypeError: one is no resource.
        ValueError: two resources have one name.
    """

    def __init__(self, settings: Settings, resources: Resources = ()) -> None:
        self._timeout = settings.pool_timeout
        self._resources = adapted(resources)
        self._open: dict[str, Resource] = {}
        self._watched = False
        self.prepared = False
        """Whether :meth:`prepare` was called, here or by the process that started this one."""
        self._waits = {name: _Waits() for name in self._resources}

    async def prepare(self) -> None:
        """Do what has to be done once before any worker serves; nothing the second time.

        Raises:
            SettingsError: a resource cannot work with its settings.
            RuntimeError: it failed for one resource; the message names the resource and the class of the
                error only.
        """
        if self.prepared:
            return
        for name, resource in self._resources.items():
            if isinstance(resource, WithPrepare):
                try:
                    await resource.prepare()
                except SettingsError:  # its text is made for people, without a value
                    raise
                except BaseException as error:
                    if not is_apps_own(error, asyncio.current_task()):
                        raise
                    raise RuntimeError(f"resource {name!r} could not be prepared: {_shown(error)}") from None
        self.prepared = True

    async def start(self, checks: Checks | None = None) -> None:
        """Prepare and open every resource and have each pinged through its own pool.

        Raises:
            SettingsError: a resource cannot work with its settings.
            RuntimeError: one did not open; those before it are closed again. It names the resource and the
                class of the error only, whose text may hold an address with a password.
        """
        await self.prepare()
        _started.add(self)
        for name, resource in self._resources.items():
            try:
                await resource.start()
            except BaseException as error:
                await self.stop()
                if isinstance(error, SettingsError) or not is_apps_own(error, asyncio.current_task()):
                    raise
                raise RuntimeError(f"resource {name!r} did not open: {_shown(error)}") from None
            self._open[name] = resource
        if checks is not None and not self._watched:
            self._watched = True
            for name, resource in self._resources.items():
                checks.add(name, resource.ping)

    async def stop(self) -> None:
        """Close what is open, the last first. One that fails or hangs does not keep the others open."""
        while self._open:
            name, resource = self._open.popitem()
            try:
                async with asyncio.timeout(self._timeout):
                    await resource.stop()
            except BaseException as error:
                if not is_apps_own(error, asyncio.current_task()):
                    raise
                _logger.warning("resource %s did not close: %s", name, type(error).__name__)

    def report_to(self, watch: Watch) -> None:
        """Put wait and use of every pool into the metrics; once, before the first request."""
        for pool, resource in self._resources.items():
            if isinstance(resource, WithMetrics):
                resource.report_to(watch)
                continue
            labels, waits = {"pool": pool}, self._waits[pool]
            for name, help_text, read in _counters(waits):
                watch(name, help_text, read, labels=labels)
            for name, help_text, read in _gauges(resource, waits):
                watch(name, help_text, read, kind="gauge", labels=labels)

    @asynccontextmanager
    async def bounded(
        self, acquire: AbstractAsyncContextManager[_Held], name: str, timeout: float | None = None
    ) -> AsyncGenerator[_Held, None]:
        """Hold a connection of a pool, waiting for it no longer than allowed, and count the wait.

        ``async with pooling.bounded(engine.connect(), "database") as connection: …``

        Parameters:
            acquire: what gives the connection, not entered yet.
            name: the resource.
            timeout: seconds to wait; ``pool_timeout`` when left out. The time it is held is not bounded.

        Raises:
            UnavailableError: no connection became free in time.
            KeyError: there is no resource of this name.
        """
        waits = self._waits[name]
        began = time.perf_counter()
        waits.waiting += 1
        limit = asyncio.timeout(self._timeout if timeout is None else timeout)
        try:
            async with limit:
                held = await acquire.__aenter__()
        except Exception as error:
            if limit.expired() or is_pool_timeout(error):
                waits.timeouts += 1
                raise UnavailableError("No connection became free in time") from error
            raise
        finally:
            waits.waiting -= 1
            waits.seconds += time.perf_counter() - began
        waits.acquired += 1
        try:
            yield held
        except BaseException as error:
            if not await acquire.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            await acquire.__aexit__(None, None, None)


# The services of this process. Weak: one that was dropped without being closed holds nobody's pools small.
_started: WeakSet[ConnectionPooling] = WeakSet()


def smallest_pool() -> int | None:
    """Return how many connections the smallest open pool of this process gives, None without such a pool."""
    held = (resource for service in _started for resource in service._open.values())  # pyright: ignore[reportPrivateUsage]
    found = (one.stats() for one in held if isinstance(one, WithStats) and not isinstance(one, WithMetrics))
    return min((stats.max for stats in found if stats is not None and stats.max), default=None)


def is_pool_timeout(error: BaseException) -> bool:
    """Return whether ``error`` means that a pool had no connection to give in time."""
    if not _TIMEOUTS.isdisjoint(kinds_of(error)):
        return True
    # asyncpg's pool raises the built-in class; only the place that raised it distinguishes it.
    if isinstance(error, TimeoutError):
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_globals.get("__name__") == "asyncpg.pool":
                return True
            trace = trace.tb_next
    return False


def _shown(error: BaseException) -> str:
    """Return the class of an error, whose text may hold an address; the text where clients may read it."""
    return str(error) if isinstance(error, UnavailableError) else type(error).__name__


def _counters(waits: _Waits) -> list[tuple[str, str, Callable[[], float]]]:
    return [
        ("connection_pool_acquired_total", "Connections that were handed out.", lambda: waits.acquired),
        ("connection_pool_timeouts_total", "Waits that ended without a connection.", lambda: waits.timeouts),
        ("connection_pool_wait_seconds_total", "Time waited for connections.", lambda: waits.seconds),
    ]


def _gauges(resource: Resource, waits: _Waits) -> list[tuple[str, str, Callable[[], float]]]:
    waiting = "connection_pool_waiting", "Tasks that wait for a connection."
    if not isinstance(resource, WithStats) or resource.stats() is None:
        return [(*waiting, lambda: waits.waiting)]

    def stats() -> PoolStats:
        return resource.stats() or PoolStats(0, 0)

    def waiters() -> int:
        reported = stats().waiting
        return waits.waiting if reported is None else reported

    return [
        ("connection_pool_connections", "Open connections.", lambda: stats().size),
        ("connection_pool_connections_in_use", "Connections in use.", lambda: stats().in_use),
        (
            "connection_pool_connections_limit",
            "Most connections there can be, 0 for no limit.",
            lambda: stats().max or 0,
        ),
        (*waiting, waiters),
    ]
