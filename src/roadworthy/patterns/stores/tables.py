"""Repositories of rows in a table, with SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeAlias, TypeVar, cast

from sqlalchemy import Delete, Insert, Select, Table, Update, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..repository import (
    LARGEST_KEY,
    Page,
    VersionConflictError,
    already_in_use,
    check_limit,
    decode_cursor,
    encode_cursor,
    existing,
    not_found,
    still_in_use,
)
from .database import Database
from .rows import field_names, maker

__all__ = ("TableRepository",)

_Row = TypeVar("_Row")
_Key = TypeVar("_Key")

_CHUNK = 500
"""Keys in one statement: every SQLite takes 999 variables (https://sqlite.org/limits.html)."""

_KEY = "roadworthy_key"

_Pairs: TypeAlias = list[tuple[_Key, _Row]]


class TableRepository(Generic[_Row, _Key]):
    """A :class:`~roadworthy.patterns.repository.Repository` whose rows are those of a table.

    A service's own repository inherits from it and adds its statements with :meth:`select`, :meth:`fetch`,
    :meth:`fetch_all` and :meth:`execute`, whose errors are translated in the same way.

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
        self._codes = dict(codes or {})
        self._parents = dict(parents or {})
        asked = {*(names or ()), *self._codes, *self._parents, *((version,) if version else ())}
        unknown = sorted(asked - set(table.c.keys()))
        if unknown:
            raise ValueError(f"the table {table.name!r} has no column {', '.join(map(repr, unknown))}")
        keys = list(table.primary_key.columns)
        if len(keys) != 1:
            raise ValueError(f"the primary key of {table.name!r} is not one column")
        self._key = keys[0]
        self._key_type = cast("type[_Key]", self._key.type.python_type)
        self._version = None if version is None else table.c[version]
        self._columns = [column for column in table.c if names is None or column.name in names]
        self._make = maker(row)

    # -- one row

    async def get(self, key: _Key) -> _Row:
        """Return a row; see :class:`~roadworthy.patterns.repository.Repository` for all that it may raise."""
        return existing(await self.find(key), self.label)

    async def find(self, key: _Key) -> _Row | None:
        """Return a row, or None if it does not exist."""
        if not _can_be(key):
            return None
        return await self.fetch(self.select().where(self._key == key))

    async def insert(self, values: Mapping[str, Any]) -> _Row:
        """Store a new row."""
        row = await self.fetch(insert(self.table).values(dict(values)).returning(*self._columns), values)
        assert row is not None, "INSERT … RETURNING gives the row or raises"
        return row

    async def update(self, key: _Key, values: Mapping[str, Any], *, version: int | None = None) -> _Row:
        """Change fields of a row, of the given version only."""
        if not _can_be(key):
            raise not_found(self.label)
        changes = dict(values)
        if self._version is not None:
            changes[self._version.name] = self._version + 1
        if not changes:
            return await self.get(key)
        statement = update(self.table).where(self._key == key, *self._of(version)).values(changes)
        row = await self.fetch(statement.returning(*self._columns), values)
        if row is None:
            raise await self._absent(key)
        return row

    async def delete(self, key: _Key, *, version: int | None = None) -> None:
        """Remove a row, of the given version only."""
        if not _can_be(key):
            raise not_found(self.label)
        if not await self.execute(delete(self.table).where(self._key == key, *self._of(version))):
            raise await self._absent(key)

    # -- many rows

    async def get_many(self, keys: Sequence[_Key]) -> Sequence[_Row | None]:
        """Return one entry for each key, in the order asked; None where there is no such row."""
        wanted = [key for key in dict.fromkeys(keys) if _can_be(key)]
        found: dict[_Key, _Row] = {}
        for start in range(0, len(wanted), _CHUNK):
            statement = self._with_key().where(self._key.in_(wanted[start : start + _CHUNK]))
            found.update(await self._keyed(statement))
        return [found.get(key) for key in keys]

    async def list(
        self, *, limit: int = 20, cursor: str | None = None, where: Mapping[str, Any] | None = None
    ) -> Page[_Row]:
        """Return a page of rows in the order of their keys."""
        statement = self._with_key().order_by(self._key).limit(check_limit(limit) + 1)
        asked = where or {}
        if not all(map(_can_be, asked.values())):
            return Page([], None)
        statement = statement.where(*(self.table.c[name] == value for name, value in asked.items()))
        if cursor is not None:
            statement = statement.where(self._key > decode_cursor(cursor, self._key_type))
        rows = await self._keyed(statement)
        items = rows[:limit]
        return Page([row for _, row in items], encode_cursor(items[-1][0]) if len(rows) > limit else None)

    # -- a service's own statements

    def select(self) -> Select[Any]:
        """Return a SELECT of the columns that a row is made of."""
        return select(*self._columns)

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
        async with self._reporting(values) as connection:
            found = (await connection.execute(statement)).mappings().first()
        return None if found is None else self._make(cast("Mapping[str, Any]", found))

    async def fetch_all(self, statement: Select[Any] | Any) -> Sequence[_Row]:
        """Return the rows that a statement gives; raises as :meth:`fetch` does."""
        async with self._reporting(None) as connection:
            found = (await connection.execute(statement)).mappings().all()
        return [self._make(cast("Mapping[str, Any]", one)) for one in found]

    async def execute(
        self, statement: Insert | Update | Delete, values: Mapping[str, Any] | None = None
    ) -> int:
        """Run a change and return how many rows it met; raises as :meth:`fetch` does."""
        async with self._reporting(values) as connection:
            return (await connection.execute(statement)).rowcount

    # -- machinery

    def _with_key(self) -> Select[Any]:
        return select(*self._columns, self._key.label(_KEY))

    async def _keyed(self, statement: Select[Any]) -> _Pairs[_Key, _Row]:
        async with self._reporting(None) as connection:
            found = (await connection.execute(statement)).mappings().all()
        pairs: _Pairs[_Key, _Row] = []
        for one in found:
            values = dict(cast("Mapping[str, Any]", one))
            key = values.pop(_KEY)
            pairs.append((key, self._make(values)))
        return pairs

    def _of(self, version: int | None) -> Sequence[Any]:
        if version is None:
            return ()
        if self._version is None:
            raise ValueError(f"the repository of {self.table.name!r} was given no version column")
        return (self._version == version,)

    async def _absent(self, key: _Key) -> Exception:
        return not_found(self.label) if await self.find(key) is None else VersionConflictError()

    @asynccontextmanager
    async def _reporting(self, values: Mapping[str, Any] | None) -> AsyncGenerator[AsyncConnection]:
        backend = self.database.backend
        async with self.database.connection() as connection:
            try:
                yield connection
            except IntegrityError as error:
                # Asking first would leave a moment in which another request changes the answer.
                taken = backend.unique_columns(error, self.table)
                if taken:
                    raise already_in_use(taken, self._codes.get(taken[0])) from error
                missing = await backend.missing_parent(error, self.table, values or {}, connection)
                if missing is not None:
                    raise not_found(self._parents.get(missing) or _called(missing)) from error
                if backend.is_referred_to(error):
                    raise still_in_use(self.label) from error
                raise


def _can_be(value: object) -> bool:
    # Drivers raise OverflowError for a larger number, which a client may have asked for.
    return not isinstance(value, int) or -LARGEST_KEY - 1 <= value <= LARGEST_KEY


def _called(column: str) -> str:
    return column.removesuffix("_id").replace("_", " ").capitalize()
