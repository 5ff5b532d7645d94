"""Running compiled statements: inside a unit of work on its connection, outside for reading only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError

from ..transactions import UnitOfWork, current_unit
from . import TransactionError
from .constraints import Constraints
from .database import NO_UNIT, Database
from .driver import Driver, Query

__all__ = ("Runner",)

_Result = TypeVar("_Result")


class Runner:
    """Runs statements of one database.

    Parameters:
        database: their database.
        constraints: the words for what the constraints of a table refuse; None to report them as they are.
    """

    def __init__(self, database: Database, constraints: Constraints | None) -> None:
        self._database = database
        self._driver = database.driver
        self._constraints = constraints

    def at_once(self, query: Query, values: Mapping[str, Any]) -> list[Any] | None:
        """Return the rows of the read of one row by a key, None where :meth:`fetch` has to wait for them."""
        if current_unit() is not None:
            return None
        try:
            return self._driver.at_once(query, *query.plan.bind(values))
        except Exception as error:
            self._database.report(error)
            raise

    async def fetch(
        self, query: Query, bound: tuple[str, Sequence[Any]], most: int, values: Mapping[str, Any]
    ) -> list[Any]:
        """Return at most ``most`` rows.

        Parameters:
            bound: the text and the parameters.
            values: what is written, by the names of columns.
        """
        sql, parameters = bound
        unit = current_unit()
        if unit is not None or query.plan.is_write:
            return await self._in_unit(
                unit, values, lambda driver, on: driver.fetch(on, query, sql, parameters, most)
            )
        try:
            return await self._driver.read(query, sql, parameters, most)
        except Exception as error:
            self._database.report(error)
            raise

    async def execute(self, sql: str, parameters: Sequence[Any], values: Mapping[str, Any]) -> int:
        """Run a change; return how many rows it met."""
        unit = current_unit()
        return await self._in_unit(unit, values, lambda driver, on: driver.execute(on, sql, parameters))

    async def execute_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a change for each of the lists of parameters."""
        unit = current_unit()
        await self._in_unit(unit, {}, lambda driver, on: driver.execute_many(on, sql, parameters))

    @asynccontextmanager
    async def stream(
        self, query: Query, sql: str, parameters: Sequence[Any], size: int
    ) -> AsyncGenerator[AsyncGenerator[list[Any]]]:
        """Give the rows, ``size`` at a time, until the block is left."""
        try:
            async with self._database.lend() as connection:
                pieces = self._driver.stream(connection, query, sql, parameters, size)
                try:
                    yield pieces
                finally:
                    await pieces.aclose()
        except Exception as error:
            self._database.report(error)
            raise

    async def _in_unit(
        self,
        unit: UnitOfWork | None,
        values: Mapping[str, Any],
        run: Callable[[Driver, Any], Coroutine[Any, Any, _Result]],
    ) -> _Result:
        if unit is None:
            raise TransactionError(NO_UNIT)
        try:
            async with unit.use(self._database) as transaction:
                if transaction.session is not None:
                    await transaction.session.flush()
                try:
                    return await run(self._driver, transaction.lease.driver)
                except IntegrityError as error:
                    if self._constraints is None:
                        raise
                    await self._constraints.report(error, values, transaction.connection)
                    raise
        except Exception as error:
            self._database.report(error)
            raise
