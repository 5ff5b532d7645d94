"""What is raised because a client has left: by servers out of ``send``, by frameworks in the app."""

from __future__ import annotations

from ..kinds import kinds_of

__all__ = ("CLIENT_CLOSED_REQUEST", "is_departure")

CLIENT_CLOSED_REQUEST = 499
"""What nginx records for a client that left before its answer; it never goes out."""

_DEPARTURES = frozenset(
    (
        ("roadworthy", "ClientLeftError"),
        ("starlette", "ClientDisconnect"),
        ("django", "RequestAborted"),
        ("uvicorn", "ClientDisconnected"),
    )
)
"""Package and class of what servers and frameworks raise when the client has left."""


def is_departure(exception: BaseException) -> bool:
    """Return whether ``exception`` means that the client has left, and no failure."""
    return not _DEPARTURES.isdisjoint(kinds_of(exception))
