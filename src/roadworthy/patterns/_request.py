"""What a pattern asks about the request it works for. Outside a request there are no bounds, no name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from time import perf_counter

from ..layer.exchange import current_exchange

__all__ = (
    "before_response",
    "is_production",
    "is_served_here",
    "name_route",
    "response_begun",
    "response_status",
    "time_left",
    "user_key",
)


def is_production() -> bool:
    """Return whether a request is served in production; False in tests, in development and outside one."""
    exchange = current_exchange.get()
    service = None if exchange is None else exchange.service
    return service is not None and service.settings.env == "production"


def time_left() -> float:
    """Return the seconds until the request's deadline; infinite without one."""
    exchange = current_exchange.get()
    return inf if exchange is None else exchange.deadline - perf_counter()


def user_key() -> str | None:
    """Return who the request is for, as ``user_key`` of :func:`roadworthy.roadworthy` returned it."""
    exchange = current_exchange.get()
    return None if exchange is None else exchange.user_key


def name_route(template: str) -> None:
    """Name the route of a request that the app does not route; "" for unknown."""
    exchange = current_exchange.get()
    if exchange is not None and template:
        exchange.route = template


def before_response(settle: Callable[[int], Awaitable[None]]) -> bool:
    """Have ``settle(status)`` awaited before the head of the response leaves; return whether it will be.

    It will not outside the layer, and not in a task that the request has started: what such a task does may
    outlive the response by intention. Nor once the app has begun its response.
    """
    exchange = current_exchange.get()
    return exchange is not None and exchange.hold_for(settle)


def is_served_here() -> bool:
    """Return whether the running task serves the request, and was not started beside it."""
    exchange = current_exchange.get()
    return exchange is not None and exchange.is_served_here()


def response_status() -> int:
    """Return the status of the response, 0 before there is one."""
    exchange = current_exchange.get()
    return 0 if exchange is None else exchange.status


def response_begun() -> bool:
    """Return whether the head of the response has left."""
    exchange = current_exchange.get()
    return exchange is not None and exchange.begun
