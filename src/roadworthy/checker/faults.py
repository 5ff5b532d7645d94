"""Faults of the store behind a service: refused, reset, stalled; and how many connections the service opens.

A server is reached through a proxy of bytes that is put in front of it by rewriting the declared URL. An
SQLite file is stalled by a lock that the checker holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import socket
import sqlite3
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

__all__ = ("Fault", "FaultProxy", "NoFault", "SqliteLock", "Store")

_DEFAULT_PORTS = {"postgres": 5432, "mysql": 3306, "redis": 6379}
# As a statement of its own, in whatever message of the protocol, and as Redis has it.
_COMMIT = re.compile(rb"\b(?:commit|exec)\b", re.IGNORECASE)


class Fault(StrEnum):
    """What can be done to a store."""

    REFUSE = "refuse"
    """Nobody listens, and open connections are reset: the server is down."""
    STALL = "stall"
    """Connections are accepted and stay open, and nothing comes back: a black hole."""
    RESET = "reset"
    """Every open connection is reset once; new ones work."""
    COMMIT = "commit"
    """Everything works up to the commit, which fails and is not carried out."""


class NoFault(Exception):
    """Raised when a store cannot have this fault."""


class Store:
    """What a probe can do to the store of one target, and what it can count.

    Parameters:
        url: what the target is given instead of the declared URL.
        can: the faults that can be injected.
    """

    url: str
    can: frozenset[Fault] = frozenset()

    opens: int = 0
    """Connections opened so far."""
    live: int = 0
    """Connections open now."""
    peak: int = 0
    """The most that were open at the same time."""
    to_server: int = 0
    """Bytes from the service so far: the control that a route touches the store at all."""
    busy_peak: int = 0
    """The most connections that waited for an answer at the same time; set it to 0 to count anew."""
    commits_cut: int = 0
    """Commits that :attr:`Fault.COMMIT` kept from the server."""
    delay: Callable[[], float] | None = None
    """How many seconds each answer of the server is held back, where that can be done."""

    async def inject(self, fault: Fault) -> None:
        """Begin a fault (for RESET: do it once).

        Raises:
            NoFault: this store cannot have it.
        """
        raise NoFault(f"this store cannot {fault}")

    async def restore(self) -> None:
        """End every fault."""

    async def close(self) -> None:
        """Stop."""


@dataclass(slots=True, eq=False)
class _Pair:
    """One connection of the service and its counterpart to the server."""

    opened: float
    client: socket.socket
    server: socket.socket | None = None
    waits: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])


class FaultProxy(Store):
    """A TCP proxy in front of a server; use :meth:`start`."""

    can = frozenset(Fault)

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener: socket.socket | None = None
        self._address = ("127.0.0.1", 0)
        self._accepting: asyncio.Task[None] | None = None
        self._pairs: set[_Pair] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cutting = False

    @classmethod
    async def start(cls, url: str, kind: str) -> FaultProxy:
        """Start a proxy in front of the server that ``url`` names; :attr:`url` names the proxy."""
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(kind, 0)
        self = cls((parts.hostname or "127.0.0.1", port))
        self._listen()
        login = parts.netloc.rpartition("@")[0]
        where = f"{self._address[0]}:{self._address[1]}"
        self.url = urlunsplit(parts._replace(netloc=f"{login}@{where}" if login else where))
        return self

    async def inject(self, fault: Fault) -> None:
        """Begin a fault."""
        if fault is Fault.STALL:
            self._flowing.clear()
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
        if self._listener is None:
            self._listen()

    async def close(self) -> None:
        """Stop listening and reset what is open."""
        await self._deafen()
        await self._reset_all()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._address)
        listener.listen(512)
        listener.setblocking(False)
        self._address = listener.getsockname()
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _deafen(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        if self._listener is not None:
            self._listener.close()
            self._listener = None

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
            self.opens += 1
            self.live += 1
            self.peak = max(self.peak, self.live)
            pair = _Pair(time.monotonic(), client)
            self._pairs.add(pair)
            pair.tasks.append(asyncio.create_task(self._serve(pair)))

    async def _serve(self, pair: _Pair) -> None:
        loop = asyncio.get_running_loop()
        server = socket.socket(socket.AF_INET6 if ":" in self._upstream[0] else socket.AF_INET)
        server.setblocking(False)
        pair.server = server
        try:
            await self._flowing.wait()
            await loop.sock_connect(server, self._upstream)
            pumps = [
                asyncio.create_task(self._ask(pair, server)),
                asyncio.create_task(self._tell(pair, server)),
            ]
            pair.tasks += pumps
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        for task in pair.tasks[1:]:
            task.cancel()
        await asyncio.gather(*pair.tasks[1:], return_exceptions=True)
        self._end(pair)

    async def _ask(self, pair: _Pair, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(pair.client, 65_536):
                if self._cutting and _COMMIT.search(data):
                    self.commits_cut += 1
                    return
                self.to_server += len(data)
                pair.waits = True
                self.busy_peak = max(self.busy_peak, sum(each.waits for each in self._pairs))
                # While it is stalled the connection stays open and its bytes stay here.
                await self._flowing.wait()
                await loop.sock_sendall(server, data)

    async def _tell(self, pair: _Pair, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(server, 65_536):
                if self.delay is not None:
                    await asyncio.sleep(self.delay())
                await self._flowing.wait()
                pair.waits = False
                await loop.sock_sendall(pair.client, data)

    def _end(self, pair: _Pair, *, reset: bool = False) -> None:
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        self.live -= 1
        if reset:
            with contextlib.suppress(OSError):
                pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair.client.close()
        if pair.server is not None:
            pair.server.close()


class SqliteLock(Store):
    """An SQLite file; stalling it means to hold its write lock.

    Its commits fail as on a full disk: the service's processes may not write to files any more
    (RLIMIT_FSIZE), and an SQLite transaction that fits into memory first writes when it commits.

    Parameters:
        pids: the processes of the service, for failing commits.
    """

    can = frozenset({Fault.STALL, Fault.COMMIT})

    def __init__(self, url: str, file: Path) -> None:
        self.url = url
        self.file = file
        self.pids: Callable[[], list[int]] = list[int]
        self._held: sqlite3.Connection | None = None
        self._limited: dict[int, tuple[int, int]] = {}

    async def inject(self, fault: Fault) -> None:
        """Hold the lock.

        Raises:
            NoFault: another fault than STALL or COMMIT was asked for, or the file cannot be locked.
        """
        if fault is Fault.COMMIT:
            for pid in self.pids():
                before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                self._limited.setdefault(pid, before)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
            return
        if fault is not Fault.STALL:
            raise NoFault(f"an SQLite file cannot {fault}")
        if self._held is None:
            try:
                self._held = await asyncio.to_thread(self._lock)
            except sqlite3.Error as error:
                raise NoFault(f"the file cannot be locked: {error}") from None

    def _lock(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    async def restore(self) -> None:
        """Let the lock go, and let the processes write again."""
        for pid, before in self._limited.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        self._limited.clear()
        if self._held is not None:
            self._held.close()
            self._held = None

    async def close(self) -> None:
        """Let the lock go."""
        await self.restore()
