"""Exits raised behind Starlette's ``BaseHTTPMiddleware``, which runs the app in a task of its own.

Out of that task an exit ends the event loop, before the layer sees it. So it is turned into a failure within
the task. Apps without such a middleware run in the request's task, and pay nothing.
"""

from __future__ import annotations

import inspect
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from ...exits import ExitInTaskError, comes_from_signal
from ...types import ASGIApp, Receive, Scope, Send

__all__ = ("contain_exits",)


class _Contained:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except (SystemExit, KeyboardInterrupt) as exception:
            if comes_from_signal(exception):
                raise
            raise ExitInTaskError(exception) from exception


def contain_exits(app: Starlette) -> None:
    """Put the guard inside of the app's own middlewares when their stack is built with one that needs it."""
    application: Any = app
    build = application.build_middleware_stack

    def build_middleware_stack() -> ASGIApp:
        entries: list[Any] = application.user_middleware
        if any(_makes_task(entry.cls) for entry in entries):
            application.user_middleware = [*entries, Middleware(_Contained)]
        try:
            stack: ASGIApp = build()
        finally:
            application.user_middleware = entries
        return stack

    application.build_middleware_stack = build_middleware_stack


def _makes_task(factory: Any) -> bool:
    return inspect.isclass(factory) and issubclass(factory, BaseHTTPMiddleware)
