"""Statements on PostgreSQL, by asyncpg."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, cast

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError

from ..pool import Lease
from ..postgres_errors import is_lost, without_values
from . import EVERY, Query

__all__ = ("AsyncpgDriver",)


class AsyncpgDriver:
    """Runs statements on connections of asyncpg, which prepares each once for a connection.

    Parameters:
        dialect: of SQLAlchemy's engine.
        lend: lends a connection outside a unit of work.
        end: takes it back.
    """

    def __init__(
        self,
        dialect: Dialect,
        lend: Callable[[], Awaitable[Lease]],
        end: Callable[[Lease], Awaitable[None]],
    ) -> None:
        self.dialect = dialect
        self._lend = lend
        self._end = end
        self._dbapi: Any = dialect.dbapi

    def at_once(self, query: Query, sql: str, parameters: Sequence[Any]) -> list[Any] | None:
        """Return None: a server is always waited for."""
        return None

    async def read(self, query: Query, sql: str, parameters: Sequence[Any], most: int) -> list[Any]:
        """Read on a connection of the pool, each statement a transaction of its own.

        Where the connection turns out to be broken, read on another one: it refuses to write, so nothing has
        been changed.
        """
        is_first = True
        while True:
            try:
                lease = await self._lend()
                try:
                    return await self.fetch(lease.bare, query, sql, parameters, most)
                finally:
                    await self._end(lease)
            except Exception as error:
                # An OSError is a server that takes no connection; that was tried for as long as one may wait.
                if not is_first or isinstance(error, OSError) or not is_lost(error):
                    raise
                is_first = False

    async def fetch(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Any], most: int
    ) -> list[Any]:
        """Return rows."""
        try:
            make = query.make
            if make is None:
                make = await _described(connection, query, sql)
            if most == 1:
                row = await connection.fetchrow(sql, *parameters)
                return make([row]) if row is not None else []
            rows = await connection.fetch(sql, *parameters)
        except Exception as error:
            raise self._translated(error, sql, connection) from error
        return make(rows if most == EVERY or len(rows) <= most else rows[:most])

    async def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> int:
        """Return how many rows a change met, which the end of PostgreSQL's answer says: ``UPDATE 3``."""
        try:
            status = await connection.execute(sql, *parameters)
        except Exception as error:
            raise self._translated(error, sql, connection) from error
        count = str(status).rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, connection: Any, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Send all parameters after one another, without waiting for each."""
        try:
            await connection.executemany(sql, parameters)
        except Exception as error:
            raise self._translated(error, sql, connection) from error

    async def fetch_many(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """Send all parameters after one another, without waiting for the rows of each."""
        try:
            make = query.make or await _described(connection, query, sql)
            rows = await connection.fetchmany(sql, parameters)
        except Exception as error:
            raise self._translated(error, sql, connection) from error
        return make(rows)

    async def stream(
        self, connection: Any, query: Query, sql: str, parameters: Sequence[Any], size: int
    ) -> AsyncGenerator[list[Any]]:
        """Read through a cursor of the server."""
        own = None if connection.is_in_transaction() else connection.transaction(readonly=True)
        try:
            if own is not None:
                await own.start()  # a cursor lives in a transaction
            make = query.make or await _described(connection, query, sql)
            cursor = await connection.cursor(sql, *parameters)
            while rows := await cursor.fetch(size):
                yield make(rows)
        except Exception as error:
            raise self._translated(error, sql, connection) from error
        finally:
            if own is not None:
                await own.rollback()

    def _translated(self, error: Exception, sql: str, connection: Any) -> Exception:
        if isinstance(error, DBAPIError):
            return error
        mapping = self._dbapi._asyncpg_error_translate
        kind = next((mapping[one] for one in type(error).__mro__ if one in mapping), None)
        if kind is None:
            return error
        inner = kind(error.args[0] if error.args else "", error)
        inner.__cause__ = error
        without_values(error, inner)
        return cast(
            "Exception",
            DBAPIError.instance(
                sql,
                None,
                inner,
                self._dbapi.Error,
                hide_parameters=True,
                connection_invalidated=connection.is_closed(),
                dialect=self.dialect,
            ),
        )


async def _described(connection: Any, query: Query, sql: str) -> Any:
    prepared = await connection.prepare(sql)
    return query.described([attribute.type.oid for attribute in prepared.get_attributes()])
