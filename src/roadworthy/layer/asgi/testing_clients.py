"""Clients of tests, which call the app in their own process and raise what it raised."""

from __future__ import annotations

from ...types import Receive

__all__ = ("is_test_client",)

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


def is_test_client(receive: Receive) -> bool:
    """Return whether ``receive`` is that of Starlette's, httpx's or asgiref's client of tests."""
    return getattr(receive, "__module__", "") in _MODULES
