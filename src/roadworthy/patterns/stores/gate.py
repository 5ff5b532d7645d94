"""A bound on how many tasks do something at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from .sweep import Sweep

__all__ = ("Gate",)


class Gate:
    """Lets a number of tasks in at a time, the others in the order in which they came.

    Parameters:
        places: how many.
        wait: seconds that each waits; without an end when left out.
    """

    def __init__(self, places: int, wait: float | None = None) -> None:
        self._free = places
        self._sweep = None if wait is None else Sweep(wait)
        self._queue: deque[asyncio.Future[None]] | None = None  # until somebody waits

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not one.done() for one in self._queue or ())

    def enter_now(self) -> bool:
        """Take a place if one is free; return whether it was."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def enter(self) -> None:
        """Take a place.

        Raises:
            TimeoutError: none was free in time.
        """
        if self.enter_now():
            return
        turn = asyncio.get_running_loop().create_future()
        if self._queue is None:
            self._queue = deque()
        self._queue.append(turn)
        watched = None if self._sweep is None else self._sweep.watch(_refuse, turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # it was this one's turn when it gave up
            else:
                with suppress(ValueError):
                    self._queue.remove(turn)
            raise
        finally:
            if watched is not None:
                watched.is_over = True

    def leave(self) -> None:
        """Give the place to whoever has waited longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _refuse(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
