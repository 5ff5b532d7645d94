"""One timer for all connections of a server, and room for the next one.

A timer per connection, moved with every request, costs a microsecond each time; a look at every connection a
few times a second costs next to nothing, and keeps a deadline to within a twentieth.

Before the process has no descriptor left, a new connection takes the place of the one that has been without a
complete request for longest. Otherwise a thousand clients that never finish their request would keep every
other out for as long as a deadline takes, and for good when they come again (Slowloris).
"""

from __future__ import annotations

import asyncio
import resource
from math import inf
from typing import Protocol

from ._limits import Limits
from ._uvicorn_names import State

__all__ = ("Sweep", "Watched")

_FRACTION = 20
_SHORTEST, _LONGEST = 0.02, 0.5
_RESERVE = 8
"""One descriptor in eight is for the app's own files and connections, and for many that come at once."""


class Watched(Protocol):
    """What has deadlines: times of the event loop's clock, ``inf`` for none."""

    read_deadline: float
    write_deadline: float

    @property
    def state(self) -> State:
        """What all connections of the server share, WebSockets too."""
        ...

    @property
    def dispensable(self) -> bool:
        """Whether nothing that is in progress is lost when it closes."""
        ...

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""


class Sweep:
    """Finds the connections whose deadline has passed.

    Parameters:
        limits: the shortest of its times decides how often it looks, 2 to 50 times a second.
        most: connections that there may be; by default as many as there may be descriptors, less some.

    Attributes:
        timer: the one timer; None while there is nothing to watch.
    """

    def __init__(self, limits: Limits, most: float | None = None) -> None:
        shortest = min(limits.header_timeout, limits.body_timeout, limits.write_timeout, limits.keep_alive)
        self._every = max(_SHORTEST, min(_LONGEST, shortest / _FRACTION))
        self._most = _room() if most is None else most
        # In order of their coming, which decides between deadlines of the same tick of the loop's clock.
        self._watched: dict[Watched, None] = {}
        self.timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a connection; the timer runs as long as there is one."""
        if len(connection.state.connections) > self._most:
            self._make_room(loop.time())
        self._watched[connection] = None
        if self.timer is None or self._loop is not loop:
            self._loop = loop
            self.timer = loop.call_later(self._every, self._tick, loop)

    def discard(self, connection: Watched) -> None:
        """Forget a connection."""
        self._watched.pop(connection, None)
        if not self._watched and self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _make_room(self, now: float) -> None:
        first = min(
            (one for one in self._watched if one.dispensable), key=lambda one: one.read_deadline, default=None
        )
        if first is not None:
            first.read_deadline = 0.0
            first.expire(now)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = [one for one in self._watched if one.read_deadline < now or one.write_deadline < now]
        for one in late:
            one.expire(now)
        self.timer = loop.call_later(self._every, self._tick, loop) if self._watched else None


def _room() -> float:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return inf if descriptors == resource.RLIM_INFINITY else descriptors - descriptors // _RESERVE
