"""Turns: the tasks of one unit of work share its one transaction, and a nested part has it for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from .stores import TransactionError
from .stores.gate import Gate

__all__ = ("Lent", "Turns")

_Lent = TypeVar("_Lent")


class Turns(Gate):
    """The turns of a unit of work, or of a nested part of one.

    A nested part takes one turn of what it stands in, for all its time: what a sibling did meanwhile would be
    undone with it. Its own tasks take the turns that the part has.

    :meth:`enter_now` and :meth:`leave` are for what asks for no other turn and starts no task meanwhile.
    """

    def __init__(self, outer: Turns | None = None) -> None:
        super().__init__(1)
        self._outer = outer
        self._holder: asyncio.Task[object] | None = None
        self._hold: object | None = None
        self.over = False
        """Whether the nested part has ended, and what it stands in gives the turns."""
        self._nested_by: asyncio.Task[object] | None = None

    @property
    def is_nested_elsewhere(self) -> bool:
        """Whether a nested part of another task has all turns."""
        return self._nested_by not in {None, asyncio.current_task()}

    @asynccontextmanager
    async def nest(self) -> AsyncGenerator[Turns]:
        """Take one turn for a nested part, whose tasks take turns among themselves."""
        async with _Turn(self):
            inner = Turns(self.innermost())
            before, nested_by = _here.get(), self._nested_by
            _here.set(inner)
            self._nested_by = asyncio.current_task()
            try:
                yield inner
            finally:
                inner.over = True
                self._nested_by = nested_by
                _here.set(before)

    @asynccontextmanager
    async def last(self) -> AsyncGenerator[None]:
        """Take the last turn of a nested part."""
        async with self._held():
            self.over = True
            yield

    def innermost(self) -> Turns:
        """Return the turns of the innermost part that the running code stands in."""
        found = _here.get()
        while found is not None and (found.over or found._root() is not self._root()):
            found = found._outer
        return found or self

    def _root(self) -> Turns:
        found = self
        while found._outer is not None:
            found = found._outer
        return found

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        before = _held.get()
        taken = await self.seize()
        try:
            yield
        finally:
            if taken:
                self.let_go(before)

    async def seize(self) -> bool:
        """Wait for the turn; return whether it was not this task's already."""
        task = asyncio.current_task()
        if self._holder is not None and self._holder is task:
            return False
        if self._hold is not None and _held.get() is self._hold:
            raise TransactionError(
                "the connection of this unit of work is held by the block that began this task; "
                "leave `async with database.connection()` before fan_out, gather and the like"
            )
        await self.enter()
        self._holder, self._hold = task, object()
        _held.set(self._hold)
        return True

    def let_go(self, before: object | None) -> None:
        """Give the turn back.

        Parameters:
            before: what the task held before.
        """
        self._holder = self._hold = None
        _held.set(before)
        self.leave()


class _Turn(AbstractAsyncContextManager[None]):
    """A turn; whoever has it may ask again.

    Raises:
        TransactionError: a task that was begun by the holder, who may wait for it, asks as well.
    """

    # A class: a generator costs three times as much.
    __slots__ = ("_before", "_taken", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._taken = False
        self._before: object | None = None

    async def __aenter__(self) -> None:
        outermost = self._turns
        while True:
            self._turns = turns = outermost.innermost()
            self._before = _held.get()
            self._taken = await turns.seize()
            if not turns.over:
                return
            if self._taken:  # it ended while it was waited for
                turns.let_go(self._before)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._taken:
            self._turns.let_go(self._before)


class Lent(AbstractAsyncContextManager[_Lent]):
    """What is lent for a turn.

    Parameters:
        turns: whose.
        owner: that ``find`` is called with.
        find: returns it to whoever has the turn.
    """

    __slots__ = ("_find", "_owner", "_turn")

    def __init__(self, turns: Turns, owner: Any, find: Callable[[Any], Awaitable[_Lent]]) -> None:
        self._owner = owner
        self._find = find
        self._turn = _Turn(turns)

    async def __aenter__(self) -> _Lent:
        await self._turn.__aenter__()
        try:
            return await self._find(self._owner)
        except BaseException:
            await self._turn.__aexit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._turn.__aexit__(kind, error, trace)


_here: ContextVar[Turns | None] = ContextVar("roadworthy_turns", default=None)
_held: ContextVar[object | None] = ContextVar("roadworthy_turn", default=None)
