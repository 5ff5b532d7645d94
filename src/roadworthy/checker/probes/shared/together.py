"""Requests at the same time: so many of one kind, and the end of those that need not be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

__all__ = ("end", "many")

_T = TypeVar("_T")


async def many(call: Callable[[], Awaitable[_T]], count: int, width: int = 8) -> list[_T]:
    """Call ``count`` times, at most ``width`` at a time; return the results in the order of their coming."""
    left, results = iter(range(count)), list[_T]()

    async def some() -> None:
        for _ in left:
            results.append(await call())

    await asyncio.gather(*(some() for _ in range(width)))
    return results


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end, whatever it is."""
    each = list(tasks)
    for task in each:
        task.cancel()
    await asyncio.gather(*each, return_exceptions=True)
