"""What clients get where a constraint of a table refuses a change: the field, never the statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..repository import already_in_use, not_found, still_in_use
from .backend import Backend

__all__ = ("Constraints", "check_columns")


class Constraints:
    """The words for one table.

    Parameters:
        backend: of the database.
        table: that is changed.
        label: what clients call a row of it.
        codes: the error code of a column whose value another row has.
        parents: what clients call the row that a column names.

    Raises:
        ValueError: there is no column of one of the names.
    """

    def __init__(
        self,
        backend: Backend,
        table: Table,
        label: str,
        codes: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
    ) -> None:
        self._backend = backend
        self._table = table
        self._label = label
        self._codes = dict(codes or {})
        self._parents = dict(parents or {})
        check_columns(table, {*self._codes, *self._parents})

    async def report(
        self, error: IntegrityError, values: Mapping[str, Any], connection: AsyncConnection
    ) -> None:
        """Raise what a service gets in place of ``error``; return where it gets that itself.

        Parameters:
            error: of the change.
            values: that were to be written.
            connection: that the change was made on.

        Raises:
            ConflictError: another row has a value that has to be unique, or other rows name this one.
            NotFoundError: a column names a row that is not there.
        """
        # Asking first would leave a moment in which another request changes the answer.
        taken = self._backend.unique_columns(error, self._table)
        if taken:
            raise already_in_use(taken, self._codes.get(taken[0])) from error
        missing = await self._backend.missing_parent(error, self._table, values, connection)
        if missing is not None:
            raise not_found(self._parents.get(missing) or _called(missing)) from error
        if self._backend.is_referred_to(error):
            raise still_in_use(self._label) from error


def check_columns(table: Table, names: set[str]) -> None:
    """Refuse names that no column has.

    Raises:
        ValueError: there is one.
    """
    unknown = sorted(names - set(table.c.keys()))
    if unknown:
        raise ValueError(f"the table {table.name!r} has no column {', '.join(map(repr, unknown))}")


def _called(column: str) -> str:
    return column.removesuffix("_id").replace("_", " ").capitalize()
