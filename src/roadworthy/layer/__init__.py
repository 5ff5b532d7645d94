"""The production layer: one pass over an ASGI app, outermost, with every item of the checklist."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .. import ambient
from ..settings import Settings, load_settings
from ..types import ASGIApp, Receive, Scope, Send
from .asgi.http import Conversation
from .asgi.lifespan import Lifespan, refuse_start
from .asgi.refusal import Refusals
from .asgi.served_request import ServedRequest
from .asgi.websocket import WebSocketConversation
from .connection_pooling import smallest_pool
from .exchange import Exchange, current_exchange
from .frameworks import detect
from .health_check import HealthCheck
from .hosting import Hosting
from .operations import OperationsApp
from .pipeline import Pass
from .resources import Resources, adapted
from .routes import RouteRule, route_rule
from .rules import bind_all
from .user_key import KeyFunction, RequestInfo, UserKey

__all__ = (
    "Layer",
    "RequestInfo",
    "RouteRule",
    "current_request_id",
    "roadworthy",
    "route_rule",
    "wait_for_drain",
)


# Bound once: looking a class method up costs as much as calling it.
_of_http = Exchange.of_http


class Layer:
    """An ASGI app with the production layer around it.

    Attributes that the layer does not have are the app's, so ``app = roadworthy(app)`` leaves ``app.get(…)``,
    ``app.state`` and the like as they were.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        routes: Mapping[str, RouteRule] | None = None,
        resources: Resources = (),
        user_key: UserKey | None = None,
    ) -> None:
        self.app = app
        self.settings = settings
        self._rules = dict(routes or {})
        self._user_key = None if user_key is None else KeyFunction(user_key)
        self._resources = adapted(resources)
        self._framework = detect(app)
        self._framework.attach(settings.error_format)
        self._framework.patch_openapi(settings.error_format)
        self._built: Pass | None = None
        self._lifespan: Lifespan | None = None
        self._serving: Pass | None = None
        self.chain_sigterm = True

    @property
    def pass_(self) -> Pass:
        """The items, built when first needed: routes may be added until then.

        Raises:
            ValueError: a rule of the code covers no route.
            SettingsError: rules that stand outside of the code are wrong; it lists all mistakes.
        """
        if self._built is None:
            routes = self._framework.routes()
            rules, places = bind_all(
                self._rules,
                self.settings.rules,
                routes,
                self._framework.opaque,
                counts_users=self._user_key is not None,
            )
            self._built = Pass(
                self.app, self._framework, self.settings, routes, rules, self._resources, self._user_key
            )
            self._built.places = places
            if self._built.ruled:
                self._framework.guard()
        return self._built

    @property
    def operations(self) -> OperationsApp:
        """The app of the operations listener: metrics and health details."""
        return OperationsApp(self.settings, self.pass_.health, self.pass_.metrics)

    @property
    def refusals(self) -> Refusals:
        """What encodes, records and counts the requests that the server itself refuses."""
        return Refusals(lambda: self.pass_)

    @property
    def health(self) -> HealthCheck:
        """Where a service adds what its readiness depends on: ``app.health.add("queue", ping)``."""
        return self.pass_.health

    @property
    def hosting(self) -> Hosting:
        """What the process around the layer may ask of it and have it do."""
        return Hosting(self.pass_)

    def begin_drain(self) -> None:
        """Turn readiness to 503 and go on serving."""
        self.pass_.shutdown.begin_drain()

    def begin_close(self) -> None:
        """Ask streams and WebSockets to end."""
        self.pass_.shutdown.begin_close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        pass_ = self._serving
        if pass_ is not None and scope["type"] == "http" and pass_.loop is asyncio.get_running_loop():
            await Conversation().run(pass_, _of_http(scope), scope, receive, send)
        else:
            await self._serve_other(scope, receive, send)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is not a request, and the first one under a server that does not speak of a lifespan."""
        kind = scope["type"]
        lifespan = self._lifespan
        if lifespan is None:
            try:
                pass_ = self.pass_
            except Exception as error:
                if kind == "lifespan":
                    await refuse_start(error, receive, send)
                raise
            lifespan = self._lifespan = Lifespan(pass_, chain_sigterm=self.chain_sigterm)
        if kind == "lifespan":
            await lifespan.run(self.app, scope, receive, send)
            return
        if not lifespan.started or lifespan.loop is not asyncio.get_running_loop():
            await lifespan.start()
            await lifespan.serving()
        pass_ = self._serving = self.pass_
        if kind == "http":
            await Conversation().run(pass_, _of_http(scope), scope, receive, send)
        elif kind == "websocket":
            await WebSocketConversation(pass_, Exchange.of_websocket(scope), scope, receive, send).run()
        else:
            await self.app(scope, receive, send)

    def serve(self, server: ServedRequest) -> Awaitable[None]:
        """Serve one request of our own server: as the layer itself does, with a coroutine less.

        Others recognise an ASGI 3 app by its ``__call__``: it has to be a coroutine function.

        Parameters:
            server: the request, with the server's way to take a response at once.
        """
        scope, receive, send = server.scope, server.receive, server.send
        pass_ = self._serving
        if pass_ is None or scope["type"] != "http":
            return self(scope, receive, send)
        return Conversation().run(pass_, _of_http(scope), scope, receive, send, server)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The app's: who looks for a ``FastAPI`` in a module (``fastapi run``) finds it here."""
        return type(self.app)

    def __getattr__(self, name: str) -> Any:
        if name in vars(Layer):
            # A property of the layer raised: report that, instead of looking for the name in the app.
            raise AttributeError(f"the layer's {name!r} failed; see the error before this one")
        return getattr(self.app, name)


