"""Roadworthy: declared statements, and a repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Table, bindparam, insert, select

from roadworthy.patterns import Database, Statement, TableRepository, transactional
from roadworthy.patterns.repository import encode_cursor

from .schema import LISTED, User, UserRow

__all__ = ("Repositories", "Statements")

_TABLE = cast("Table", UserRow.__table__)


class Statements:
    """Statements that are declared once."""

    async def open(self, url: str) -> None:
        """Open the database."""
        self._database = database = Database(url)
        await database.start()
        table = _TABLE
        self._point = Statement(database, select(table).where(table.c.id == bindparam("key")), User)
        after = select(table).where(table.c.id > bindparam("after")).order_by(table.c.id).limit(LISTED)
        self._page = Statement(database, after, User)
        self._add = Statement(database, insert(table).returning(*table.c), User)

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        return await self._point.one(key=key)

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        return await self._page.all(after=after)

    @transactional
    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        return await self._add.one(name=f"name {number}", email=f"new{number}@example.org", age=number % 90)

    async def close(self) -> None:
        """Close the connections."""
        await self._database.stop()


class Repositories:
    """A repository as a service has it."""

    async def open(self, url: str) -> None:
        """Open the database."""
        self._database = Database(url)
        await self._database.start()
        self._users: TableRepository[User, int] = TableRepository(self._database, _TABLE, User, label="User")

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        return await self._users.get(key)

    async def page(self, after: int) -> Sequence[User]:
        """Read the twenty rows after a key."""
        return (await self._users.list(limit=LISTED, cursor=encode_cursor(after))).items

    @transactional
    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        values: dict[str, Any] = {
            "name": f"name {number}",
            "email": f"new{number}@example.org",
            "age": number % 90,
        }
        return await self._users.insert(values)

    async def close(self) -> None:
        """Close the connections."""
        await self._database.stop()
