"""What running code may ask of the service around it: the layer answers, the patterns ask.

The layer takes half a second to import, and a script that computes with the patterns has no use for it. So
both know this module, and neither imports the other for it.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ("provide", "request_id", "smallest_pool")


def _no_request() -> str:
    return ""


def _no_pool() -> int | None:
    return None


_answers: tuple[Callable[[], str], Callable[[], int | None]] = (_no_request, _no_pool)


def provide(request_id: Callable[[], str], smallest_pool: Callable[[], int | None]) -> None:
    """Have the questions below answered; the layer calls this when it is imported.

    Parameters:
        request_id: returns the id of the request that the running code works for, or "".
        smallest_pool: returns how many connections the smallest open pool gives, or None.
    """
    global _answers
    _answers = (request_id, smallest_pool)


def request_id() -> str:
    """Return the id of the request that the running code works for, or "" outside one."""
    return _answers[0]()


def smallest_pool() -> int | None:
    """Return how many connections the smallest open pool of this process gives, None without such a pool."""
    return _answers[1]()
