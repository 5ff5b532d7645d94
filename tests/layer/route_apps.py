"""One service in every framework: routes of every kind, each with a rule that can be told apart."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

# FastAPI and Litestar look the names of annotations up here.
from litestar import Request as Asked
from litestar import WebSocket as Socket
from starlette.requests import Request
from starlette.websockets import WebSocket

from roadworthy import Layer, RouteRule, roadworthy, route_rule
from roadworthy.patterns._request import time_left
from roadworthy.settings import Settings
from roadworthy.types import Receive, Scope, Send

__all__ = ("BODY_LIMIT", "BUILDERS", "RULES", "TIMEOUT", "Built", "build", "urls_of")

BODY_LIMIT, TIMEOUT = 16, 7.0
_SETTINGS = {"rate_limit": "600/minute", "log_level": "critical"}


def _rule(count: int | None) -> RouteRule:
    return RouteRule(
        rate_limit="off" if count is None else f"{count}/hour", body_limit=BODY_LIMIT, timeout=TIMEOUT
    )


RULES: dict[str, int | None] = {
    "login": 2,
    "user": 3,
    "files": 4,
    "inner": 5,
    "deep": 6,
    "socket": 2,
    "free": None,
}
"""The limit of each route by the name of its handler; "me", "any" and "root" have no rule."""


class Built:
    """A service under the layer, and what its handlers noted."""

    def __init__(self, make: Callable[[Built], Any], settings: dict[str, Any], **given: Any) -> None:
        self.ran: list[tuple[str, float]] = []
        self.gate: asyncio.Event | None = None
        self.fails = False
        merged = Settings(_env_file=None, **{**_SETTINGS, **settings})
        self.layer: Layer = roadworthy(make(self), settings=merged, **given)

    def note(self, name: str) -> None:
        """Called by a handler when it has read its body."""
        self.ran.append((name, time_left()))

    async def pause(self) -> None:
        """Wait at the gate if there is one; leave a task that fails if asked for."""
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            asyncio.ensure_future(_fail())  # noqa: RUF006 - nobody waits for it


async def _fail() -> None:
    raise LookupError("nobody waits for this")


def _ruled(name: str, handler: Any) -> Any:
    """Attach the rule by decorator."""
    count = RULES[name]
    decorate = route_rule(
        rate_limit="off" if count is None else f"{count}/hour", body_limit=BODY_LIMIT, timeout=TIMEOUT
    )
    return decorate(handler)


def _starlette(built: Built) -> Any:
    from starlette.applications import Starlette
    from starlette.endpoints import HTTPEndpoint
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

    def handler(name: str) -> Any:
        async def serve(request: Request) -> Response:
            await request.body()
            built.note(name)
            await built.pause()
            return PlainTextResponse(name)

        return _ruled(name, serve) if name in RULES else serve

    class Files(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            await request.body()
            built.note("files")
            return PlainTextResponse("files")

        post = get

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        built.note("socket")
        await websocket.close()

    verbs = ["GET", "POST"]
    return Starlette(
        routes=[
            Host("api.example", Router([Route("/login", handler("any"), methods=verbs)])),
            Route("/login", handler("login"), methods=verbs),
            Route("/users/me", handler("me"), methods=verbs),
            Route("/users/{id}", handler("user"), methods=verbs),
            Route("/files/{path:path}", _ruled("files", Files)),
            Route("/free", handler("free"), methods=verbs),
            Mount("/sub", routes=[Route("/inner", handler("inner"), methods=verbs)]),
            Mount(
                "/a",
                Starlette(routes=[Mount("/b", Router([Route("/deep", handler("deep"), methods=verbs)]))]),
            ),
            WebSocketRoute("/ws", _ruled("socket", socket)),
            Route("/{anything}", handler("any"), methods=verbs),
        ]
    )


def _fastapi(built: Built) -> Any:
    from fastapi import APIRouter, FastAPI

    app = FastAPI()

    def add(router: Any, path: str, name: str) -> None:
        async def serve(request: Request) -> str:
            await request.body()
            built.note(name)
            await built.pause()
            return name

        router.add_api_route(path, _ruled(name, serve) if name in RULES else serve, methods=["GET", "POST"])

    add(app, "/login", "login")
    users, inner, deep = APIRouter(prefix="/users"), APIRouter(), APIRouter()
    add(users, "/me", "me")
    add(users, "/{id}", "user")
    app.include_router(users)
    add(app, "/files/{path:path}", "files")
    add(app, "/free", "free")
    add(inner, "/inner", "inner")
    outer = APIRouter()
    outer.include_router(inner, prefix="/sub")
    app.include_router(outer)
    add(deep, "/b/deep", "deep")
    mounted = FastAPI()
    mounted.include_router(deep)
    app.mount("/a", mounted)

    @app.websocket("/ws")
    @route_rule(rate_limit="2/hour")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        built.note("socket")
        await websocket.close()

    add(app, "/{anything}", "any")
    return app


def _fastapi_rooted(built: Built) -> Any:
    app = _fastapi(built)
    app.root_path = "/api"
    return app


def _litestar(built: Built) -> Any:
    from litestar import Litestar, Router, route, websocket

    def at(path: str, name: str) -> Any:
        async def serve(request: Asked[Any, Any, Any]) -> str:
            await request.body()
            built.note(name)
            await built.pause()
            return name

        return route(path, http_method=["GET", "POST"], status_code=200)(
            _ruled(name, serve) if name in RULES else serve
        )

    async def socket(socket: Socket[Any, Any, Any]) -> None:
        await socket.accept()
        built.note("socket")
        await socket.close()

    return Litestar(
        route_handlers=[
            at("/login", "login"),
            at("/users/me", "me"),
            at("/users/{id:str}", "user"),
            at("/files/{path:path}", "files"),
            at("/free", "free"),
            Router("/sub", route_handlers=[at("/inner", "inner")]),
            Router("/a", route_handlers=[Router("/b", route_handlers=[at("/deep", "deep")])]),
            websocket("/ws")(_ruled("socket", socket)),
        ],
        openapi_config=None,
        logging_config=None,
    )


def _django(built: Built) -> Any:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.apps.django_site.settings")
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
    from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
    from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]

    from tests.layer import route_urls

    def view(name: str) -> Any:
        async def serve(request: HttpRequest, **_: Any) -> HttpResponse:
            _ = request.body
            built.note(name)
            await built.pause()
            return HttpResponse(name)

        return csrf_exempt(_ruled(name, serve) if name in RULES else serve)

    def blocking(name: str) -> Any:
        def serve(request: HttpRequest, **_: Any) -> HttpResponse:
            _ = request.body
            built.note(name)
            return HttpResponse(name)

        return csrf_exempt(_ruled(name, serve))

    app = get_asgi_application()
    route_urls.fill(view, blocking)
    return app


def _plain(built: Built) -> Any:
    """An app of no framework that is generous with spellings, as home-made routers are."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = re.sub(r";[^/]*", "", unquote(scope["path"])).lower().strip("\x00 \r\n\t/")
        path = "/" + re.sub(r"/+", "/", path)
        users, files = re.fullmatch(r"/users/([^/]+)", path), re.fullmatch(r"/files/(.+)", path)
        names = {"/login": "login", "/sub/inner": "inner", "/a/b/deep": "deep", "/free": "free"}
        name = names.get(path) or ("user" if users else "files" if files else None)
        if name is not None:
            while (message := await receive()).get("more_body"):
                assert message["type"] == "http.request"
            built.note(name)
            await built.pause()
        await send({"type": "http.response.start", "status": 200 if name else 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


BUILDERS: dict[str, Callable[[Built], Any]] = {
    "starlette": _starlette,
    "fastapi": _fastapi,
    "fastapi-rooted": _fastapi_rooted,
    "litestar": _litestar,
    "django": _django,
    "plain": _plain,
}


def build(framework: str, around: Callable[[Any], Any] | None = None, **settings: Any) -> Built:
    """Make the service anew; ``around`` puts a middleware between the layer and the app."""
    given: dict[str, Any] = {}
    if framework == "plain":
        at = {
            "login": "/login",
            "user": "/users/{id}",
            "files": "/files/{path:path}",
            "inner": "/sub/inner",
            "deep": "/a/b/deep",
            "free": "/free",
        }
        given["routes"] = {template: _rule(RULES[name]) for name, template in at.items()}
    make = BUILDERS[framework]
    return Built(make if around is None else lambda built: around(make(built)), settings, **given)


@contextmanager
def urls_of(framework: str) -> Iterator[None]:
    """Give Django the URLs of this service while the block runs."""
    if framework != "django":
        yield
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.apps.django_site.settings")
    import django  # type: ignore[import-untyped]
    from django.test import override_settings  # type: ignore[import-untyped]
    from django.urls import clear_url_caches  # type: ignore[import-untyped]

    django.setup()
    with override_settings(ROOT_URLCONF="tests.layer.route_urls"):
        clear_url_caches()
        yield
    clear_url_caches()
