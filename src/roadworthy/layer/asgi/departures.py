"""What is raised because a client has left: by servers out of ``send``, by frameworks in the app."""

from __future__ import annotations

__all__ = ("is_departure",)

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
    return any(
        (one.__module__.partition(".")[0], one.__name__) in _DEPARTURES for one in type(exception).__mro__
    )
