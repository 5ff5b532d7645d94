"""The `db` that the guide's code calls: SQLite behind two coroutines."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any


class Database:
    """One connection, used by one thread at a time and never on the event loop's."""

    def __init__(self, file: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        columns = "id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL"
        self._run(f"CREATE TABLE IF NOT EXISTS users ({columns})")
        self._run("INSERT OR IGNORE INTO users VALUES (1, 'Ada Lovelace', 'ada@example.org')")

    def _run(self, statement: str, *values: object) -> dict[str, Any] | None:
        with self._lock:
            row = self._connection.execute(statement, values).fetchone()
        return row and dict(row)

    async def fetch_user(self, user_id: int) -> dict[str, Any] | None:
        """Return the user or None."""
        return await asyncio.to_thread(self._run, "SELECT id, name, email FROM users WHERE id = ?", user_id)

    async def create_user(self, user: Any) -> dict[str, Any] | None:
        """Insert the user with the id that it came with."""
        insert = "INSERT INTO users VALUES (?, ?, ?) RETURNING id, name, email"
        return await asyncio.to_thread(self._run, insert, user.id, user.name, user.email)
