"""Repositories of rows in a table, with SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Delete, Insert, Select, Table, Update, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..repository import (
    LARGEST_KEY,
    Page,
    VersionConflictError,
    check_limit,
    decode_cursor,
    encode_cursor,
    existing,
    not_found,
)
from .adhoc import Compiled, is_expression
from .constraints import Constraints, check_columns
from .database import Database
from .driver import EVERY
from .driver.compiler import Construct
from .rows import Keyed, field_names, maker
from .running import Runner
from .statements import RefusedStatementError, Statement

__all__ = ("TableRepository",)

_Row = TypeVar("_Row")
_Key = TypeVar("_Key")

_CHUNK = 500
"""Keys in one statement: every SQLite takes 999 variables (https://sqlite.org/limits.html)."""

_KEY, _VERSION, _LIMIT, _WHERE = (
    "roadworthy_key",
    "roadworthy_version",
    "roadworthy_limit",
    "roadworthy_where_",
)
"""Names of parameters, which no column has."""

_MOST_DECLARED = 256
"""Statements that are kept: one for each set of fields that lists were asked for with."""


class TableRepository(Generic[_Row, _Key]):
    """A :class:`~roadworthy.patterns.repository.Repository` whose rows are those of a table.

    A service's own repository inherits from it and adds its statements: :meth:`declare` for those that are
    run often; :meth:`select`, :meth:`fetch`, :meth:`fetch_all` and :meth:`execute` for any other. Errors are
    translated in the same way.

    Parameters:
        database: where the table is.
        table: its primary key is one column.
        row: what a row becomes: a pydantic model, a dataclass, a dict. Columns that it does not name are not
            read.
        label: what clients call such a row, for messages: ``"User"``.
        codes: the error code of a column whose value another row has; ``CONFLICT`` when left out.
        parents: what clients call the row that a column names; the column's own name when left out.
        version: the column that counts the changes of a row.

    Raises:
        ValueError: the table has no primary key of one column, or there is no column of one of the names.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        row: type[_Row],
        *,
        label: str,
        codes: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
        version: str | None = None,
    ) -> None:
        names = field_names(row)
        self.database = database
        self.table = table
        self.label = label
        check_columns(
            table, {*(names or ()), *(codes or ()), *(parents or ()), *((version,) if version else ())}
        )
        keys = list(table.primary_key.columns)
        if len(keys) != 1:
            raise ValueError(f"the primary key of {table.name!r} is not one column")
        self._key = keys[0]
        self._key_type = cast("type[_Key]", self._key.type.python_type)
        self._version = None if version is None else table.c[version]
        self._columns = [column for column in table.c if names is None or column.name in names]
        self._row = row
        self._words: dict[str, Any] = {"label": label, "codes": codes, "parents": parents}
        self._constraints = Constraints(database.backend, table, label, codes, parents)
        self._runner = Runner(database, self._constraints)
        self._compiled = Compiled(database.driver.dialect, row)
        self._declared: dict[Hashable, Statement[Any]] = {}

    # -- one row

    async def get(self, key: _Key) -> _Row:
        """Return a row; see :class:`~roadworthy.patterns.repository.Repository` for all that it may raise."""
        return existing(await self.find(key), self.label)

    async def find(self, key: _Key) -> _Row | None:
        """Return a row, or None if it does not exist."""
        if not _can_be(key):
            return None
        statement = self._declared.get("find")
        if statement is None:
            statement = self._declare("find", self.select().where(self._key == bindparam(_KEY)))
        return cast("_Row | None", await statement.first(roadworthy_key=key))

    async def insert(self, values: Mapping[str, Any]) -> _Row:
        """Store a new row."""
        if any(map(is_expression, values.values())):
            row = await self.fetch(insert(self.table).values(dict(values)).returning(*self._columns), values)
        else:
            statement = self._declared.get("insert")
            if statement is None:
                statement = self._declare("insert", insert(self.table).returning(*self._columns))
            row = cast("_Row | None", await statement.first(**values))
        assert row is not None, "INSERT … RETURNING gives the row or raises"
        return row

    async def update(self, key: _Key, values: Mapping[str, Any], *, version: int | None = None) -> _Row:
        """Change fields of a row, of the given version only."""
        if not _can_be(key):
            raise not_found(self.label)
        changes = dict(values)
        counted: dict[str, Any] = {}
        if self._version is not None:
            changes.pop(self._version.name, None)
            counted[self._version.name] = self._version + 1
        if not changes and not counted:
            return await self.get(key)
        where = self._where(version)
        if any(map(is_expression, changes.values())):
            change = update(self.table).where(self._key == key, *self._of(version))
            row = await self.fetch(change.values({**changes, **counted}).returning(*self._columns), values)
        else:
            statement = self._declared.get(("update", len(where)))
            if statement is None:
                change = update(self.table).where(*where).returning(*self._columns)
                statement = self._declare(
                    ("update", len(where)), change.values(counted) if counted else change
                )
            row = cast("_Row | None", await statement.first(**changes, **self._which(key, version)))
        if row is None:
            raise await self._absent(key)
        return row

    async def delete(self, key: _Key, *, version: int | None = None) -> None:
        """Remove a row, of the given version only."""
        if not _can_be(key):
            raise not_found(self.label)
        where = self._where(version)
        statement = self._declared.get(("delete", len(where)))
        if statement is None:
            statement = self._declare(("delete", len(where)), delete(self.table).where(*where))
        if not await statement.execute(**self._which(key, version)):
            raise await self._absent(key)

    # -- many rows

    async def get_many(self, keys: Sequence[_Key]) -> Sequence[_Row | None]:
        """Return one entry for each key, in the order asked; None where there is no such row."""
        wanted = [key for key in dict.fromkeys(keys) if _can_be(key)]
        statement = self._declared.get("many")
        if statement is None:
            found_by = self._key.in_(bindparam(_KEY, expanding=True))
            statement = self._declare("many", self._with_key().where(found_by), Keyed)
        found: dict[_Key, _Row] = {}
        for start in range(0, len(wanted), _CHUNK):
            found.update(await statement.all(roadworthy_key=wanted[start : start + _CHUNK]))
        return [found.get(key) for key in keys]

    async def list(
        self, *, limit: int = 20, cursor: str | None = None, where: Mapping[str, Any] | None = None
    ) -> Page[_Row]:
        """Return a page of rows in the order of their keys."""
        check_limit(limit)
        asked = dict(where or {})
        if not all(map(_can_be, asked.values())):
            return Page([], None)
        given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        if any(map(is_expression, given.values())):
            raise TypeError("what a list is asked for are values, not expressions")
        shape = ("list", cursor is None, *sorted(asked), None, *sorted(given))
        statement = self._declared.get(shape)
        if statement is None:
            conditions = [
                self.table.c[name] == (bindparam(f"{_WHERE}{name}") if name in given else None)
                for name in asked
            ]
            if cursor is not None:
                conditions.append(self._key > bindparam(_KEY))
            page = self._with_key().where(*conditions).order_by(self._key).limit(bindparam(_LIMIT))
            statement = self._declare(shape, page, Keyed)
        binds = {f"{_WHERE}{name}": value for name, value in given.items()}
        if cursor is not None:
            binds[_KEY] = decode_cursor(cursor, self._key_type)
        pairs = await statement.all(roadworthy_limit=limit + 1, **binds)
        more = len(pairs) > limit
        return Page([row for _, row in pairs[:limit]], encode_cursor(pairs[limit - 1][0]) if more else None)

    # -- a service's own statements

    def select(self) -> Select[Any]:
        """Return a SELECT of the columns that a row is made of."""
        return select(*self._columns)

    def declare(self, construct: Construct) -> Statement[_Row]:
        """Return a statement that gives rows of this repository, and whose errors are translated as its own.

        Parameters:
            construct: of the columns of a row, such as ``self.select().where(… == bindparam("name"))``.

        Raises:
            RefusedStatementError: it cannot be compiled for this database.
        """
        return Statement(self.database, construct, self._row, **self._words)

    async def fetch(
        self, statement: Select[Any] | Any, values: Mapping[str, Any] | None = None
    ) -> _Row | None:
        """Return the row that a statement gives, None where it gives none.

        Parameters:
            statement: a SELECT, or a change with RETURNING, of the columns of a row.
            values: what it writes, to find which row of another table is missing.

        Raises:
            ConflictError, NotFoundError, TransactionError: as :meth:`insert` does.
        """
        rows = await self._fetch(statement, 1, values)
        return rows[0] if rows else None

    async def fetch_all(self, statement: Select[Any] | Any) -> Sequence[_Row]:
        """Return the rows that a statement gives; raises as :meth:`fetch` does."""
        return await self._fetch(statement, EVERY, None)

    async def execute(
        self, statement: Insert | Update | Delete, values: Mapping[str, Any] | None = None
    ) -> int:
        """Run a change and return how many rows it met; raises as :meth:`fetch` does."""
        try:
            _, sql, parameters = self._compiled.find(statement)
        except RefusedStatementError:
            async with self._reporting(values) as connection:
                return (await connection.execute(statement)).rowcount
        return await self._runner.execute(sql, parameters, values or {})

    # -- machinery

    def _declare(self, name: Hashable, construct: Any, kind: Any = None) -> Statement[Any]:
        row = self._row if kind is None else kind[self._row]
        statement = Statement(self.database, construct, row, **self._words)
        if len(self._declared) >= _MOST_DECLARED:
            self._declared.pop(next(iter(self._declared)))
        self._declared[name] = statement
        return statement

    def _with_key(self) -> Select[Any]:
        return select(self._key.label(_KEY), *self._columns)

    def _where(self, version: int | None) -> Sequence[Any]:
        own = self._key == bindparam(_KEY)
        return (own, *self._of(None if version is None else bindparam(_VERSION)))

    def _which(self, key: _Key, version: int | None) -> dict[str, Any]:
        return {_KEY: key} if version is None else {_KEY: key, _VERSION: version}

    def _of(self, version: Any) -> Sequence[Any]:
        if version is None:
            return ()
        if self._version is None:
            raise ValueError(f"the repository of {self.table.name!r} was given no version column")
        return (self._version == version,)

    async def _absent(self, key: _Key) -> Exception:
        return not_found(self.label) if await self.find(key) is None else VersionConflictError()

    async def _fetch(self, statement: Any, most: int, values: Mapping[str, Any] | None) -> Sequence[_Row]:
        try:
            query, sql, parameters = self._compiled.find(statement)
        except RefusedStatementError:
            make = maker(self._row)
            async with self._reporting(values) as connection:
                found = (await connection.execute(statement)).mappings()
                rows = found.fetchmany(most) if most else found.all()
            return [make(cast("Mapping[str, Any]", one)) for one in rows]
        return await self._runner.fetch(query, (sql, parameters), most, values or {})

    @asynccontextmanager
    async def _reporting(self, values: Mapping[str, Any] | None) -> AsyncGenerator[AsyncConnection]:
        async with self.database.connection() as connection:
            try:
                yield connection
            except IntegrityError as error:
                await self._constraints.report(error, values or {}, connection)
                raise


def _can_be(value: object) -> bool:
    # Drivers raise OverflowError for a larger number, which a client may have asked for.
    return not isinstance(value, int) or -LARGEST_KEY - 1 <= value <= LARGEST_KEY
