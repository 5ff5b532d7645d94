"""The unit of work: what a service method changes is committed as a whole when it returns, or not at all.

A unit begins without a store. The first repository, session or connection that is used inside it begins the
transaction, and whatever is used after that takes part in it: until then no connection is held. It is found
by a context variable, so the method's signature does not show it, and tasks started inside it take part as
well.

COMMIT has returned before anyone hears of a success. A method that returned has committed; a unit that a
request keeps open (a FastAPI dependency with ``yield``, whose end runs after the response was sent:
fastapi/fastapi#11143) is committed by the layer before the head of the response leaves.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar, cast, overload

from ._attempts import Attempts
from ._isolation import fit, known
from ._request import (
    before_response,
    is_production,
    is_served_here,
    response_begun,
    response_status,
)
from ._to_the_end import to_the_end, to_the_end_here
from ._turns import Lent, Turns
from ._warn_once import warn_once
from .stores import Isolation, Rules, Savepoint, Store, Transaction, TransactionError

__all__ = (
    "UnitOfWork",
    "current_unit",
    "transactional",
    "unit_of_work",
)

_logger = logging.getLogger("roadworthy.transactions")

_STRANGER = (
    "a session of SQLAlchemy wrote inside this unit of work and is not part of it, so nothing commits what "
    "it wrote: take the session from Database.session(), or commit it yourself without the unit of work"
)

_TransactionT = TypeVar("_TransactionT", bound=Transaction)


class UnitOfWork:
    """All or nothing, over one store. Made by :func:`transactional` and :func:`unit_of_work`.

    Attributes:
        rules: what it asks of its store.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.turns = Turns()
        """Who of its tasks may use its transaction."""
        self._store: Store[Transaction] | None = None
        self._transaction: Transaction | None = None
        self._ending: asyncio.Future[None] | None = None
        self._broken_by: BaseException | None = None
        self._parts: dict[asyncio.Task[Any] | None, int] = {}
        self._outer: UnitOfWork | None = None
        self.strangers: set[object] = set()
        """Sessions that have written inside of it, are not its own and have committed nothing."""
        self.ended = False
        """Whether it was committed or rolled back."""

    def use(self, store: Store[_TransactionT]) -> AbstractAsyncContextManager[_TransactionT]:
        """Lend the transaction of ``store`` in this unit, which the first use begins.

        The tasks of a unit take turns; a nested part has the transaction to itself until it ends.

        Raises:
            TransactionError: the unit has ended, or has begun in another store: two stores cannot be
                committed as one. Or the block that began this task holds the transaction.
        """
        return Lent(self.turns, store, self.transaction_of)

    def begun_in(self, store: Store[_TransactionT]) -> _TransactionT | None:
        """Return the transaction of ``store``, None where it is to be asked for by :meth:`transaction_of`."""
        begun: Any = self._transaction
        return None if self._store is not store or self.ended else begun

    async def transaction_of(self, store: Store[_TransactionT]) -> _TransactionT:
        """Return the transaction of ``store``, begun now if none is, to who has the turn; raises as
        :meth:`use` does.
        """
        if self.ended:
            raise TransactionError(
                "this unit of work has ended; a task that outlives it needs one of its own"
            )
        if self._transaction is None:
            self._store = store
            self._transaction = await store.begin(self.rules)
        if self._store is not store:
            began = self._store.name if self._store is not None else ""
            raise TransactionError(
                f"this unit of work began in the store {began!r} and cannot take in {store.name!r}: "
                "two stores cannot be committed as one"
            )
        return cast("_TransactionT", self._transaction)

    async def commit(self) -> None:
        """Commit now. When this returns, everything is permanent; when it raises, nothing is.

        Raises:
            TransactionError: a part of it has failed and its error was swallowed, or a task it started is
                still at work in it.
        """
        if not self.ended:
            mistake = self._mistake()
            if mistake is not None:
                await self.rollback()
                raise mistake from self._broken_by
            self.ended = True
            if self._transaction is not None and getattr(self._transaction, "ends_by_itself", False):
                # Cancelled, this task hears of nothing else; who waits besides hears how COMMIT ended.
                self._ending = asyncio.get_running_loop().create_future()
                await to_the_end_here(self._transaction.commit(), self._ending)
                return
            if self._transaction is not None:
                self._ending = asyncio.ensure_future(self._transaction.commit())
        if self._ending is not None:  # also where a response that leaves has begun it: both wait for COMMIT
            await to_the_end(self._ending)

    async def rollback(self) -> None:
        """Undo everything now."""
        if self.ended:
            return
        self.ended = True
        if self._transaction is not None:
            await to_the_end(self._transaction.rollback())

    @property
    def is_idle(self) -> bool:
        """Whether no store has taken part in it."""
        return self._store is None

    def expect_whole(self) -> None:
        """Refuse to wait for a nested part of another task; for what writes while a response leaves.

        Raises:
            TransactionError: such a part is open. A dependency with ``yield`` below a BaseHTTPMiddleware
                ends after the response, which would wait for it.
        """
        if self.turns.is_nested_elsewhere:
            raise TransactionError(
                "a part with nested=True is still open where the response leaves, and ends only after it; "
                "open it in the method that needs it, not in a dependency"
            )

    def is_passing(self, error: Exception) -> bool:
        """Return whether the unit may succeed if it begins again."""
        return self._store is not None and self._store.is_passing(error)

    def translate(self, error: Exception) -> Exception:
        """Return what is raised in place of ``error``."""
        translated = None if self._store is None else self._store.translate(error)
        return error if translated is None else translated

    async def settle(self, status: int) -> None:
        """Commit before a response of this status leaves; a refusal (400 and above) rolls back."""
        if status >= 400:
            await self.rollback()
        else:
            try:
                await self.commit()
            except Exception as error:
                _raise_translated(self, error)
                raise

    def _mistake(self) -> TransactionError | None:
        if self._broken_by is not None:
            return TransactionError(
                f"a part of this unit of work raised {type(self._broken_by).__name__}, which was caught; "
                "a part that may fail alone needs nested=True"
            )
        if self.strangers and self._transaction is None and not self.rules.read_only:
            # A unit with a store of its own may stand beside a session that other code commits.
            if not is_production():
                return TransactionError(_STRANGER)
            warn_once(_STRANGER)
        if self._parts and self._is_at_work_elsewhere():
            return TransactionError(
                "a task started in this unit of work is still at work in it; wait for it before the unit ends"
            )
        return None

    def _is_at_work_elsewhere(self) -> bool:
        current = asyncio.current_task()
        return any(task is not current and task is not None and not task.done() for task in self._parts)

    def enter(self) -> None:
        """Become the unit that the running code takes part in, until :meth:`leave`."""
        if not _watching and "sqlalchemy.orm" in sys.modules:
            _watch_sessions()
        self._outer = _current.get()
        _current.set(self)

    def leave(self) -> None:
        """Give way to the unit before it."""
        _current.set(self._outer)

    async def __aenter__(self) -> Self:
        self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        if error is None:
            await self.commit()
        else:
            await self.rollback()

    @asynccontextmanager
    async def part(self, rules: Rules, nested: bool = False) -> AsyncGenerator[Self]:
        """Take part in this unit, as an inner ``@transactional`` does.

        Parameters:
            rules: what the part asks for; the unit has to give it already.
            nested: undo only the part when it raises, so that whoever catches it may go on. Without, a part
                that raised leaves the unit only one end: to be rolled back.

        Raises:
            TransactionError: the part asks for more isolation than the unit has.
        """
        fit(self.rules, rules)
        # A dependency with ``yield`` below a BaseHTTPMiddleware ends after the response: it is not at work.
        task = None if is_served_here() else asyncio.current_task()
        self._parts[task] = self._parts.get(task, 0) + 1
        try:
            async with self._nested() if nested else self._joined():
                yield self
        finally:
            self._parts[task] -= 1
            if not self._parts[task]:
                del self._parts[task]

    @asynccontextmanager
    async def _joined(self) -> AsyncGenerator[None]:
        try:
            yield
        except BaseException as error:
            if self._broken_by is None:
                self._broken_by = error
            raise

    @asynccontextmanager
    async def _nested(self) -> AsyncGenerator[None]:
        async with self.turns.nest() as turns:
            broken_before = self._broken_by
            savepoint = None if self._transaction is None else await self._transaction.savepoint()
            try:
                yield
                if self._broken_by is not broken_before:
                    raise self._mistake() or TransactionError from self._broken_by
            except Exception:
                async with turns.last():
                    await self._undo(savepoint)
                self._broken_by = broken_before
                raise
            except BaseException as error:
                self._broken_by = error  # cancelled: the connection may be in the middle of a statement
                raise
            else:
                async with turns.last():
                    if savepoint is not None and not self.ended:
                        await savepoint.release()

    async def _undo(self, savepoint: Savepoint | None) -> None:
        if self.ended:
            return
        if savepoint is not None:
            await to_the_end(savepoint.rollback())
        elif self._transaction is not None:
            # The part itself began the transaction, so all of it is the part's.
            transaction, self._transaction = self._transaction, None
            await to_the_end(transaction.rollback())


