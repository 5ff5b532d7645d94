"""Statements that are declared once and run at the driver's speed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, overload
from weakref import WeakKeyDictionary

from sqlalchemy.exc import MultipleResultsFound

from ..repository import existing
from .constraints import Constraints
from .database import Database
from .driver import EVERY, Query
from .driver.compiler import (
    Construct,
    Plan,
    RefusedStatementError,
    column_keys,
    compile_plan,
    table_of,
)
from .rows import field_names, is_value, required_names
from .running import Runner

__all__ = ("RefusedStatementError", "Statement")

_Row = TypeVar("_Row")

_MOST_VARIANTS = 256
"""Sets of columns that a change is kept compiled for. Each is a text of some hundred bytes."""

_PIECE = 500
"""Rows that a stream reads at a time: some 100 KB, where a hop costs less than a tenth of making the rows."""


class Statement(Generic[_Row]):
    """A select, insert, update or delete of SQLAlchemy, compiled once and run on the driver itself.

    Values are given by name: those of ``bindparam("name")``, for an insert or update also those of columns.
    Types of columns do their work both ways, as on SQLAlchemy's connections.

    Inside a unit of work a statement takes part in it: it sees what the unit's session and its other
    statements have written. Outside, it may read only, each statement the newest committed state.

    Parameters:
        database: that it runs on.
        construct: of tables or mapped classes. A list for ``IN`` is ``column.in_(bindparam("name"))``.
        row: what a row becomes: a pydantic model (validated), a msgspec struct, a dataclass or a named tuple,
            by the names of columns (columns that it does not name are left out); ``dict``; ``tuple``; or for
            one column the type of its value.
        label: what clients call such a row, for messages: ``"User"``; the name of the table when left out.
        codes: the error code of a column whose value another row has; ``CONFLICT`` when left out.
        parents: what clients call the row that a column names; the column's own name when left out.

    Raises:
        RefusedStatementError: it cannot be compiled for this database, or a row lacks a field.
        ValueError: there is no column of one of the names of ``codes`` or ``parents``.
    """

    @overload
    def __init__(
        self: Statement[tuple[Any, ...]],
        database: Database,
        construct: Construct,
        /,
        *,
        label: str | None = None,
        codes: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        database: Database,
        construct: Construct,
        row: type[_Row],
        /,
        *,
        label: str | None = None,
        codes: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
    ) -> None: ...

    def __init__(
        self,
        database: Database,
        construct: Construct,
        row: type[Any] = tuple,
        /,
        *,
        label: str | None = None,
        codes: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
    ) -> None:
        self._dialect = database.driver.dialect
        self._construct = construct
        self._kind = row
        self._table = table_of(construct)
        plan = compile_plan(construct, self._dialect)
        _check_row(row, plan)
        self._label = label or (self._table.name if self._table is not None else "Row")
        constraints = None
        if self._table is not None:
            constraints = Constraints(database.backend, self._table, self._label, codes, parents)
        self._runner = Runner(database, constraints)
        self._keys = column_keys(construct)
        self._names = plan.required | plan.optional
        self._is_write = plan.is_write
        self._returns = bool(plan.columns)
        self._only = None if self._keys else Query(plan, row)
        self._variants: dict[tuple[str, ...], Query] = {}
        self._bulk: dict[tuple[str, ...], Query] = {}
        self._scalars: WeakKeyDictionary[Plan, Query] = WeakKeyDictionary()

    async def all(self, /, **values: Any) -> list[_Row]:
        """Return the rows.

        Raises:
            TypeError: a name is missing, or the statement has no such name.
            UnavailableError: the database is busy, or no connection was free in time.
            TransactionError: it writes, and this is no unit of work, or one that is ``read_only``.
            ConflictError: another row has a value that has to be unique, or other rows still name this one.
            NotFoundError: a column names a row that is not there.
        """
        query = self._only or self._variant(values)
        return await self._runner.fetch(query, query.plan.bind(values), EVERY, values)

    async def first(self, /, **values: Any) -> _Row | None:
        """Return the first row, None where there is none; raises as :meth:`all` does."""
        query = self._only or self._variant(values)
        rows = self._runner.at_once(query, values) if query.is_point else None
        if rows is None:
            rows = await self._runner.fetch(query, query.plan.bind(values), 1, values)
        row: _Row | None = rows[0] if rows else None
        return row

    async def one(self, /, **values: Any) -> _Row:
        """Return the only row; raises as :meth:`all` does, and besides:

        Raises:
            NotFoundError: there is none.
            sqlalchemy.exc.MultipleResultsFound: there are more.
        """
        query = self._only or self._variant(values)
        rows = self._runner.at_once(query, values) if query.is_point else None
        if rows is None:
            rows = await self._runner.fetch(query, query.plan.bind(values), 2, values)
        if len(rows) > 1:
            raise MultipleResultsFound("one row was asked for, and there are more")
        row: _Row | None = rows[0] if rows else None
        return existing(row, self._label)

    async def scalar(self, /, **values: Any) -> Any:
        """Return the first column of the first row, None where there is none; raises as :meth:`all` does."""
        plan = (self._only or self._variant(values)).plan
        query = self._scalars.get(plan)
        if query is None:
            query = self._scalars[plan] = Query(plan, object)
        rows = await self._runner.fetch(query, query.plan.bind(values), 1, values)
        return rows[0] if rows else None

    async def execute(self, /, **values: Any) -> int:
        """Run it and return how many rows it met; raises as :meth:`all` does."""
        query = self._only or self._variant(values)
        if not self._is_write:
            return len(await self._runner.fetch(query, query.plan.bind(values), EVERY, values))
        sql, parameters = query.plan.bind(values)
        return await self._runner.execute(sql, parameters, values)

    async def many(self, rows: Iterable[Mapping[str, Any]], /) -> int:
        """Run a change for each of the given rows at once, and return how many were given.

        Parameters:
            rows: the values by name. All have the same names.

        Raises:
            TypeError: the names differ, or the statement is no change or has RETURNING.
        """
        if not self._is_write or self._returns:
            raise TypeError(
                "many() is for an insert, update or delete without RETURNING; with it, call returning()"
            )
        given = list(rows)
        if given:
            _, sql, parameters = self._bound_many(given)
            await self._runner.execute_many(sql, parameters)
        return len(given)

    async def returning(self, rows: Iterable[Mapping[str, Any]], /) -> list[_Row]:
        """Run a change with RETURNING for each of the given rows at once, and return what it returned, in the
        order of what was given: of an insert a row for each, of an update or delete those that it met.

        Parameters:
            rows: as for :meth:`many`.

        Raises:
            TypeError: the names differ, or the statement is no change with RETURNING.
        """
        if not self._is_write or not self._returns:
            raise TypeError("returning() is for an insert, update or delete with RETURNING")
        given = list(rows)
        if not given:
            return []
        query, sql, parameters = self._bound_many(given)
        return await self._runner.fetch_many(query, sql, parameters)

    @asynccontextmanager
    async def stream(self, /, **values: Any) -> AsyncGenerator[AsyncIterator[_Row]]:
        """Read a result piece by piece: ``async with statement.stream() as rows: async for row in rows``.

        It holds a connection, and inside a unit of work the unit's turn, until the block is left.
        """
        query = self._only or self._variant(values)
        sql, parameters = query.plan.bind(values)
        async with self._runner.stream(query, sql, parameters, _PIECE) as pieces:
            yield _flat(pieces)

    # -- machinery

    def _variant(self, values: Mapping[str, Any]) -> Query:
        names = tuple(values)
        found = self._variants.get(names)
        if found is None:
            keys = [name for name in names if name not in self._names and name in self._keys]
            plan = compile_plan(self._construct, self._dialect, keys)
            found = Query(plan, self._kind)
            _keep(self._variants, names, found)
        return found

    def _bound_many(self, given: Sequence[Mapping[str, Any]]) -> tuple[Query, str, Sequence[Sequence[Any]]]:
        names = tuple(given[0])
        query = self._bulk.get(names)
        if query is None:
            keys = [name for name in names if name not in self._names and name in self._keys]
            plan = compile_plan(self._construct, self._dialect, keys, many=True)
            if plan.has_lists:
                raise TypeError("a statement with a list takes no rows at once: give the values one by one")
            query = Query(plan, self._kind)
            _keep(self._bulk, names, query)
        bound = [query.plan.bind(values) for values in given]
        return query, bound[0][0], [one for _, one in bound]


async def _flat(pieces: AsyncGenerator[list[Any]]) -> AsyncIterator[Any]:
    async for piece in pieces:
        for row in piece:
            yield row


def _keep(kept: dict[tuple[str, ...], Any], names: tuple[str, ...], new: Any) -> None:
    if len(kept) >= _MOST_VARIANTS:
        kept.pop(next(iter(kept)))
    kept[names] = new


def _check_row(kind: type[Any], plan: Plan) -> None:
    columns = plan.columns
    if not columns:
        return
    if is_value(kind):
        if len(columns) != 1:
            raise RefusedStatementError(
                f"a row of {len(columns)} columns cannot become a {kind.__name__}; select one, or take tuple"
            )
        return
    fields = field_names(kind)
    if fields is None and issubclass(kind, tuple):
        return
    missing = sorted(required_names(kind) - set(columns))
    if missing:
        raise RefusedStatementError(
            f"{kind.__name__} needs {', '.join(map(repr, missing))}, which the statement does not select"
        )
