"""A proxy of bytes in front of a server: counts sessions; refuses, resets, stalls and swallows them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from ..errors import ManifestError
from ..service.linux import established
from .access import Fault, Store
from .kinds import PORTS
from .postgres import Session

__all__ = ("FaultProxy",)

_BACKLOG = 512
# Where messages are not parsed: the word anywhere, and its name in Redis.
_COMMIT = re.compile(rb"\b(?:commit|exec)\b", re.IGNORECASE)
# MySQL's COM_QUIT: a packet of one byte with the number 0 (MySQL documentation: client/server protocol).
_MYSQL_QUIT = b"\x01\x00\x00\x00\x01"


@dataclass(slots=True, eq=False)
class _Pair:
    """One connection of the service and its counterpart to the server.

    Parameters:
        counted: it has become a session.
        tail: the last bytes of the service.
        waits: it has asked and got no answer yet.
    """

    client: socket.socket
    session: Session | None
    counted: bool = False
    tail: bytes = b""
    waits: bool = False
    server: socket.socket | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def says_commit(self, data: bytes) -> bool:
        """Record what the service sends, and return whether it asks for a commit."""
        if self.session is None:
            return _COMMIT.search(data) is not None
        before = self.session.commits
        self.session.from_client(data)
        return self.session.commits > before

    def said_farewell(self, kind: str) -> bool | None:
        """Tell whether the service ended the session as the protocol asks for; None when that is not seen."""
        if self.session is not None:
            return None if self.session.hidden else self.session.farewell
        return self.tail == _MYSQL_QUIT if kind == "mysql" else None


class FaultProxy(Store):
    """A TCP proxy in front of a server; use :meth:`start`."""

    can = frozenset(Fault)

    def __init__(self, upstream: tuple[str, int], kind: str) -> None:
        self._upstream = upstream
        self._kind = kind
        self._listener: socket.socket | None = None
        self._address = ("127.0.0.1", 0)
        self._accepting: asyncio.Task[None] | None = None
        self._pairs: set[_Pair] = set()
        self._fillers: list[socket.socket] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cutting = False

    @classmethod
    async def start(cls, url: str, kind: str) -> FaultProxy:
        """Start a proxy in front of the server that ``url`` names; :attr:`url` names the proxy.

        Raises:
            ManifestError: the URL names no TCP port to stand in front of.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or PORTS.get(kind, 0)
        except ValueError:
            port = 0
        if not parts.hostname or not port:
            raise ManifestError(
                "the URL of the store names no host and port, so no proxy can be put in front of it: a Unix "
                f"socket, several hosts, or no URL at all ({kind}://user@127.0.0.1:5432/name would do)"
            )
        self = cls((parts.hostname, port), kind)
        self._listen()
        self.declared = url
        login = parts.netloc.rpartition("@")[0]
        where = f"{self._address[0]}:{self._address[1]}"
        self.url = urlunsplit(parts._replace(netloc=f"{login}@{where}" if login else where))
        return self

    @property
    def port(self) -> int:
        """The port that the service connects to."""
        return self._address[1]

    async def inject(self, fault: Fault) -> None:
        """Begin a fault."""
        if fault in {Fault.STALL, Fault.BLACK_HOLE}:
            self._flowing.clear()
            if fault is Fault.BLACK_HOLE:
                await self._swallow()
            return
        if fault is Fault.COMMIT:
            self._cutting = True
            return
        if fault is Fault.REFUSE:
            await self._deafen()
        await self._reset_all()

    async def restore(self) -> None:
        """End every fault: bytes flow and the listener is open."""
        self._flowing.set()
        self._cutting = False
        for filler in self._fillers:
            filler.close()
        if self._listener is None:
            self._listen()
        elif self._accepting is None:
            self._listener.listen(_BACKLOG)
            self._accepting = asyncio.create_task(self._accept(self._listener))

    def processes(self, pids: Iterable[int]) -> int:
        """Return how many of these processes are connected."""
        return sum(any(port == self.port for _, (_, port) in established([pid])) for pid in pids)

    def left_in_transaction(self, seconds: float) -> int | None:
        """Return how many sessions idle in an open transaction for longer, which PostgreSQL reports."""
        if self._kind != "postgres":
            return None
        before = time.monotonic() - seconds
        sessions = [pair.session for pair in self._pairs if pair.session is not None]
        if any(session.hidden for session in sessions):
            return None
        return sum(session.status in {"T", "E"} and session.since < before for session in sessions)

    async def close(self) -> None:
        """Stop listening and reset what is open."""
        await self._deafen()
        await self._reset_all()
        for filler in self._fillers:
            filler.close()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._address = listener.getsockname()
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _stop_accepting(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None

    async def _deafen(self) -> None:
        await self._stop_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _swallow(self) -> None:
        """Fill the kernel's queue of a listener that accepts nobody: further SYN packets are dropped."""
        await self._stop_accepting()
        if self._listener is None:
            return
        self._listener.listen(0)
        loop = asyncio.get_running_loop()
        while True:
            filler = socket.socket()
            filler.setblocking(False)
            self._fillers.append(filler)
            try:
                async with asyncio.timeout(0.2):
                    await loop.sock_connect(filler, self._address)
            except TimeoutError:
                return

    async def _reset_all(self) -> None:
        pairs = list(self._pairs)
        for pair in pairs:
            for task in pair.tasks:
                task.cancel()
        for pair in pairs:
            await asyncio.gather(*pair.tasks, return_exceptions=True)
            self._end(pair, reset=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._fillers and self._is_filler(client):
                client.close()
                continue
            pair = _Pair(client, Session() if self._kind == "postgres" else None)
            self._pairs.add(pair)
            if pair.session is None:
                self._count(pair)
            pair.tasks.append(asyncio.create_task(self._serve(pair)))

    def _is_filler(self, client: socket.socket) -> bool:
        """Tell whether nobody is at the other end: a filler, closed since, or a client that gave up."""
        try:
            return client.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _count(self, pair: _Pair) -> None:
        pair.counted = True
        self.opens += 1
        self.live += 1
        self.peak = max(self.peak, self.live)

    async def _serve(self, pair: _Pair) -> None:
        loop = asyncio.get_running_loop()
        server = socket.socket(socket.AF_INET6 if ":" in self._upstream[0] else socket.AF_INET)
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair.server = server
        try:
            await loop.sock_connect(server, self._upstream)
            outward = asyncio.create_task(self._outward(pair, server))
            inward = asyncio.create_task(self._inward(pair, server))
            pair.tasks += [outward, inward]
            await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_COMPLETED)
            if pair.counted and not self._cutting:
                # After its farewell the server may be quicker to close than the service.
                farewell = pair.said_farewell(self._kind)
                self.farewells += farewell is True
                self.dropped += farewell is False and outward.done()
        except OSError:
            pass
        for task in pair.tasks[1:]:
            task.cancel()
        await asyncio.gather(*pair.tasks[1:], return_exceptions=True)
        self._end(pair)

    async def _outward(self, pair: _Pair, server: socket.socket) -> None:
        """Forward what the service sends."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(pair.client, 65_536):
                commits = pair.says_commit(data)
                if self._cutting and commits:
                    self.commits_cut += 1
                    return
                self.to_server += len(data)
                pair.tail = (pair.tail + data)[-len(_MYSQL_QUIT) :]
                self._count_new(pair)
                pair.waits = True
                self.busy_peak = max(self.busy_peak, sum(each.waits for each in self._pairs))
                # While it is stalled the connection stays open and its bytes stay here.
                await self._flowing.wait()
                await loop.sock_sendall(server, data)

    async def _inward(self, pair: _Pair, server: socket.socket) -> None:
        """Forward what the server sends."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(server, 65_536):
                if pair.session is not None:
                    pair.session.from_server(data)
                    self._count_new(pair)
                if self.delay is not None:
                    await asyncio.sleep(self.delay())
                await self._flowing.wait()
                pair.waits = False
                await loop.sock_sendall(pair.client, data)

    def _count_new(self, pair: _Pair) -> None:
        if not pair.counted and pair.session is not None and pair.session.begun:
            self._count(pair)

    def _end(self, pair: _Pair, *, reset: bool = False) -> None:
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        self.live -= pair.counted
        if reset:
            with contextlib.suppress(OSError):
                pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair.client.close()
        if pair.server is not None:
            pair.server.close()
