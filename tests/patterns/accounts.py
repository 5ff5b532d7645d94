"""A small schema for tests of storage: accounts, and entries that name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from roadworthy.patterns import Database, TableRepository, answers_table

__all__ = (
    "Account",
    "Accounts",
    "Entries",
    "Entry",
    "accounts",
    "answers",
    "create",
    "emptied",
    "entries",
    "metadata",
)

metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("balance", Integer, nullable=False, default=0),
    Column("version", Integer, nullable=False, default=1),
    sqlite_autoincrement=True,
)
entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("text", Text, nullable=False),
)
later = Table(
    "later",
    metadata,
    Column("id", Integer, primary_key=True),
    Column(
        "account_id",
        Integer,
        ForeignKey("accounts.id", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
)
"""What it names is looked for when COMMIT is asked for, not before."""
answers = answers_table(metadata)


@dataclass(frozen=True)
class Account:
    id: int
    email: str
    balance: int
    version: int


@dataclass(frozen=True)
class Entry:
    id: int
    account_id: int
    text: str


class Accounts(TableRepository[Account, int]):
    def __init__(self, database: Database) -> None:
        super().__init__(
            database, accounts, Account, label="Account", codes={"email": "EMAIL_TAKEN"}, version="version"
        )


class Entries(TableRepository[Entry, int]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, entries, Entry, label="Entry")


def create(path: Path) -> None:
    """Create the tables in a file."""
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()


_created: set[str] = set()


async def emptied(url: str) -> str:
    """Return the URL of a PostgreSQL database that has the tables, and nothing in them."""
    if url not in _created:
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()
        _created.add(url)
    driver = await asyncpg.connect(url)
    names = ", ".join(table.name for table in metadata.sorted_tables)
    await driver.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    await driver.close()
    return url
