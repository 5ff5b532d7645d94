"""What may happen to an HTTP connection, and what comes of it: one table, and nothing besides.

fresh → busy → idle → busy …   requests that came whole, and what answers them
… → head → body → busy         a request that comes in pieces; it may stand behind the one that is answered
… → deaf → linger → closing    nothing more is read as a request; all is sent; the transport closes
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Literal, TypeVar, cast, get_args

from .limits import Limits

__all__ = (
    "ENTRIES",
    "LINGER_SECONDS",
    "READING",
    "STATES",
    "TABLE",
    "Action",
    "Event",
    "State",
    "seconds",
    "table",
)

State = Literal["fresh", "idle", "head", "body", "busy", "deaf", "linger", "closing", "gone"]
"""``fresh``: nothing has come yet; ``idle``: between requests; ``head``, ``body``: a request is not complete;
``busy``: what is complete is being answered, and what comes waits; ``deaf``: the same, and what comes is
thrown away; ``linger``: the last response is sent and writing is shut down, what still comes is thrown away;
``closing``: closed once the transport has sent what it holds; ``gone``: the transport is lost, or has become
a WebSocket's."""

Event = Literal[
    "data", "begun", "headed", "whole", "held", "broken",
    "free", "sent", "over", "full", "lost",
    "eof", "late", "crowded", "stop",
]  # fmt: skip
"""From the parser: ``data`` has come; a request has ``begun``, its head is complete (``headed``), it is
``whole``; the rest is ``held`` back until an answer is out; nothing behind this can be read (``broken``).

From the responses: the connection is ``free`` for the next request; the last response is ``sent``, and the
client may not have seen it; it is ``over``; too much was thrown away (``full``); the transport is ``lost``.

From outside: the client sends no more (``eof``), the deadline is over (``late``), a newcomer needs the place
(``crowded``), the server shuts down (``stop``)."""

Action = Literal[
    "feed", "keep", "discard", "hold",
    "clock", "shut", "close", "leave",
    "half", "timeout", "measure", "press", "squeeze", "hurry", "last",
]  # fmt: skip
"""Methods of the connection, which may be an event again; all but the first three without arguments."""

STATES: tuple[State, ...] = get_args(State)
READING: frozenset[State] = frozenset(("fresh", "idle", "head", "body", "busy"))
"""States in which what comes is a request, or will be."""

ENTRIES: dict[State, Action] = {"body": "clock", "linger": "shut", "closing": "close", "gone": "leave"}
"""What is done when a state is entered, wherever from."""

# A word is the state that is entered, or else what is done in this one; "-" is nothing. Nothing leads out of
# `gone`, which has no column.
# fmt: off
_ANSWERS: dict[Event, tuple[State | Action | Literal["-"], ...]] = {
    #            fresh      idle       head       body       busy       deaf       linger     closing
    "data":    ("feed",    "feed",    "feed",    "feed",    "keep",    "discard", "discard", "discard"),
    "begun":   ("head",    "head",    "head",    "head",    "head",    "-",       "-",       "-"),
    "headed":  ("body",    "body",    "body",    "body",    "body",    "-",       "-",       "-"),
    "whole":   ("busy",    "busy",    "busy",    "busy",    "busy",    "-",       "-",       "-"),
    "held":    ("busy",    "busy",    "busy",    "busy",    "busy",    "-",       "-",       "-"),
    "broken":  ("deaf",    "deaf",    "deaf",    "deaf",    "deaf",    "-",       "-",       "-"),
    "free":    ("-",       "-",       "-",       "-",       "idle",    "-",       "-",       "-"),
    "sent":    ("linger",  "linger",  "linger",  "linger",  "linger",  "linger",  "-",       "-"),
    "over":    ("closing", "closing", "closing", "closing", "closing", "closing", "closing", "-"),
    "full":    ("-",       "-",       "-",       "-",       "-",       "hold",    "closing", "-"),
    "lost":    ("gone",    "gone",    "gone",    "gone",    "gone",    "gone",    "gone",    "gone"),
    "eof":     ("closing", "closing", "half",    "half",    "half",    "half",    "closing", "-"),
    "late":    ("closing", "closing", "timeout", "measure", "-",       "-",       "closing", "press"),
    "crowded": ("closing", "closing", "timeout", "squeeze", "closing", "closing", "closing", "-"),
    "stop":    ("hurry",   "closing", "last",    "last",    "last",    "last",    "-",       "-"),
}
# fmt: on

_State = TypeVar("_State", bound=str)
_Action = TypeVar("_Action", bound=str)
_Event = TypeVar("_Event", bound=str)


def table(
    states: tuple[_State, ...],
    entries: Mapping[_State, _Action],
    answers: Mapping[_Event, tuple[_State | _Action | Literal["-"], ...]],
) -> dict[_Event, dict[_State, tuple[_State | None, _Action | None]]]:
    """Return the state that is entered and what is done, for each event in each state; None for nothing.

    Parameters:
        states: in the order of the columns; the last one has none, for nothing leads out of it.
        entries: what is done when a state is entered.
        answers: for each event a word in each column: a state, an action or ``-``.
    """
    entered = {str(state): (state, entries.get(state)) for state in states}
    nothing: tuple[_State | None, _Action | None] = (None, None)
    found: dict[_Event, dict[_State, tuple[_State | None, _Action | None]]] = {}
    for event, words in answers.items():
        row = found[event] = dict.fromkeys(states, nothing)
        for state, word in zip(states[:-1], words, strict=True):
            if word != "-":
                row[state] = entered.get(word) or (None, cast(_Action, word))
    return found


TABLE: dict[Event, dict[State, tuple[State | None, Action | None]]] = table(STATES, ENTRIES, _ANSWERS)
"""By event and state: the state that is entered, and what is done."""

LINGER_SECONDS = 5.0
"""Closing with unread bytes makes the kernel send a reset, which can destroy the response on its way
(RFC 9112 §9.6). So what still comes is read first, for a while."""


def seconds(limits: Limits) -> dict[State, float]:
    """Return how long a connection stays in each state before it is ``late``."""
    return {
        "fresh": limits.header_timeout,
        "idle": limits.keep_alive,
        "head": limits.header_timeout,
        "body": limits.body_timeout,
        "busy": inf,
        "deaf": inf,
        "linger": LINGER_SECONDS,
        "closing": limits.write_timeout,
        "gone": inf,
    }