def roadworthy(
    app: Callable[[Any, Any, Any], Awaitable[None]],
    *,
    settings: Settings | None = None,
    routes: Mapping[str, RouteRule] | None = None,
    resources: Resources = (),
    user_key: UserKey | None = None,
    **overrides: Any,
) -> Layer:
    """Put the whole production checklist around an ASGI app.

    Parameters:
        app: any ASGI 3 app: FastAPI, Starlette, Litestar, Django's ``get_asgi_application()``, your own.
        settings: ready settings; by default they are read from the environment.
        routes: per-route rules by ``"POST /upload"`` or ``"/upload"`` (every method).
        resources: pools and the like; opened in order before the first request, closed after the last. Each
            is an ``AsyncEngine``, an ``async_sessionmaker``, a pool of asyncpg or psycopg, a
            ``redis.asyncio.Redis``, an ``httpx.AsyncClient``, or has ``name``, ``start``, ``ping`` and
            ``stop``. A mapping gives them names: ``{"reports": engine}``.
        user_key: for rules with ``rate_key="user"``: a plain function that gets a :class:`RequestInfo` and
            returns who the request is for, or None. Only what is verified counts: a client that may choose
            its own key has no limit.
        overrides: single settings by name, which win over the environment: ``rate_limit="10/minute"``.

    Raises:
        SettingsError: a setting is wrong; the message names all of them.
        TypeError: one of ``resources`` is no resource, or ``user_key`` is no plain function of a request.
        ValueError: a rule of ``routes`` covers no route of the app, or two resources have one name.
    """
    if isinstance(app, Layer):
        return app
    return Layer(app, settings or load_settings(**overrides), routes, resources, user_key)


def current_request_id() -> str:
    """Return the id of the request that the running code works for, or "" outside one."""
    exchange = current_exchange.get()
    return exchange.request_id if exchange is not None else ""


async def wait_for_drain() -> None:
    """Return when the process begins to shut down; a long stream waits for this to end by itself.

    Raises:
        LookupError: there is no current request served over the layer.
    """
    exchange = current_exchange.get()
    if exchange is None or exchange.service is None:
        raise LookupError("there is no request; call this while one is served")
    await exchange.service.wait_for_drain()


ambient.provide(current_request_id, smallest_pool)
