"""How a unit of work begins again after a failure that passes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter

from ._request import time_left

__all__ = ("Attempts",)

_BUDGET = 5.0
"""Seconds in which a unit may begin again, where its request has no deadline or a later one. A caller that
waits longer for a write has given up: the default of SQLite drivers and of connection pools is of this
order."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
"""Seconds before the second attempt and at most, each drawn from 0 to this ("full jitter": M. Brooker,
Exponential Backoff And Jitter, AWS Architecture Blog 2015). 10 ms is about one commit to a disk."""


class _Lane:
    """One unit at a time in this process, of those that have failed before.

    Fifty units that change one row fail forty-nine times for each that commits, as long as all of them begin
    again together. In turn, each of them meets only those of other processes and those that begin.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, longest: float) -> AsyncGenerator[None]:
        """Wait for the turn for at most ``longest`` seconds; then go on without: the unit that has it may
        itself wait for one that wants it.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock = loop, asyncio.Lock()
        lock = self._lock
        try:
            async with asyncio.timeout(longest):
                await lock.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            lock.release()


_lane = _Lane()


class Attempts:
    """The attempts of one unit of work after the first, which has failed.

    Parameters:
        most: how many after the first.
        begun: when the first began, in the seconds of ``perf_counter``.
    """

    def __init__(self, most: int, begun: float) -> None:
        self._most = most
        self._made = 0
        self._until = min(begun + _BUDGET, perf_counter() + time_left())

    async def pause(self) -> bool:
        """Wait for a random time before the next attempt; False, at once, where there is to be none."""
        pause = random.uniform(0.0, min(_FIRST_PAUSE * 2**self._made, _LONGEST_PAUSE))  # noqa: S311
        if self._made >= self._most or perf_counter() + pause >= self._until:
            return False
        self._made += 1
        await asyncio.sleep(pause)
        return True

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Hold the turn of those that begin again while the unit is at work."""
        return _lane.turn(min(_LONGEST_PAUSE, max(0.0, self._until - perf_counter())))
