"""Statements that run on a driver itself, without SQLAlchemy's connections in between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from sqlalchemy import Dialect

from ..rows import Rows, rows_maker
from .compiler import Plan

__all__ = ("EVERY", "Driver", "Query")

EVERY = 0
"""As the most rows: all of them."""


class Query:
    """A plan, and what its rows become.

    Attributes:
        plan: the statement.
        make: makes the rows; None until the driver has described the columns.
        is_point: whether it reads one row by a unique key; None until the database was asked.
    """

    __slots__ = ("_kind", "is_point", "make", "plan")

    def __init__(self, plan: Plan, kind: type[Any]) -> None:
        self.plan = plan
        self.make: Rows | None = None
        self.is_point: bool | None = None if plan.is_short else False
        self._kind = kind

    def described(self, types: Sequence[Any] | None) -> Rows:
        """Return what makes the rows.

        Parameters:
            types: of the columns in the driver's own terms, None where it has none.
        """
        self.make = rows_maker(self._kind, self.plan.columns, self.plan.result_processors(types))
        return self.make


class Driver(Protocol):
    """Runs statements on connections of one kind of driver.

    A ``connection`` is the driver's own, with a transaction. Errors are SQLAlchemy's, as its connections
    raise them: whoever asks what an error means need not know where it came from.
    """

    dialect: Dialect

    def at_once(self, query: Query, sql: str, parameters: Sequence[Any]) -> list[Any] | None:
        """Return the rows if that takes no time at all, outside a transaction; None to ask :meth:`read`."""
        ...

    async def read(self, query: Query, sql: str, parameters: Sequence[Any], most: int) -> list[Any]:
        """Return the rows, outside a transaction."""
        ...

    async def fetch(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Any], most: int
    ) -> list[Any]:
        """Return at most ``most`` rows, or :data:`EVERY` row."""
        ...

    async def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> int:
        """Return how many rows a change met."""
        ...

    async def execute_many(self, connection: Any, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a change for each of a list of parameters."""
        ...

    async def fetch_many(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """Run a change for each of a list of parameters; return the rows of all in their order."""
        ...

    def stream(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Any], size: int
    ) -> AsyncGenerator[list[Any]]:
        """Give the rows, ``size`` at a time."""
        ...
