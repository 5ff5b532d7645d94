"""A client of httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx import AsyncClient

__all__ = ("HttpxClient",)


class HttpxClient:
    """``httpx.AsyncClient`` as a resource.

    Parameters:
        client: the client.
        name: for records, metrics and health.
    """

    def __init__(self, client: AsyncClient, name: str = "http") -> None:
        self._client = client
        self.name = name

    async def start(self) -> None:
        """Open nothing yet: the client connects on demand."""

    async def ping(self) -> None:
        """Raise if the client is closed. Which request shows that the other service works is not known."""
        if self._client.is_closed:
            raise RuntimeError("the client is closed")

    async def stop(self) -> None:
        """Close the client and its connections."""
        await self._client.aclose()
