"""What a store gives to units of work. A database has it already; write it for another kind of storage."""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

__all__ = ("Isolation", "Rules", "Savepoint", "Store", "Transaction", "TransactionError")

Isolation: TypeAlias = Literal["read committed", "repeatable read", "serializable"]
"""Levels of ISO/IEC 9075-2 §4.41, in rising order; a store gives at least the level that is asked for."""


class TransactionError(RuntimeError):
    """Raised when a unit of work is used in a way that would break its promise: a mistake of the service."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a unit of work asks of its store.

    Parameters:
        isolation: the least level of isolation; the store's own default when left out.
        read_only: nothing may be written.
        place: whose unit it is, code and line, for a record of a connection that is held too long.
    """

    isolation: Isolation | None = None
    read_only: bool = False
    place: tuple[CodeType, int] | None = None


class Savepoint(Protocol):
    """A point inside a transaction to go back to."""

    async def release(self) -> None:
        """Keep what was done since."""

    async def rollback(self) -> None:
        """Undo what was done since."""


class Transaction(Protocol):
    """What a store has begun for a unit of work. Either end gives back what the transaction holds."""

    async def commit(self) -> None:
        """Make everything permanent. When it raises, nothing is, but for ``OutcomeUnknownError``."""

    async def rollback(self) -> None:
        """Undo everything. It has to succeed, whatever state the transaction is in."""

    async def savepoint(self) -> Savepoint:
        """Set a point to go back to."""
        ...


_Transaction_co = TypeVar("_Transaction_co", bound=Transaction, covariant=True)


class Store(Protocol, Generic[_Transaction_co]):
    """Where rows are kept: a database, or the memory of a test."""

    @property
    def name(self) -> str:
        """A short name for messages."""
        ...

    async def begin(self, rules: Rules) -> _Transaction_co:
        """Begin a transaction. When it raises or is cancelled, nothing is held."""
        ...

    def is_passing(self, error: Exception) -> bool:
        """Return whether the unit of work may succeed if it begins again at once (a lock, a deadlock)."""
        ...

    def translate(self, error: Exception) -> Exception | None:
        """Return what a service raises in place of the driver's ``error``, None to leave it as it is."""
        ...
