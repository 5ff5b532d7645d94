"""What differs between kinds of database, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ("Backend",)


class Backend(Protocol):
    """One kind of database: how it is opened, how a unit of work begins in it, what its errors mean."""

    reader: AsyncEngine
    """Lends connections that refuse to write, each statement its own transaction."""

    reading: AsyncEngine
    """The same connections, with a transaction that sees one state."""

    writer: AsyncEngine
    """Connections with a transaction that may write."""

    async def prepare(self) -> None:
        """Do once per start what the database file or server needs."""
        ...

    def is_passing(self, error: Exception) -> bool:
        """Return whether the same transaction may succeed if it begins again."""
        ...

    def is_unavailable(self, error: Exception) -> bool:
        """Return whether the failure goes away without a change to the service."""
        ...

    def is_conflict(self, error: Exception) -> bool:
        """Return whether a constraint refused what would be right beside other rows or other values."""
        ...

    def is_read_only(self, error: Exception) -> bool:
        """Return whether a write was refused because the transaction must not write."""
        ...

    def unique_columns(self, error: Exception, table: Table) -> tuple[str, ...]:
        """Return the columns whose values another row has, () for other errors."""
        ...

    async def missing_parent(
        self, error: Exception, table: Table, values: Mapping[str, Any], connection: AsyncConnection
    ) -> str | None:
        """Return the column that names a row of another table which is not there, None for other errors."""
        ...

    def is_referred_to(self, error: Exception) -> bool:
        """Return whether a row cannot go because rows of other tables name it."""
        ...