_current: ContextVar[UnitOfWork | None] = ContextVar("roadworthy_unit_of_work", default=None)


_watching = False


def _watch_sessions() -> None:
    global _watching
    from .stores.strangers import watch

    watch(current_unit)
    _watching = True


def current_unit() -> UnitOfWork | None:
    """Return the unit of work that the running code takes part in, None outside one."""
    unit = _current.get()
    return None if unit is None or unit.ended else unit


@asynccontextmanager
async def unit_of_work(
    *, isolation: Isolation | None = None, read_only: bool = False, nested: bool = False
) -> AsyncGenerator[UnitOfWork]:
    """Open a unit of work for a block; join the one that is open already.

    For what is no method: a script, a test, a FastAPI dependency with ``yield``. Held open while a request is
        answered, it is committed before the response leaves, and rolled back when the response is a refusal.
        It does not begin again when the store was busy; :func:`transactional` does.

    Parameters:
        isolation, read_only, nested: as for :func:`transactional`.

    Raises:
        UnavailableError: the store was busy.
        TransactionError: it was used in a way that would break its promise.
    """
    rules = Rules(known(isolation), read_only)
    outer = current_unit()
    if outer is not None:
        async with outer.part(rules, nested):
            yield outer
        return
    unit = UnitOfWork(rules)
    # One that is opened while a response is streamed ends with its block, whatever has left by then.
    of_response = not read_only and not response_status()
    if of_response:
        before_response(unit.settle)
    try:
        async with unit:
            yield unit
            if of_response and response_status() >= 400:
                await unit.rollback()
            elif of_response and not unit.ended and response_begun():
                _logger.error("a unit of work is committed after its response has left; end it before")
    except Exception as error:
        _raise_translated(unit, error)
        raise


