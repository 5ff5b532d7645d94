"""Fan-out: independent reads at the same time, in bounded number, none of them left behind.

What ``asyncio.gather`` leaves to its caller is done here: the bound, the deadline, the end of the siblings
when one fails. Every child has ended when the call has, unless one does not let itself be cancelled; that one
is named in a record.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast, overload

from ..ambient import smallest_pool
from ..errors import APIError, TimeoutError
from ..exits import Contained

__all__ = ("FanOut", "fan_out")

_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")
_D = TypeVar("_D")
_E = TypeVar("_E")
_All = TypeVar("_All", covariant=True)
_One = TypeVar("_One", covariant=True)

_UNWIND = 1.0
"""Seconds that a cancelled child gets to end, as the layer gives to a request at its deadline. After that it
is left to itself: the caller's own deadline must hold."""

_WITHOUT_POOL = 8
"""Children at once where no pool is open: what a client of several remote services uses by custom."""
_LEAST = 2

_NO_MORE: Any = object()

_log = logging.getLogger("roadworthy.fan_out")


class FanOut(Generic[_All, _One]):
    """Children that run at the same time: ``await`` it for all results, or go through them as they complete.

    It is used once. :func:`fan_out` makes it and describes it.
    """

    def __init__(
        self,
        children: Iterable[Awaitable[Any]],
        limit: int | None,
        timeout: float | None,
        partial: bool,
        collect: Callable[[list[Any]], _All],
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is how many children run at once, at least 1, not {limit}")
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout is more than 0 seconds, or None for none, not {timeout}")
        self._children: Iterator[Awaitable[Any]] = iter(children)
        self._made_before = self._children is not children
        self._limit = limit
        self._timeout = timeout
        self._partial = partial
        self._collect = collect
        self._bound = 0
        self._begun = 0
        self._running: dict[asyncio.Future[Any], int] = {}
        self._ended: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failed: asyncio.Future[Any] | None = None
        self._late = False
        self._cancelled = False
        self._left = False

    def __await__(self) -> Generator[Any, None, _All]:
        return self._gather().__await__()

    async def _gather(self) -> _All:
        async with self:
            results = {index: result async for index, result in self}
        return self._collect([results[index] for index in range(len(results))])

    async def __aenter__(self) -> Self:
        if self._bound:
            raise RuntimeError("a fan-out is used once; make another one")
        self._bound = self._limit or _default_bound()
        if self._timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._drop_rest()
        try:
            await self._end()
        finally:
            unseen = [child for _, child in self._ended]
            self._ended.clear()
            for child in [*unseen, self._failed] if self._failed is not None else unseen:
                failure = None if child.cancelled() else child.exception()
                if failure is not None and not _has_record(failure, error):
                    _log.error("a further child of a fan-out failed", exc_info=failure)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, _One]:
        if not self._bound:
            raise RuntimeError("go through a fan-out inside of its block: async with fan_out(…) as results")
        while True:
            if self._failed is not None:
                failed, self._failed = self._failed, None
                self._result(failed)
            if self._late:
                return await self._next_after_deadline()
            self._begin()
            if self._ended:
                index, child = self._ended.popleft()
                return index, self._result(child)
            if not self._running:
                raise StopAsyncIteration
            await self._news()

    def _begin(self) -> None:
        """Begin children up to the bound; each has a copy of the caller's context."""
        # Results that nobody has taken yet count too, so that a slow reader slows the children down.
        while len(self._running) + len(self._ended) < self._bound:
            child = next(self._children, _NO_MORE)
            if child is _NO_MORE:
                return
            if inspect.iscoroutine(child):
                child = Contained(child)
            task: asyncio.Future[Any] = asyncio.ensure_future(child)
            if task in self._running:
                task = asyncio.ensure_future(_again(task))
            self._running[task] = self._begun
            self._begun += 1
            task.add_done_callback(self._done)

    def _done(self, child: asyncio.Future[Any]) -> None:
        index = self._running.pop(child)
        if self._partial or self._cancelled or not _has_failed(child):
            self._ended.append((index, child))
        else:
            # Here and not where the result is asked for: the siblings' work is in vain from now on.
            self._failed = child
            self._cancel()
        self._wake()

    def _expire(self) -> None:
        self._late = True
        self._cancel()
        self._wake()

    def _cancel(self) -> None:
        # Once: a second time would break into what a child does to end.
        if not self._cancelled:
            self._cancelled = True
            for child in self._running:
                child.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _news(self, seconds: float | None = None) -> None:
        """Wait until a child ends, the deadline passes or ``seconds`` are over."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _result(self, child: asyncio.Future[Any]) -> Any:
        if child.cancelled():
            # Passed on as it is, it would look as if the caller had been cancelled.
            failure: BaseException | None = RuntimeError("a child of fan_out was cancelled from outside")
        else:
            failure = child.exception()
        if failure is None:
            return child.result()
        if self._partial and isinstance(failure, Exception):
            return failure
        try:
            raise failure
        finally:
            del failure  # it holds this frame, which would hold it

    async def _next_after_deadline(self) -> tuple[int, _One]:
        if not self._partial:
            raise TimeoutError("The fan-out took longer than its deadline")
        await self._end()
        if self._ended:
            index, child = self._ended.popleft()
            return index, cast("_One", TimeoutError() if child.cancelled() else self._result(child))
        if self._running:
            # It has not let itself be cancelled; the caller's list has a place for it all the same.
            child, index = self._running.popitem()
            child.remove_done_callback(self._done)
            return index, cast("_One", TimeoutError())
        unbegun = next(self._children, _NO_MORE)
        if unbegun is _NO_MORE:
            raise StopAsyncIteration
        _close(unbegun)
        self._begun += 1
        return self._begun - 1, cast("_One", TimeoutError())

    async def _end(self) -> None:
        """Cancel what runs and wait until it has ended, or :data:`_UNWIND` is over."""
        self._cancel()
        loop = asyncio.get_running_loop()
        until = loop.time() + _UNWIND
        while self._running and not self._left and (left := until - loop.time()) > 0:
            await self._news(left)
        if self._running and not self._left:
            self._left = True
            names = sorted(_name(child) for child in self._running)
            _log.error("children do not let themselves be cancelled", extra={"children": names})

    def _drop_rest(self) -> None:
        """Close the coroutines that will not be begun, each of which would warn of it otherwise."""
        if self._made_before:
            for child in self._children:
                _close(child)


@overload
def fan_out(
    first: Awaitable[_A], second: Awaitable[_B], /, *, limit: int | None = ..., timeout: float | None = ...
) -> FanOut[tuple[_A, _B], _A | _B]: ...


@overload
def fan_out(
    first: Awaitable[_A],
    second: Awaitable[_B],
    third: Awaitable[_C],
    /,
    *,
    limit: int | None = ...,
    timeout: float | None = ...,
) -> FanOut[tuple[_A, _B, _C], _A | _B | _C]: ...


@overload
def fan_out(
    first: Awaitable[_A],
    second: Awaitable[_B],
    third: Awaitable[_C],
    fourth: Awaitable[_D],
    /,
    *,
    limit: int | None = ...,
    timeout: float | None = ...,
) -> FanOut[tuple[_A, _B, _C, _D], _A | _B | _C | _D]: ...


@overload
def fan_out(
    first: Awaitable[_A],
    second: Awaitable[_B],
    third: Awaitable[_C],
    fourth: Awaitable[_D],
    fifth: Awaitable[_E],
    /,
    *,
    limit: int | None = ...,
    timeout: float | None = ...,
) -> FanOut[tuple[_A, _B, _C, _D, _E], _A | _B | _C | _D | _E]: ...


@overload
def fan_out(
    children: Iterable[Awaitable[_A]],
    /,
    *,
    limit: int | None = ...,
    timeout: float | None = ...,
    partial: Literal[False] = ...,
) -> FanOut[list[_A], _A]: ...


@overload
def fan_out(
    children: Iterable[Awaitable[_A]],
    /,
    *,
    limit: int | None = ...,
    timeout: float | None = ...,
    partial: Literal[True],
) -> FanOut[list[_A | Exception], _A | Exception]: ...


def fan_out(
    *children: Any, limit: int | None = None, timeout: float | None = None, partial: bool = False
) -> FanOut[Any, Any]:
    """Run awaitables at the same time and return their results in the order in which they were given.

    ``user, posts = await fan_out(users.get(id), posts.list(id))`` is the guide's ``asyncio.gather``;
    ``await fan_out(users.find(id) for id in ids)`` its goroutines. A generator is asked for the next one when
    there is room for it, so that a thousand ids are not a thousand coroutines. Results as they complete, each
    with its place::

        async with fan_out(users.find(id) for id in ids) as results:
            async for index, user in results:
                ...

    Leaving the block ends the children that still run.

    Every child is a task with a copy of the caller's context: records in it bear the request's id. Inside a
    unit of work children take part in it, and take turns on its one connection.

    Parameters:
        children: two to five awaitables, or one iterable of any number.
        limit: how many run at once, at least 1. When left out: half of the smallest open pool of connections,
            so that one request does not keep all others from the database; 8 without one.
        timeout: seconds for all of it, None for no deadline but the request's own.
        partial: put the exception of a child that fails into its place, and :class:`roadworthy.TimeoutError`
            into the places of those that the deadline ended, instead of raising. What is in the list is the
            caller's to look at: nothing records it.

    Raises:
        Exception: what the first child to fail raised. The others are cancelled at once and have ended by
            then; one that fails by itself has a record of its own, unless it says the same (the store is
            away) or is a refusal below 500.
        roadworthy.TimeoutError: the deadline passed.
        ValueError: ``limit`` or ``timeout`` is out of range.
        TypeError: a single argument that is no iterable.

    Source: Nathaniel J. Smith, "Notes on structured concurrency" (2018); Python documentation,
    ``asyncio.TaskGroup``.
    """
    if len(children) != 1:
        return FanOut(children, limit, timeout, partial, tuple)
    (only,) = children
    if isinstance(only, Awaitable) or not isinstance(only, Iterable):
        _close(cast("object", only))
        raise TypeError("fan_out takes several awaitables, or one iterable of them")
    return FanOut(cast("Iterable[Awaitable[Any]]", only), limit, timeout, partial, list)


def _default_bound() -> int:
    """Return how many children run at once: half of the smallest open pool, at least two.

    One request must leave connections to the others (fastapi/full-stack-fastapi-template#104).
    """
    smallest = smallest_pool()
    return _WITHOUT_POOL if smallest is None else min(max(_LEAST, smallest // 2), smallest)


async def _again(task: asyncio.Future[_A]) -> _A:
    return await task


def _has_failed(child: asyncio.Future[Any]) -> bool:
    return child.cancelled() or child.exception() is not None


def _has_record(failure: BaseException, raised: BaseException | None) -> bool:
    """Return whether a failed child needs no record of its own.

    A refusal (404) is an answer that came too late; nobody records those of handlers either. Of an outage
    that several children met (503), the one that is raised has the record.
    """
    if not isinstance(failure, APIError):
        return False
    return failure.status < 500 or (
        isinstance(raised, APIError)
        and type(failure) is type(raised)
        and (failure.status, failure.code, failure.message) == (raised.status, raised.code, raised.message)
    )


def _close(child: object) -> None:
    if inspect.iscoroutine(child):
        child.close()


def _name(child: asyncio.Future[Any]) -> str:
    coroutine = child.get_coro() if isinstance(child, asyncio.Task) else child
    return getattr(coroutine, "__qualname__", type(coroutine).__name__)
