"""The zoo's data in PostgreSQL, through each driver that services use: ``ZOO_DRIVER`` says which."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from .store import StoreError
from .stores import Keeper

__all__ = ("open_postgres",)

_TABLE = "CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
# With named parameters for SQLAlchemy, and with each driver's own marks for the others.
_STATEMENTS = {
    "put": "INSERT INTO items VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = :value",
    "get": "SELECT value FROM items WHERE key = :key",
    "list": "SELECT value FROM items ORDER BY key DESC LIMIT 50",
    "delete": "DELETE FROM items WHERE key = :key",
}
_BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, psycopg.Error, SQLAlchemyError)


def open_postgres(url: str, faults: frozenset[str]) -> Keeper:
    """Return the store for the driver that ``ZOO_DRIVER`` names; nothing is opened yet."""
    drivers = {"asyncpg": _Asyncpg, "psycopg": _Psycopg, "sqlalchemy": _Sqlalchemy}
    return drivers[os.environ.get("ZOO_DRIVER", "asyncpg")](url, faults)


class _Postgres:
    """What the drivers have in common: opened with the first call, and every call bounded."""

    def __init__(self, url: str, faults: frozenset[str]) -> None:
        self.timeout: float | None = None if "pool-5-waits-forever" in faults else 2.0
        self.url, self.faults = url, faults
        self._turn = asyncio.Lock()
        self._opened = False
        self._kept: asyncpg.Connection[Any] | None = None

    async def call(self, do: str, key: str = "", value: Any = None) -> Any:
        """Carry out one statement in a transaction of its own."""
        try:
            async with asyncio.timeout(self.timeout):
                if not self._opened:
                    await self._open_once()
            rows = await self.run(do, {"key": key, "value": json.dumps(value)})
        except _BROKEN as error:
            raise StoreError(f"PostgreSQL: {type(error).__name__}") from error
        found = [json.loads(row) for row in rows]
        return found if do == "list" else found[0] if found else None

    async def _open_once(self) -> None:
        async with self._turn:
            if self._opened:
                return
            connection = await asyncpg.connect(self.url)
            await connection.execute("SELECT pg_advisory_lock(1)")
            await connection.execute(_TABLE)
            await connection.execute("SELECT pg_advisory_unlock(1)")
            await connection.close()
            await self.open()
            if "pool-3-stays-in-transaction" in self.faults:
                # As with a driver that begins a transaction by itself, and a SELECT that nobody commits.
                self._kept = await asyncpg.connect(self.url)
                await self._kept.execute("BEGIN")
                await self._kept.fetch("SELECT 1")
            self._opened = True

    async def open(self) -> None:
        """Make the pool."""

    async def run(self, do: str, values: dict[str, str]) -> list[str]:
        """Carry out a statement."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the pool, or just end."""
        if "pool-8-just-ends" in self.faults:
            os._exit(0)


class _Asyncpg(_Postgres):
    pool: asyncpg.Pool[Any]

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(
            self.url, min_size=1, max_size=4, command_timeout=self.timeout, timeout=self.timeout or 60
        )

    async def run(self, do: str, values: dict[str, str]) -> list[str]:
        statement, arguments = _STATEMENTS[do], list[str]()
        for name, value in values.items():
            if f":{name}" in statement:
                arguments.append(value)
                statement = statement.replace(f":{name}", f"${len(arguments)}")
        if "pool-1-per-request" in self.faults:
            connection = await asyncpg.connect(self.url, timeout=2)
            try:
                return [row[0] for row in await connection.fetch(statement, *arguments)]
            finally:
                await connection.close()
        async with self._acquired() as connection:
            rows = [row[0] for row in await connection.fetch(statement, *arguments)]
            if "pool-4-leaks-on-error" in self.faults and do == "get" and values["key"] == "999999999":
                raise LookupError(values["key"])
            return rows

    @asynccontextmanager
    async def _acquired(self) -> AsyncGenerator[Any]:
        connection = await self.pool.acquire(timeout=self.timeout)
        if "pool-4-leaks-on-error" in self.faults:
            # Given back behind the work and not in a finally.
            yield connection
            await self.pool.release(connection)
            return
        try:
            yield connection
        finally:
            await self.pool.release(connection)

    async def close(self) -> None:
        await super().close()
        if self._opened:
            await self.pool.close()


class _Psycopg(_Postgres):
    pool: psycopg_pool.AsyncConnectionPool[Any]

    async def open(self) -> None:
        size = 5
        self.pool = psycopg_pool.AsyncConnectionPool(
            self.url, min_size=size, max_size=size, timeout=self.timeout or 3600, open=False
        )
        await self.pool.open()

    async def run(self, do: str, values: dict[str, str]) -> list[str]:
        statement = _STATEMENTS[do].replace(":key", "%(key)s").replace(":value", "%(value)s")
        async with asyncio.timeout(self.timeout), self.pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            return [row[0] for row in await cursor.fetchall()] if cursor.description else []

    async def close(self) -> None:
        await super().close()
        if self._opened:
            await self.pool.close()


class _Sqlalchemy(_Postgres):
    engine: AsyncEngine

    async def open(self) -> None:
        self.engine = create_async_engine(
            self.url.replace("postgresql:", "postgresql+asyncpg:"),
            pool_size=5,
            max_overflow=10,
            pool_timeout=self.timeout or 3600,
            pool_pre_ping=True,
            connect_args={"command_timeout": self.timeout, "timeout": self.timeout or 60},
        )

    async def run(self, do: str, values: dict[str, str]) -> list[str]:
        connection: AsyncConnection
        async with self.engine.begin() as connection:
            found = await connection.execute(text(_STATEMENTS[do]), values)
            return [row[0] for row in found] if found.returns_rows else []

    async def close(self) -> None:
        await super().close()
        if self._opened:
            await self.engine.dispose()
