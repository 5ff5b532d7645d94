"""Handlers that let an error keep its verdict on its way out of a Starlette or FastAPI app."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount
from starlette.websockets import WebSocket

from ...errors import APIError
from ._protocol import exchange_of
from ._starlette_exits import contain_exits
from ._starlette_routes import Expand

__all__ = (
    "Handler",
    "attach_handlers",
)

Handler = Callable[[Any, Any], Any]


def _with_stack(error: APIError) -> APIError:
    # Starlette clears __traceback__ once a handler has answered; the record needs the stack.
    kept = error.__class__.__new__(error.__class__, *error.args)
    kept.__dict__.update(error.__dict__)
    kept.args = error.args
    kept.__cause__, kept.__context__ = error.__cause__, error.__context__
    return kept.with_traceback(error.__traceback__)


async def api_error(connection: HTTPConnection, error: APIError) -> Response | None:
    """Note the error as the exchange's verdict; the layer writes the body."""
    if isinstance(connection, WebSocket):
        # RFC 6455 §7.4.1: 1011 the server failed, 1008 the request is against its policy.
        await connection.close(1011 if error.status >= 500 else 1008)
        return None
    exchange = exchange_of(connection.scope)
    if exchange is None:
        return JSONResponse({"detail": error.message}, error.status, error.headers)
    exchange.error = error
    if error.status >= 500:
        exchange.exception = _with_stack(error)
    return Response(status_code=error.status)


def _last_handler(inner: Handler | None) -> Handler:
    # Starlette sends its 500 first and raises afterwards: without this, the layer would learn too late.
    async def last(request: Request, exception: Exception) -> Response:
        if isinstance(exception, APIError):
            answered = await api_error(request, exception)
            return cast("Response", answered)
        exchange = exchange_of(request.scope)
        if exchange is not None:
            exchange.exception = exception
        if inner is None:
            return PlainTextResponse("Internal Server Error", 500)
        if inspect.iscoroutinefunction(inner):
            return cast("Response", await inner(request, exception))
        answer = await run_in_threadpool(inner, request, exception)
        if inspect.isawaitable(answer):
            answer = await answer
        return cast("Response", answer)

    return last


def _mounted_apps(routes: Any, expand: Expand) -> list[Starlette]:
    """Return the Starlette apps that are mounted at any depth, looking through their middlewares."""
    found: list[Starlette] = []
    for route in expand(routes):
        if not isinstance(route, Mount):
            continue
        app: Any = route.app
        for _ in range(16):
            if app is None or isinstance(app, Starlette):
                break
            app = getattr(app, "app", None)
        if isinstance(app, Starlette):
            found.append(app)
        elif route.routes:
            found += _mounted_apps(route.routes, expand)
    return found


def attach_handlers(app: Any, expand: Expand, prepare: Callable[[Starlette], None] | None = None) -> None:
    """Register the handlers in ``app`` and in every Starlette app mounted in it.

    A handler that the app registered for ``APIError`` itself stays.
    """
    if isinstance(app, Starlette):
        handlers: Any = app.exception_handlers
        handlers.setdefault(APIError, api_error)
        key: Any = 500 if 500 in handlers else Exception
        handlers[key] = _last_handler(handlers.get(key))
        if prepare is not None:
            prepare(app)
        contain_exits(app)
        # Handlers are read when the stack is built, at the first call.
        app.middleware_stack = None
    for inner in _mounted_apps(app.routes, expand):
        attach_handlers(inner, expand, prepare)
