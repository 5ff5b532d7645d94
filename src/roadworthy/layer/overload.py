"""Overload: a ceiling on work in flight, with a short queue in front of it.

Beyond what the service can do at once, every further request only makes all of them slower. Those that do not
fit are refused at once (503 with Retry-After), which costs a fraction of serving them.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import Limit, UnavailableError, refused_by
from ..settings import Settings

__all__ = ("Overload",)


class Overload:
    """Counts work in flight and lets at most ``max_in_flight`` of it run.

    Parameters:
        settings: ``max_in_flight`` requests at once, ``queue_size`` requests waiting for at most
            ``queue_timeout`` seconds each.
    """

    def __init__(self, settings: Settings) -> None:
        self.in_flight = 0
        self.shed = 0
        self._ceiling = settings.max_in_flight
        self._queue_size = settings.queue_size
        self._queue_timeout = settings.queue_timeout
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def enter(self) -> bool:
        """Take a place if one is free at once."""
        if self.in_flight >= self._ceiling or self._waiting:
            return False
        self.in_flight += 1
        return True

    async def wait(self) -> UnavailableError | None:
        """Wait for a place; the error means that none became free."""
        if len(self._waiting) >= self._queue_size:
            return self._shed(Limit("QUEUE_SIZE", self._queue_size, "requests"))
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._queue_timeout):
                await place
        except TimeoutError:
            if not place.cancelled():
                return None  # it was handed over at the very last moment
            return self._shed(Limit("QUEUE_TIMEOUT", self._queue_timeout, "seconds"))
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave()  # the place was handed over to a request that is gone
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)
        return None

    def _shed(self, limit: Limit) -> UnavailableError:
        self.shed += 1
        return refused_by(UnavailableError("The service is at its limit; try again shortly"), limit)

    def leave(self) -> None:
        """Give a place back, to the first in the queue if there is one."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)  # the place changes hands: in_flight stays
                return
        self.in_flight -= 1
