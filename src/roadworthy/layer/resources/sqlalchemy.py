"""The pool of an async SQLAlchemy engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .protocol import PoolStats

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ("SqlAlchemyPool",)


class SqlAlchemyPool:
    """The pool of an async SQLAlchemy engine as a resource.

    Parameters:
        engine: from ``create_async_engine``. Its own ``pool_timeout`` is 30 s unless you set it; give it the
            service's ``pool_timeout``.
        name: for records, metrics and health.
    """

    def __init__(self, engine: AsyncEngine, name: str = "database") -> None:
        self._engine = engine
        self._name = name

    @property
    def name(self) -> str:
        """The resource's name."""
        return self._name

    async def start(self) -> None:
        """Open nothing yet: the engine connects on demand.

        A service whose database is down must come up, to say that it is not ready.
        """

    async def ping(self) -> None:
        """Ask the database for 1 through the engine's own pool.

        A connection that died in the pool is replaced once: the database is not down because of it
        (codingjoe/django-health-check#755).
        """
        from sqlalchemy.exc import DBAPIError

        try:
            await self._ask()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await self._ask()

    async def stop(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    def stats(self) -> PoolStats | None:
        """Return the numbers of the engine's queue pool, None for any other kind of pool."""
        from sqlalchemy.pool import QueuePool

        pool = self._engine.pool
        if not isinstance(pool, QueuePool):
            return None
        used = pool.checkedout()
        # The only place where SQLAlchemy keeps it; -1 is no limit.
        overflow = int(getattr(pool, "_max_overflow", -1))
        return PoolStats(
            used + pool.checkedin(), used, None, None if overflow < 0 else pool.size() + overflow
        )

    async def _ask(self) -> None:
        from sqlalchemy import text

        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
