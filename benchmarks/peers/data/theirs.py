"""SQLAlchemy's Core and ORM, advanced-alchemy and sqlspec, each as its documentation has it.

On SQLite their writers take turns (a lock around the transaction): otherwise they poll for the file's lock,
which would be what is measured.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from advanced_alchemy.filters import LimitOffset
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlspec import SQLSpec
from sqlspec.adapters.aiosqlite import AiosqliteConfig
from sqlspec.adapters.asyncpg import AsyncpgConfig

from .schema import LISTED, User, UserRow

__all__ = ("AdvancedAlchemy", "Core", "Orm", "SqlSpec")

_TABLE: Any = UserRow.__table__


class _OfEngine:
    async def open(self, url: str) -> None:
        """Open the engine."""
        self._engine: AsyncEngine = create_async_engine(
            url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:"),
            pool_size=10,
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._turn: AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if url.startswith("sqlite") else nullcontext()
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()


class Core(_OfEngine):
    """Core on an async engine."""

    _POINT = select(_TABLE).where(_TABLE.c.id == bindparam("key"))
    _PAGE = select(_TABLE).where(_TABLE.c.id > bindparam("after")).order_by(_TABLE.c.id).limit(LISTED)
    _ADD = insert(_TABLE).returning(*_TABLE.c)

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(self._POINT, {"key": key})).mappings().one()
        return User(**row)

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(self._PAGE, {"after": after})).mappings().all()
        return [User(**row) for row in rows]

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        values = {"name": f"name {number}", "email": f"new{number}@example.org", "age": number % 90}
        async with self._turn, self._engine.begin() as connection:
            row = (await connection.execute(self._ADD, values)).mappings().one()
        return User(**row)


class Orm(_OfEngine):
    """The ORM on an async engine."""

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        async with self._sessions() as session:
            row = await session.get_one(UserRow, key)
            return User.model_validate(row, from_attributes=True)

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        wanted = select(UserRow).where(UserRow.id > after).order_by(UserRow.id).limit(LISTED)
        async with self._sessions() as session:
            rows = await session.scalars(wanted)
            return [User.model_validate(row, from_attributes=True) for row in rows]

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        row = UserRow(name=f"name {number}", email=f"new{number}@example.org", age=number % 90)
        async with self._turn, self._sessions() as session, session.begin():
            session.add(row)
        return User.model_validate(row, from_attributes=True)


class _Users(SQLAlchemyAsyncRepository[UserRow]):  # type: ignore[type-var]
    model_type = UserRow


class AdvancedAlchemy(_OfEngine):
    """Its repository over the ORM."""

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        async with self._sessions() as session:
            row = await _Users(session=session).get(key)
            return User.model_validate(row, from_attributes=True)

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        async with self._sessions() as session:
            rows = await _Users(session=session).list(
                UserRow.id > after, LimitOffset(LISTED, 0), order_by=(UserRow.id, False)
            )
            return [User.model_validate(row, from_attributes=True) for row in rows]

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        row = UserRow(name=f"name {number}", email=f"new{number}@example.org", age=number % 90)
        async with self._turn, self._sessions() as session:
            row = await _Users(session=session).add(row, auto_commit=True)
            return User.model_validate(row, from_attributes=True)


class SqlSpec:
    """Text on its sessions."""

    _COLUMNS = "id, name, email, age"

    async def open(self, url: str) -> None:
        """Open the pool."""
        self._spec = SQLSpec()
        sqlite = url.startswith("sqlite")
        self._turn: AbstractAsyncContextManager[Any] = asyncio.Lock() if sqlite else nullcontext()
        if sqlite:
            path = url.removeprefix("sqlite:///")
            config: Any = AiosqliteConfig(connection_config={"database": path, "pool_size": 10})
        else:
            config = AsyncpgConfig(connection_config={"dsn": url, "min_size": 10, "max_size": 10})
        self._config = self._spec.add_config(config)

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        async with self._spec.provide_session(self._config) as session:
            return await session.select_one(
                f"SELECT {self._COLUMNS} FROM users WHERE id = :key", {"key": key}, schema_type=User
            )

    async def page(self, after: int) -> list[User]:
        """Read the twenty rows after a key."""
        async with self._spec.provide_session(self._config) as session:
            return await session.select(
                f"SELECT {self._COLUMNS} FROM users WHERE id > :after ORDER BY id LIMIT {LISTED}",
                {"after": after},
                schema_type=User,
            )

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        values = {"name": f"name {number}", "email": f"new{number}@example.org", "age": number % 90}
        added = f"INSERT INTO users (name, email, age) VALUES (:name, :email, :age) RETURNING {self._COLUMNS}"
        async with self._turn, self._spec.provide_session(self._config) as session:
            await session.begin()
            user = await session.select_one(added, values, schema_type=User)
            await session.commit()
            return user

    async def close(self) -> None:
        """Close the pool."""
        await self._spec.close_all_pools()
