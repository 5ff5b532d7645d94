"""What may happen to an open WebSocket, and what comes of it: one table, like that of an HTTP connection."""

from __future__ import annotations

from math import inf
from typing import Literal, get_args

from ..http.states import LINGER_SECONDS, table

__all__ = ("PING", "STATES", "TABLE", "Action", "Event", "State", "seconds")

State = Literal["open", "ending", "linger", "closing", "leaving", "gone"]
"""``ending``: we have sent a close frame, and wait for the client's; ``linger``: both have, and what still
comes is thrown away; ``closing``: closed once the transport has sent what it holds; ``leaving``: the same, at
the end of the server; ``gone``: the transport is lost."""

Event = Literal["data", "parted", "sent", "over", "full", "lost", "late", "stop"]
"""``data`` has come; we have sent a close frame (``parted``); the last frame is ``sent``, and the client may
not have seen it; it is ``over``; too much was thrown away (``full``); the transport is ``lost``; the
deadline is over (``late``); the server shuts down (``stop``)."""

Action = Literal["take", "discard", "shut", "close", "leave", "look", "press", "abort"]
"""Methods of the WebSocket, which may be an event again; the first two take the data."""

STATES: tuple[State, ...] = get_args(State)

_ENTRIES: dict[State, Action] = {"linger": "shut", "closing": "close", "leaving": "close", "gone": "leave"}

# See the table of `server/http/states.py`.
# fmt: off
_ANSWERS: dict[Event, tuple[State | Action | Literal["-"], ...]] = {
    #          open       ending     linger     closing    leaving
    "data":   ("take",    "take",    "discard", "discard", "discard"),
    "parted": ("ending",  "-",       "-",       "-",       "-"),
    "sent":   ("linger",  "linger",  "-",       "-",       "-"),
    "over":   ("closing", "closing", "closing", "-",       "-"),
    "full":   ("-",       "-",       "closing", "-",       "-"),
    "lost":   ("gone",    "gone",    "gone",    "gone",    "gone"),
    "late":   ("look",    "closing", "closing", "press",   "abort"),
    "stop":   ("leaving", "leaving", "leaving", "leaving", "-"),
}
# fmt: on

TABLE: dict[Event, dict[State, tuple[State | None, Action | None]]] = table(STATES, _ENTRIES, _ANSWERS)
"""By event and state: the state that is entered, and what is done."""

PING = 20.0
"""Seconds of silence after which a client is asked whether it is there, and after which it is not: below the
60 s after which proxies drop a connection, and what uvicorn does."""
_CLOSE = 10.0
"""Seconds that a client has to answer a close frame."""
_LAST = 1.0
"""Seconds that a client has to take the close frame of a server that shuts down: one that does not read does
not decide how long that takes."""


def seconds(write_timeout: float) -> dict[State, float]:
    """Return how long a WebSocket stays in each state before it is ``late``.

    Parameters:
        write_timeout: seconds, see :class:`roadworthy.server.http.limits.Limits`.
    """
    return {
        "open": PING,
        "ending": _CLOSE,
        "linger": LINGER_SECONDS,
        "closing": write_timeout,
        "leaving": _LAST,
        "gone": inf,
    }
