"""A bound on how many tasks do something at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

__all__ = ("Gate",)


class Gate:
    """Lets a number of tasks in at a time, the others in the order in which they came.

    Parameters:
        places: how many.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not one.done() for one in self._queue)

    def enter_now(self) -> bool:
        """Take a place if one is free; return whether it was."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def enter(self, wait: float) -> None:
        """Take a place.

        Parameters:
            wait: seconds to wait for it.

        Raises:
            TimeoutError: none was free in time.
        """
        if self.enter_now():
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(wait):
                await turn
        except BaseException:
            if turn.cancelled():
                with suppress(ValueError):
                    self._queue.remove(turn)
            else:  # it was this one's turn when it gave up
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to whoever has waited longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
