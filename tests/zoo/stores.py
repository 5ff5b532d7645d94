"""The stores that the zoo's service can be put on, by the URL: key-value server, SQLite, or PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

from .store import Store, StoreError

__all__ = ("Keeper", "Pool", "SqliteStore", "open_store")


class Keeper(Protocol):
    """What the service needs of a store. Every call has a deadline of ``timeout`` seconds."""

    timeout: float | None

    async def call(self, do: str, key: str = "", value: Any = None) -> Any:
        """Ask the store; raises StoreError."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def open_store(url: str, faults: frozenset[str]) -> Keeper:
    """Return the store of a URL; nothing is opened yet."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return SqliteStore(Path(url.partition("://")[2].removeprefix("/")), faults)
    if scheme == "postgresql":
        from .postgres_stores import open_postgres

        return open_postgres(url, faults)
    size = int(os.environ.get("ZOO_POOL", "0"))
    return Pool(url, size, faults) if size else Store(url)


class Pool:
    """At most ``size`` connections to the key-value server; who finds none free waits two seconds."""

    def __init__(self, url: str, size: int, faults: frozenset[str]) -> None:
        self.timeout: float | None = None if "pool-5-waits-forever" in faults else 2.0
        self._url, self._faults = url, faults
        self._places = asyncio.Semaphore(10_000 if "pool-2-unbounded" in faults else size)
        self._idle: list[Store] = []
        self._calls = 0

    async def call(self, do: str, key: str = "", value: Any = None) -> Any:
        """Ask on a connection that is free."""
        if "pool-1-per-request" in self._faults:
            store = Store(self._url, 2.0)
            try:
                return await store.call(do, key, value)
            finally:
                await store.close()
        async with self._place(), self._one() as store:
            store.timeout = self.timeout
            found = await store.call(do, key, value)
            if "pool-4-leaks" in self._faults and do == "get" and found is None and key != "readiness":
                # As a return in the midst of a function that gives the connection back at its end.
                await self._places.acquire()
            return found

    @asynccontextmanager
    async def _place(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self.timeout):
                await self._places.acquire()
        except TimeoutError:
            if "pool-5-breaks" in self._faults:
                raise RuntimeError("the pool is empty") from None
            raise StoreError("no connection is free") from None
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def _one(self) -> AsyncGenerator[Store]:
        store = self._idle.pop() if self._idle else self._new()
        try:
            yield store
        finally:
            self._calls += 1
            if "pool-3-forgets" in self._faults and not self._calls % 50:
                _forgotten.append(store)
            else:
                self._idle.append(store)

    def _new(self) -> Store:
        return _Stubborn(self._url) if "pool-6-keeps-dead" in self._faults else Store(self._url)

    async def close(self) -> None:
        """Close what is idle."""
        for store in self._idle:
            await store.close()


_forgotten: list[Store] = []


class _Stubborn(Store):
    """A connection that is used again although it is dead."""

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()


class SqliteStore:
    """One connection that writes and three that read, in WAL mode, in threads of their own."""

    def __init__(self, file: Path, faults: frozenset[str]) -> None:
        self.timeout: float | None = 1.5
        self._file, self._faults = file, faults
        self._writing = asyncio.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: asyncio.Queue[sqlite3.Connection] = asyncio.Queue()
        self._opened = False

    async def call(self, do: str, key: str = "", value: Any = None) -> Any:
        """Ask on the connection that writes, or on one that reads."""
        try:
            if self._faults & {"pool-1-opens-the-file", "pool-9-impatient"}:
                return await asyncio.to_thread(self._alone, do, key, value)
            if not self._opened:
                await self._open()
            if do in {"put", "delete"}:
                async with self._turn():
                    return await asyncio.to_thread(_carry_out, self._connected(), do, key, value)
            async with asyncio.timeout(self.timeout):
                reader = await self._readers.get()
            try:
                return await asyncio.to_thread(_carry_out, reader, do, key, value)
            finally:
                self._readers.put_nowait(reader)
        except (sqlite3.Error, TimeoutError) as error:
            raise StoreError(f"SQLite: {error}") from error

    async def _open(self) -> None:
        async with self._writing:
            if not self._opened:
                self._writer = await asyncio.to_thread(self._connect)
                for _ in range(3):
                    self._readers.put_nowait(await asyncio.to_thread(self._connect))
                self._opened = True

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        async with asyncio.timeout(self.timeout):
            await self._writing.acquire()
        try:
            yield
        finally:
            self._writing.release()

    def _connected(self) -> sqlite3.Connection:
        assert self._writer is not None
        return self._writer

    def _connect(self, journal: str = "WAL", patience: float = 1.0) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=patience, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value TEXT)")
        return connection

    def _alone(self, do: str, key: str, value: Any) -> Any:
        impatient = "pool-9-impatient" in self._faults
        connection = self._connect("DELETE", 0.0) if impatient else self._connect("WAL", 5.0)
        with closing(connection):
            return _carry_out(connection, do, key, value)

    async def close(self) -> None:
        """Close every connection."""
        if "pool-8-leaves-journal" in self._faults:
            os._exit(0)
        while not self._readers.empty():
            self._readers.get_nowait().close()
        if self._writer is not None:
            self._writer.close()


def _carry_out(connection: sqlite3.Connection, do: str, key: str, value: Any) -> Any:
    match do:
        case "put":
            connection.execute("INSERT OR REPLACE INTO items VALUES (?, ?)", (key, json.dumps(value)))
        case "get":
            row = connection.execute("SELECT value FROM items WHERE key = ?", (key,)).fetchone()
            return row and json.loads(row[0])
        case "list":
            rows = connection.execute("SELECT value FROM items ORDER BY rowid DESC LIMIT 50").fetchall()
            return [json.loads(row[0]) for row in rows]
        case "delete":
            connection.execute("DELETE FROM items WHERE key = ?", (key,))
        case _:
            pass
    return None
