"""Clients of tests, which call the app in their own process and raise what it raised."""

from __future__ import annotations

from ...types import Receive
from ..pipeline import Pass

__all__ = ("raises_to",)

_MODULES = frozenset(
    {
        "starlette.testclient",
        "anyio.streams.memory",  # its WebSockets
        "anyio.streams.stapled",  # its lifespan
        "httpx._transports.asgi",
        "httpx2._transports.asgi",
        "asyncio.queues",  # asgiref's ApplicationCommunicator
    }
)


def raises_to(pass_: Pass, receive: Receive) -> bool:
    """Return whether the caller is a client of tests that gets what the app raises.

    Parameters:
        pass_: the items; they raise in the environment ``test`` alone.
        receive: the caller's ASGI ``receive``, by which Starlette's, httpx's and asgiref's are known.
    """
    return pass_.raises and getattr(receive, "__module__", "") in _MODULES
