"""Wakes whoever waits for something to hold, whenever there may be news about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ("News",)


class News:
    """The events of a connection or a process, for those that wait for them."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()

    async def wait(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``holds``, which is asked now and at each announcement; False when it never did."""
        try:
            async with asyncio.timeout(seconds), self._condition:
                await self._condition.wait_for(holds)
        except TimeoutError:
            return False
        return True

    async def announce(self) -> None:
        """Let those who wait look again."""
        async with self._condition:
            self._condition.notify_all()
