"""Running compiled statements: inside a unit of work on its connection, outside for reading only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError

from ..transactions import UnitOfWork, current_unit
from . import TransactionError
from .constraints import Constraints
from .database import NO_UNIT, Database, DatabaseTransaction
from .driver import Query

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

    def fetch(
        self, query: Query, bound: tuple[str, Sequence[Any]], most: int, values: Mapping[str, Any]
    ) -> Coroutine[Any, Any, list[Any]]:
        """Return at most ``most`` rows.

        Parameters:
            bound: the text and the parameters.
            values: what is written, by the names of columns.
        """
        sql, parameters = bound
        unit = current_unit()
        if unit is None and not query.plan.is_write:
            return self._read(query, sql, parameters, most)
        return self._in_unit(unit, values, self._driver.fetch, query, sql, parameters, most)

    def execute(
        self, sql: str, parameters: Sequence[Any], values: Mapping[str, Any]
    ) -> Coroutine[Any, Any, int]:
        """Run a change; return how many rows it met."""
        return self._in_unit(current_unit(), values, self._driver.execute, sql, parameters)

    def execute_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Coroutine[Any, Any, None]:
        """Run a change for each of the lists of parameters."""
        return self._in_unit(current_unit(), {}, self._driver.execute_many, sql, parameters)

    def fetch_many(
        self, query: Query, sql: str, parameters: Sequence[Sequence[Any]]
    ) -> Coroutine[Any, Any, list[Any]]:
        """Run a change for each of the lists of parameters; return the rows of all."""
        return self._in_unit(current_unit(), {}, self._driver.fetch_many, query, sql, parameters)

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

    async def _read(self, query: Query, sql: str, parameters: Sequence[Any], most: int) -> list[Any]:
        try:
            return await self._driver.read(query, sql, parameters, most)
        except Exception as error:
            self._database.report(error)
            raise

    async def _in_unit(
        self,
        unit: UnitOfWork | None,
        values: Mapping[str, Any],
        run: Callable[..., Coroutine[Any, Any, _Result]],
        *args: Any,
    ) -> _Result:
        """Call ``run`` with the unit's connection and ``args``."""
        if unit is None:
            raise TransactionError(NO_UNIT)
        database = self._database
        transaction = unit.begun_in(database)
        try:
            # A session runs the service's own code when it is flushed, which may ask for the turn again.
            if (transaction is not None and transaction.session is not None) or not unit.turns.enter_now():
                return await self._in_turn(unit, values, run, args)
            try:
                if transaction is None:
                    transaction = await unit.transaction_of(database)
                return await run(transaction.lease.driver, *args)
            except IntegrityError as error:
                await self._explain(error, values, transaction)
                raise
            finally:
                unit.turns.leave()
        except Exception as error:
            database.report(error)
            raise

    async def _in_turn(
        self,
        unit: UnitOfWork,
        values: Mapping[str, Any],
        run: Callable[..., Coroutine[Any, Any, _Result]],
        args: Sequence[Any],
    ) -> _Result:
        async with unit.use(self._database) as transaction:
            if transaction.session is not None:
                await transaction.session.flush()
            try:
                return await run(transaction.lease.driver, *args)
            except IntegrityError as error:
                await self._explain(error, values, transaction)
                raise

    async def _explain(
        self, error: IntegrityError, values: Mapping[str, Any], transaction: DatabaseTransaction | None
    ) -> None:
        """Raise what a service gets in place of ``error``."""
        if self._constraints is not None and transaction is not None:
            await self._constraints.report(error, values, transaction.connection)
