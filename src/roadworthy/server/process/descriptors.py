"""How many connections there is room for, within the descriptors that the process may have (RLIMIT_NOFILE).

The last eighth is not for clients: it is for files and pools that the app opens later, and for the operations
listener, so that probes and scrapes get through when nobody else does.
"""

from __future__ import annotations

import os
import resource
from math import inf

__all__ = ("Room", "operations_room", "public_room", "websocket_room")

_RESERVE = 8
"""One descriptor in eight is kept from clients."""
_WEBSOCKETS = 4
"""One place for a client in four is kept from WebSockets: they stay for hours, and nobody cuts them."""
_OPERATIONS = 16
"""Half of the reserve may be connections of the operations listener."""
_EVERY = 1.0
"""Seconds between two looks at what else is open; a look at a thousand descriptors takes 0.2 ms."""
_FOLDER = "/dev/fd"


class Room:
    """The places for connections.

    Parameters:
        descriptors: how many there may be in the process, of whatever kind, for a connection to stay.
        connections: how many there may be of these connections.
    """

    def __init__(self, descriptors: float = inf, connections: float = inf) -> None:
        self._descriptors = descriptors
        self._connections = connections
        self._others = 0
        self._look_at = -inf

    def has(self, connections: int, now: float) -> bool:
        """Return whether so many connections are not too many at the time ``now``, in seconds."""
        if connections > self._connections:
            return False
        if connections <= self._descriptors / 2:
            return True
        if now >= self._look_at:
            self._look_at = now + _EVERY
            self._others = max(0, _open_descriptors() - connections)
        return connections + self._others <= self._descriptors


def public_room() -> Room:
    """Return the room of the public listener."""
    return Room(_for_clients())


def operations_room() -> Room:
    """Return the room of the operations listener."""
    return Room(connections=max(2, _limit() // _OPERATIONS))


def websocket_room() -> float:
    """Return how many WebSockets there may be."""
    places = _for_clients()
    return places - places // _WEBSOCKETS if places != inf else inf


def _for_clients() -> float:
    limit = _limit()
    return limit - limit // _RESERVE if limit != inf else inf


def _limit() -> float:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return inf if descriptors == resource.RLIM_INFINITY else float(descriptors)


def _open_descriptors() -> int:
    try:
        return len(os.listdir(_FOLDER))
    except OSError:
        return 0
