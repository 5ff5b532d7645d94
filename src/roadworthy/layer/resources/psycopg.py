"""The pools of psycopg_pool."""

from __future__ import annotations

import asyncio
from typing import Any

from .protocol import PoolStats

__all__ = ("PsycopgPool", "PsycopgThreadPool")


class PsycopgPool:
    """``psycopg_pool.AsyncConnectionPool`` as a resource; make it with ``open=False``.

    Parameters:
        pool: the pool.
        name: for records, metrics and health.
    """

    def __init__(self, pool: Any, name: str = "database") -> None:
        self._pool = pool
        self.name = name

    async def start(self) -> None:
        """Begin to connect in the background, unless the service has."""
        await self._pool.open(wait=False)

    async def ping(self) -> None:
        """Ask the database for 1 through the pool."""
        async with self._pool.connection() as connection:
            await connection.execute("SELECT 1")

    async def stop(self) -> None:
        """Close all connections."""
        await self._pool.close()

    def stats(self) -> PoolStats | None:
        """Return the pool's own numbers."""
        return _stats(self._pool)


class PsycopgThreadPool:
    """``psycopg_pool.ConnectionPool``, which handlers use in threads, as a resource.

    Parameters:
        pool: the pool.
        name: for records, metrics and health.
    """

    def __init__(self, pool: Any, name: str = "database") -> None:
        self._pool = pool
        self.name = name

    async def start(self) -> None:
        """Begin to connect in the background, unless the service has."""
        await asyncio.to_thread(self._pool.open, wait=False)

    async def ping(self) -> None:
        """Ask the database for 1 through the pool, in a thread."""
        await asyncio.to_thread(self._ask)

    async def stop(self) -> None:
        """Close all connections."""
        await asyncio.to_thread(self._pool.close)

    def stats(self) -> PoolStats | None:
        """Return the pool's own numbers."""
        return _stats(self._pool)

    def _ask(self) -> None:
        with self._pool.connection() as connection:
            connection.execute("SELECT 1")


def _stats(pool: Any) -> PoolStats:
    measured = pool.get_stats()
    size = measured["pool_size"]
    return PoolStats(
        size, size - measured["pool_available"], measured["requests_waiting"], measured["pool_max"] or None
    )
