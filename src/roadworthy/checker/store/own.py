"""Stores of the check's own, beside those that a manifest declares: made for a start, and removed after it.

What a service writes during a check must not stay where it was pointed at. So each start gets a database that
is made for it on the same server, under a name that begins with :data:`PREFIX`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ("PREFIX", "CannotOwn", "Lease", "OwnServer", "OwnStores")

PREFIX = "roadworthy_check_"
"""What the names of databases begin with that the check makes."""


class CannotOwn(Exception):
    """Raised when the check can have no store of its own on a server; the text is the reason."""


class OwnServer:
    """The server of one declared URL, on which the check makes stores of its own.

    Parameters:
        doubtful: what was made is empty and the declared store is not, so the service has to fill it itself;
            ask :meth:`is_filled` once it is ready.
    """

    doubtful: bool = False

    async def prepare(self) -> None:
        """Remove what a check has left that was killed, and make ready to make stores.

        Raises:
            CannotOwn: none can be made.
        """
        raise NotImplementedError

    async def make(self) -> str:
        """Make a store, as the declared one was when the check began, and return its URL.

        Raises:
            CannotOwn: it cannot be made any more.
        """
        raise NotImplementedError

    async def remove(self, url: str) -> None:
        """Remove a store that was made; what fails is tried again by :meth:`close`."""
        raise NotImplementedError

    async def fill(self, run: Callable[[str], Awaitable[None]]) -> bool:
        """Have ``database.setup`` prepare what all others are copied from, once; False where each is empty.

        Parameters:
            run: runs the command on the store of a URL.
        """
        return False

    async def is_filled(self, url: str) -> bool:
        """Return whether there are tables in a store that was made."""
        return True

    async def adopt(self, url: str) -> bool:
        """Make all others from a store in which a service has just made its tables; False: it made none.

        Parameters:
            url: of a store that was made, and that nothing has been written to since then.
        """
        return False

    async def close(self) -> None:
        """Remove all that was made."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Lease:
    """A store that was made for one start."""

    url: str
    server: OwnServer
    kept: bool = False

    async def release(self) -> None:
        """Remove it, unless others are made from it."""
        if not self.kept:
            await self.server.remove(self.url)


@dataclass(slots=True, eq=False)
class OwnStores:
    """The servers of a run by the URLs that lead to them.

    Parameters:
        refused: why there is none of one's own behind a URL.
    """

    servers: dict[str, OwnServer] = field(default_factory=dict[str, OwnServer])
    refused: dict[str, str] = field(default_factory=dict[str, str])

    async def prepare(self, servers: Mapping[str, OwnServer]) -> None:
        """Take over the servers on which stores can be made, and note why they cannot on the others."""
        await asyncio.gather(*(self._prepare(url, server) for url, server in servers.items()))

    async def _prepare(self, url: str, server: OwnServer) -> None:
        # Known before it is asked, so that what it has begun to make is removed whatever comes between.
        self.servers[url] = server
        try:
            await server.prepare()
        except CannotOwn as reason:
            self.refuse(url, str(reason))
            await server.close()

    def refuse(self, url: str, why: str) -> None:
        """Do without a store of one's own behind a URL from now on."""
        self.servers.pop(url, None)
        self.refused[url] = why

    async def lease(self, url: str) -> Lease | None:
        """Make a store in place of the one that a URL leads to; None where there can be none.

        Raises:
            CannotOwn: one could be made when the check began.
        """
        server = self.servers.get(url)
        return None if server is None else Lease(await server.make(), server)

    def doubtful(self) -> Iterable[tuple[str, OwnServer]]:
        """Return the servers whose stores only the service itself can fill."""
        return [(url, server) for url, server in self.servers.items() if server.doubtful]

    async def close(self) -> None:
        """Remove everything that was made."""
        await asyncio.gather(*(server.close() for server in self.servers.values()), return_exceptions=True)
