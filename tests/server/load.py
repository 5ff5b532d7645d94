"""A load client on raw sockets that says exactly how a request failed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ("Client", "Kind", "Load", "Outcome", "ask")

Kind = Literal["ok", "refused", "reset", "truncated", "timeout"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    Parameters:
        kind: ``refused``: no connection; ``reset``: closed before a byte of the response; ``truncated``:
            closed within it; ``timeout``.
        fresh: it was the connection's first request.
        status: of the response, 0 without one.
        body: the response's body.
        began: when it was begun, in seconds of ``time.monotonic``.
        seconds: how long it took.
    """

    kind: Kind
    fresh: bool
    status: int = 0
    body: bytes = b""
    began: float = 0.0
    seconds: float = 0.0


class Client:
    """One connection, made again when it is closed.

    Parameters:
        port: of a service.
        timeout: seconds for one request.
        host: its address.
    """

    def __init__(self, port: int, timeout: float = 15.0, host: str = "127.0.0.1") -> None:
        self._port = port
        self._host = host
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", fields: str = "") -> Outcome:
        """Send one request, with lines of further fields, and read its response."""
        began = time.monotonic()
        fresh = self._streams is None
        told: list[tuple[Kind, int, bytes]] = []
        try:
            async with asyncio.timeout(self._timeout):
                told.append(await self._exchange(path, method, body, fields))
        except TimeoutError:
            told.append(("timeout", 0, b""))
        kind, status, content = told[0]
        if kind != "ok":
            self.close()
        return Outcome(kind, fresh, status, content, began, time.monotonic() - began)

    async def _exchange(self, path: str, method: str, body: bytes, more: str) -> tuple[Kind, int, bytes]:
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection(self._host, self._port)
            except OSError:
                return "refused", 0, b""
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        received = b""
        try:
            writer.write(head.encode() + body)
            received = await reader.readuntil(b"\r\n\r\n")
            fields = received.lower().split(b"\r\n")
            length = next(int(one[15:]) for one in fields if one.startswith(b"content-length:"))
            content = await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            return ("truncated" if received or error.partial else "reset"), 0, b""
        except OSError:
            return ("truncated" if received else "reset"), 0, b""
        if b"connection: close" in fields:
            self.close()
        return "ok", int(received.split(b" ", 2)[1]), content

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask(port: int, path: str = "/", method: str = "GET", body: bytes = b"") -> Outcome:
    """Send one request on a connection of its own."""
    client = Client(port)
    try:
        return await client.ask(path, method, body)
    finally:
        client.close()


class Load:
    """Clients that ask over and over, each on one connection at a time.

    Parameters:
        port: where.
        clients: how many.
        until: asked before every request; a client stops once it is true.
        pause: seconds between two requests of a client.
        path: what they ask for.
    """

    def __init__(
        self,
        port: int,
        clients: int,
        until: Callable[[], bool],
        pause: float = 0.005,
        path: str = "/",
        timeout: float = 15.0,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._until = until
        self._pause = pause
        self._path = path
        self._tasks = [asyncio.create_task(self._run(Client(port, timeout))) for _ in range(clients)]

    async def _run(self, client: Client) -> None:
        refused = 0
        # A client that is refused has arrived at a closed listener: it goes elsewhere.
        while not self._until() and refused < 3:
            outcome = await client.ask(self._path)
            self.outcomes.append(outcome)
            refused = refused + 1 if outcome.kind == "refused" else 0
            await asyncio.sleep(self._pause)
        client.close()

    async def done(self) -> Counter[str]:
        """Wait for all clients and count how their requests ended."""
        await asyncio.gather(*self._tasks)
        return self.counts()

    def counts(self) -> Counter[str]:
        """Count how requests ended so far: ``ok``, or the failure and what kind of connection it was on."""
        return Counter(
            one.kind if one.kind in ("ok", "refused") else f"{one.kind}-{'fresh' if one.fresh else 'reused'}"
            for one in self.outcomes
        )
