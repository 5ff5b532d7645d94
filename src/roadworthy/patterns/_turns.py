"""Turns: the tasks of one unit of work share its one transaction, and a nested part has it for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Self

from .stores import TransactionError

__all__ = ("Turns",)


class Turns:
    """The turns of a unit of work, or of a nested part of one.

    A nested part takes one turn of what it stands in, for all its time: what a sibling did meanwhile would be
    undone with it. Its own tasks take the turns that the part has.
    """

    def __init__(self, outer: Turns | None = None) -> None:
        self._outer = outer
        self._root: Turns = self if outer is None else outer._root
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None
        self._hold: object | None = None
        self._over = False
        self._nested_by: asyncio.Task[object] | None = None

    @property
    def is_nested_elsewhere(self) -> bool:
        """Whether a nested part of another task has all turns."""
        return self._nested_by not in {None, asyncio.current_task()}

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[None]:
        """Keep other tasks of the unit from its transaction; whoever holds it may ask again.

        Raises:
            TransactionError: a task that was begun by the holder, who may wait for it, asks as well.
        """
        while True:
            turns = self._innermost()
            async with turns._held():
                if turns._over:  # while it was waited for
                    continue
                yield
                return

    @asynccontextmanager
    async def nest(self) -> AsyncGenerator[Turns]:
        """Take one turn for a nested part, whose tasks take turns among themselves."""
        async with self.take():
            inner = Turns(self._innermost())
            before, nested_by = _here.get(), self._nested_by
            _here.set(inner)
            self._nested_by = asyncio.current_task()
            try:
                yield inner
            finally:
                inner._over = True
                self._nested_by = nested_by
                _here.set(before)

    @asynccontextmanager
    async def last(self) -> AsyncGenerator[None]:
        """Take the last turn of a nested part."""
        async with self._held():
            self._over = True
            yield

    def _innermost(self) -> Turns:
        found = _here.get()
        while found is not None and (found._over or found._root is not self._root):
            found = found._outer
        return found or self

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[Self]:
        task, before = asyncio.current_task(), _held.get()
        if self._holder is not None and self._holder is task:
            yield self
            return
        if self._hold is not None and before is self._hold:
            raise TransactionError(
                "the connection of this unit of work is held by the block that began this task; "
                "leave `async with database.connection()` before fan_out, gather and the like"
            )
        async with self._lock:
            self._holder, self._hold = task, object()
            _held.set(self._hold)
            try:
                yield self
            finally:
                self._holder = self._hold = None
                _held.set(before)


_here: ContextVar[Turns | None] = ContextVar("roadworthy_turns", default=None)
_held: ContextVar[object | None] = ContextVar("roadworthy_turn", default=None)
