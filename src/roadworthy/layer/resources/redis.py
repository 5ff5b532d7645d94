"""A client of Redis or Valkey."""

from __future__ import annotations

from typing import Any

from .protocol import PoolStats

__all__ = ("RedisClient",)


class RedisClient:
    """``redis.asyncio.Redis`` (or its twin of the package valkey) as a resource.

    Parameters:
        client: the client.
        name: for records, metrics and health.
    """

    def __init__(self, client: Any, name: str = "redis") -> None:
        self._client = client
        self.name = name

    async def start(self) -> None:
        """Open nothing yet: the client connects on demand, so the service comes up without its server."""

    async def ping(self) -> None:
        """Send ``PING``."""
        await self._client.ping()

    async def stop(self) -> None:
        """Close the client and its connections."""
        await self._client.aclose(close_connection_pool=True)

    def stats(self) -> PoolStats | None:
        """Return the numbers of the client's pool, which keeps them to itself; None for another pool."""
        pool = self._client.connection_pool
        used = getattr(pool, "_in_use_connections", None)
        free = getattr(pool, "_available_connections", None)
        if used is None or free is None:
            return None
        return PoolStats(len(used) + len(free), len(used), None, pool.max_connections)
