"""The last step before a handler: the rule of the route that was chosen is in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...types import ASGIApp, Receive, Scope, Send
from ..routes import RouteKey
from ._protocol import exchange_of

__all__ = ("guarded", "unguarded")


def guarded(app: ASGIApp, key: RouteKey | Callable[[Scope], RouteKey]) -> ASGIApp:
    """Return ``app`` with ``Exchange.enter`` called before it.

    Parameters:
        key: of the route that ``app`` serves, or what finds it where one app serves several.
    """

    def enter(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own: whoever calls it awaits what it returns.
        exchange = exchange_of(scope)
        if exchange is not None:
            late = exchange.enter(key(scope) if callable(key) else key)
            if late is not None:
                return _after(late, app, scope, receive, send)
        return app(scope, receive, send)

    made: Any = enter
    made.__wrapped__ = app
    made.__roadworthy__ = True
    return enter


def unguarded(app: Any) -> Any:
    """Return what stands behind the guard, or ``app`` itself."""
    return app.__wrapped__ if getattr(app, "__roadworthy__", False) else app


async def _after(
    late: Callable[[], Awaitable[None]], app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    await late()
    await app(scope, receive, send)
