"""A pool of asyncpg."""

from __future__ import annotations

import asyncio
from typing import Any

from .protocol import PoolStats

__all__ = ("AsyncpgPool",)


class AsyncpgPool:
    """A pool of asyncpg as a resource: what ``asyncpg.create_pool(…)`` returns, awaited or not.

    A pool with ``min_size=0`` connects on demand: the service then comes up, not ready, while its database is
    away. With connections to open at the start, the service does not start without its database.

    Parameters:
        pool: the pool.
        name: for records, metrics and health.
    """

    def __init__(self, pool: Any, name: str = "database") -> None:
        self._pool = pool
        self.name = name

    async def start(self) -> None:
        """Open the pool's first connections, unless the service has."""
        # A pool that is made while the module is imported belongs to whatever loop was there then.
        if not self._pool._initialized:
            self._pool._loop = asyncio.get_running_loop()
        await self._pool

    async def ping(self) -> None:
        """Ask the database for 1 through the pool."""
        await self._pool.fetchval("SELECT 1")

    async def stop(self) -> None:
        """Close all connections, once they are given back."""
        await self._pool.close()

    def stats(self) -> PoolStats | None:
        """Return the pool's own numbers."""
        size = self._pool.get_size()
        return PoolStats(size, size - self._pool.get_idle_size(), None, self._pool.get_max_size())