_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Method: TypeAlias = Callable[_Parameters, Coroutine[Any, Any, _Result]]


@overload
def transactional(function: _Method[_Parameters, _Result], /) -> _Method[_Parameters, _Result]: ...


@overload
def transactional(
    *,
    isolation: Isolation | None = None,
    read_only: bool = False,
    retries: int = 3,
    nested: bool = False,
) -> Callable[[_Method[_Parameters, _Result]], _Method[_Parameters, _Result]]: ...


def transactional(
    function: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    /,
    *,
    isolation: Isolation | None = None,
    read_only: bool = False,
    retries: int = 3,
    nested: bool = False,
) -> Any:
    """Make an async function or method one unit of work.

    It is committed when the function returns and rolled back when it raises or is cancelled: at the request's
    deadline, or when its client has left and ``cancel_on_disconnect`` is set. Called inside another unit it
    joins that one, whose end then decides. A failure that passes (SQLite's file was locked, a deadlock was
    resolved against it) runs the function again, so what it does besides the store has to bear repetition.

    Parameters:
        isolation: the least level of isolation; the store's default when left out.
        read_only: writing is refused; all reads see one state of the store.
        retries: how often it is run again, 0 to 10, after random pauses, within 5 s and the request's
            deadline.
        nested: inside another unit, undo only this part when it raises; siblings wait until it has ended.

    Raises:
        TypeError: what is decorated is not an async function.
        ValueError: a parameter is out of its range.
        UnavailableError: when called: the store was still busy after the last attempt.
        TransactionError: when called: it was used in a way that would break its promise.
    """
    level = known(isolation)
    if not 0 <= retries <= 10:
        raise ValueError(f"retries is between 0 and 10, not {retries}")

    def decorate(
        method: Callable[_Parameters, Coroutine[Any, Any, _Result]],
    ) -> Callable[_Parameters, Coroutine[Any, Any, _Result]]:
        if not inspect.iscoroutinefunction(method):
            name = getattr(method, "__qualname__", repr(method))
            raise TypeError(f"@transactional needs an async function, and {name} is not one")
        code = getattr(inspect.unwrap(method), "__code__", None)
        # Known once: who asks for the connection need not be looked for in each unit.
        rules = Rules(level, read_only, None if code is None else (code, code.co_firstlineno))

        @functools.wraps(method)
        async def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            outer = current_unit()
            if outer is not None:
                async with outer.part(rules, nested):
                    return await method(*args, **kwargs)
            attempts: Attempts | None = None
            begun = perf_counter()
            while True:
                unit = UnitOfWork(rules)
                try:
                    if attempts is None:
                        return await once(unit, args, kwargs)
                    async with attempts.turn():
                        return await once(unit, args, kwargs)
                except Exception as error:
                    attempts = attempts or Attempts(retries, begun)
                    if not unit.is_passing(error) or not await attempts.pause():
                        _raise_translated(unit, error)
                        raise

        async def once(unit: UnitOfWork, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Result:
            # As ``async with unit`` does, whose two calls cost as much as the rest of an empty unit.
            unit.enter()
            try:
                result = await method(*args, **kwargs)
            except BaseException:
                unit.leave()
                await unit.rollback()
                raise
            unit.leave()
            await unit.commit()
            if unit.is_idle and not read_only:
                warn_once(
                    f"{method.__qualname__} is one unit of work and used no store that takes part in "
                    "one; if it writes, it writes without it (see docs/patterns.md)"
                )
            return result

        return run

    return decorate if function is None else decorate(function)


def _raise_translated(unit: UnitOfWork, error: Exception) -> None:
    """Return where nothing is raised in place of ``error``, for it to be raised again as it is."""
    refusal = unit.translate(error)
    if refusal is not error:
        raise refusal from error
