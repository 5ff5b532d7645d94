"""Connections that outlive a request, so that the next one is a later request of its connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from .request import Address
from .wire import Connection

__all__ = ("KeptConnections",)


@dataclass(slots=True, eq=False)
class KeptConnections:
    """Connections that had requests and wait for more."""

    _idle: dict[Address, list[Connection]] = field(default_factory=dict[Address, "list[Connection]"])

    @asynccontextmanager
    async def lend(self, address: Address) -> AsyncGenerator[tuple[Connection, bool]]:
        """Give a connection, and whether it has had a request before.

        Raises:
            DialFailed: nobody listens, or nobody accepted in time.
        """
        idle = self._idle.setdefault(address, [])
        while idle:
            connection = idle.pop()
            if not connection.over:
                used = True
                break
            await connection.close()
        else:
            connection, used = await Connection.open(address), False
        try:
            yield connection, used
        except BaseException:
            await connection.close()
            raise

    def keep(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self._idle.setdefault(connection.address, []).append(connection)

    async def close(self) -> None:
        """Close all of them."""
        for idle in self._idle.values():
            while idle:
                await idle.pop().close()
