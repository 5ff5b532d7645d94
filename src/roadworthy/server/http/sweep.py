"""One timer for all connections of a server, and room for the next one.

A timer per connection, moved with every request, costs a microsecond each time; a look at every connection a
few times a second costs next to nothing, and keeps a deadline to within a twentieth.

Before the process has no descriptor left, a new connection takes the place of the one that has been without a
complete request for longest; one whose body arrives too slowly comes last. Otherwise a thousand clients that
never finish their request would keep every other out for as long as a deadline takes, and for good when they
come again (Slowloris). What has a complete request or is a WebSocket is not cut for a newcomer: where there
is nothing else, the newcomer is refused.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol

from ..process.descriptors import Room
from ..process.uvicorn_names import State
from .limits import Limits
from .transport import Stream

__all__ = ("Sweep", "Watched")

_FRACTION = 20
_SHORTEST, _LONGEST = 0.02, 0.5
_NEVER = 9
_REFUSED = 8
"""Connections that were refused for want of room and whose clients may still be reading that."""


class Watched(Protocol):
    """What has deadlines: times of the event loop's clock, ``inf`` for none."""

    read_deadline: float

    @property
    def stream(self) -> Stream:
        """Which has the other deadline."""
        ...

    @property
    def server_state(self) -> State:
        """What all connections of uvicorn's server share, WebSockets too."""
        ...

    def place_in_line(self, now: float) -> tuple[int, float] | None:
        """Return when its turn is to give way to a new connection, the lowest first; None for never."""
        ...

    def give_way(self) -> None:
        """Close, so that a new connection finds room."""

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""


class Sweep:
    """Finds the connections whose deadline has passed.

    Parameters:
        limits: the shortest of its times decides how often it looks, 2 to 50 times a second.
        room: how many connections there may be; any number when left out.

    Attributes:
        timer: the one timer; None while there is nothing to watch.
    """

    def __init__(self, limits: Limits, room: Room | None = None) -> None:
        shortest = min(limits.header_timeout, limits.body_timeout, limits.write_timeout, limits.keep_alive)
        self._every = max(_SHORTEST, min(_LONGEST, shortest / _FRACTION))
        self._room = room or Room()
        # In order of their coming, which decides between deadlines of the same tick of the loop's clock.
        self._watched: dict[Watched, None] = {}
        self._refused: dict[Watched, None] = {}
        self.timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a connection; the timer runs as long as there is one."""
        self._watched[connection] = None
        if self.timer is None or self._loop is not loop:
            self._loop = loop
            self.timer = loop.call_later(self._every, self._tick, loop)

    def has_room(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether a new connection may stay, which may cost another one its place."""
        now = loop.time()
        if self._room.has(len(connection.server_state.connections), now):
            return True
        first: Watched | None = None
        place = (_NEVER, inf)
        for one in self._watched:
            its = one.place_in_line(now)
            if its is not None and its < place and one is not connection and one not in self._refused:
                first, place = one, its
        if first is not None:
            first.give_way()
            return True
        self._refused[connection] = None
        if len(self._refused) > _REFUSED:
            next(iter(self._refused)).give_way()
        return False

    def discard(self, connection: Watched) -> None:
        """Forget a connection."""
        self._watched.pop(connection, None)
        self._refused.pop(connection, None)
        if not self._watched and self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = [one for one in self._watched if one.read_deadline < now or one.stream.write_deadline < now]
        if late:
            # The loop may have been busy for longer than a deadline. What arrived meanwhile is in time and
            # still in the kernel: uvloop runs timers before it reads again. So let it read first; the second
            # of two callbacks in a row runs after a poll.
            loop.call_soon(loop.call_soon, self._expire, late, now)
        self.timer = loop.call_later(self._every, self._tick, loop) if self._watched else None

    def _expire(self, late: list[Watched], now: float) -> None:
        for one in late:
            if one in self._watched:
                one.expire(now)
