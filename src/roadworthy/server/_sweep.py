"""One timer for all connections of a server.

A timer per connection, moved with every request, costs a microsecond each time; a look at every connection a
few times a second costs next to nothing, and keeps a deadline to within a twentieth.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ._limits import Limits

__all__ = ("Sweep", "Watched")

_FRACTION = 20
_SHORTEST, _LONGEST = 0.02, 0.5


class Watched(Protocol):
    """What has deadlines: times of the event loop's clock, ``inf`` for none."""

    read_deadline: float
    write_deadline: float

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""


class Sweep:
    """Finds the connections whose deadline has passed.

    Parameters:
        limits: the shortest of its times decides how often it looks, 2 to 50 times a second.

    Attributes:
        timer: the one timer; None while there is nothing to watch.
    """

    def __init__(self, limits: Limits) -> None:
        shortest = min(limits.header_timeout, limits.body_timeout, limits.write_timeout, limits.keep_alive)
        self._every = max(_SHORTEST, min(_LONGEST, shortest / _FRACTION))
        self._watched: set[Watched] = set()
        self.timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a connection; the timer runs as long as there is one."""
        self._watched.add(connection)
        if self.timer is None or self._loop is not loop:
            self._loop = loop
            self.timer = loop.call_later(self._every, self._tick, loop)

    def discard(self, connection: Watched) -> None:
        """Forget a connection."""
        self._watched.discard(connection)
        if not self._watched and self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = [one for one in self._watched if one.read_deadline < now or one.write_deadline < now]
        for one in late:
            one.expire(now)
        self.timer = loop.call_later(self._every, self._tick, loop) if self._watched else None
