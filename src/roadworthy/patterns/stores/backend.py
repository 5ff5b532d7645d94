"""What differs between kinds of database, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from . import Rules
from .driver import Driver
from .pool import Lease, Pool

__all__ = ("OVER", "Backend")

OVER = (
    "a statement of this unit of work has failed and its error was caught; PostgreSQL then undoes all of the "
    "unit. A part that may fail alone needs nested=True"
)


class Backend(Protocol):
    """One kind of database: how it is opened, how a unit of work begins in it, what its errors mean."""

    @property
    def pools(self) -> Sequence[Pool]:
        """All connections."""
        ...

    @property
    def driver(self) -> Driver:
        """Runs statements without SQLAlchemy's connections."""
        ...

    async def prepare(self) -> None:
        """Check once per start of the service that the database can be used."""
        ...

    async def open(self) -> None:
        """Do once per process what the database needs."""
        ...

    async def lend(self) -> Lease:
        """Lend a connection that refuses to write, each statement its own transaction."""
        ...

    async def end(self, lease: Lease) -> None:
        """Take back what :meth:`lend` gave."""
        ...

    async def begin(self, rules: Rules) -> Lease:
        """Lend a connection with a transaction; a read-only one sees one state."""
        ...

    async def commit(self, lease: Lease) -> None:
        """Make everything permanent.

        Raises:
            OutcomeUnknownError: the connection broke before the answer came.
            TransactionError: the database has undone the transaction already.
        """
        ...

    async def rollback(self, lease: Lease) -> None:
        """Undo what :meth:`begin` began, in whatever state it is."""
        ...

    async def lock(self, connection: AsyncConnection, name: str) -> bool:
        """Keep a name for the transaction until it ends; return whether no other has it."""
        ...

    def is_passing(self, error: Exception) -> bool:
        """Return whether the same transaction may succeed if it begins again."""
        ...

    def refusal(self, error: Exception) -> Exception | None:
        """Return what clients get in place of ``error``: 503, 504 or 409. None where it is a mistake."""
        ...

    def is_read_only(self, error: Exception) -> bool:
        """Return whether a write was refused because the transaction must not write."""
        ...

    def is_over(self, error: Exception) -> bool:
        """Return whether a statement was refused because one before it in the transaction has failed."""
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

    async def stop(self) -> None:
        """Close every connection."""
        ...
