"""The raw drivers, by hand: text, parameters, and rows made into models at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiosqlite
import asyncpg

from .schema import LISTED, User

__all__ = ("Asyncpg", "Sqlite3")

_COLUMNS = "id, name, email, age"


class Sqlite3:
    """As Roadworthy places it: a point read on the loop, lists on threads, writes on one thread in order."""

    async def open(self, url: str) -> None:
        """Open a connection for each thread."""
        path = url.removeprefix("sqlite:///")
        self._here = self._connect(path)
        self._threads = ThreadPoolExecutor(4)
        self._of_thread = threading.local()
        self._path = path
        self._writer = await aiosqlite.connect(path, isolation_level=None)
        self._turn = asyncio.Lock()

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        row = self._here.execute(f"SELECT {_COLUMNS} FROM users WHERE id = ?", (key,)).fetchone()
        return User(id=row[0], name=row[1], email=row[2], age=row[3])

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._page, after)

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        async with self._turn:
            await self._writer.execute("BEGIN IMMEDIATE")
            try:
                rows: Any = await self._writer.execute_fetchall(
                    f"INSERT INTO users (name, email, age) VALUES (?, ?, ?) RETURNING {_COLUMNS}",
                    (f"name {number}", f"new{number}@example.org", number % 90),
                )
            except BaseException:
                await self._writer.rollback()
                raise
            await self._writer.commit()
        row = rows[0]
        return User(id=row[0], name=row[1], email=row[2], age=row[3])

    async def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown()
        self._here.close()
        await self._writer.close()

    def _page(self, after: int) -> list[User]:
        connection = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = self._of_thread.connection = self._connect(self._path)
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM users WHERE id > ? ORDER BY id LIMIT {LISTED}", (after,)
        ).fetchall()
        return [User(id=row[0], name=row[1], email=row[2], age=row[3]) for row in rows]

    def _connect(self, path: str) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


class Asyncpg:
    """asyncpg, with a plain list of open connections: its own pool asks the server to reset each one."""

    async def open(self, url: str) -> None:
        """Open ten connections."""
        self._free = deque([await asyncpg.connect(url) for _ in range(10)])

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        connection = self._free.popleft()
        try:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM users WHERE id = $1", key)
        finally:
            self._free.append(connection)
        return User(**row)

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        connection = self._free.popleft()
        try:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM users WHERE id > $1 ORDER BY id LIMIT {LISTED}", after
            )
        finally:
            self._free.append(connection)
        return [User(**row) for row in rows]

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        connection = self._free.popleft()
        try:
            async with connection.transaction():
                row = await connection.fetchrow(
                    f"INSERT INTO users (name, email, age) VALUES ($1, $2, $3) RETURNING {_COLUMNS}",
                    f"name {number}",
                    f"new{number}@example.org",
                    number % 90,
                )
        finally:
            self._free.append(connection)
        return User(**row)

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._free:
            await connection.close()
