"""Target for rules by route: however a path is spelled, what is served is served by its rule."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import quote_from_bytes, unquote

from litestar import Litestar, Request, post
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from roadworthy.layer import Layer, RouteRule
from roadworthy.settings import load_settings
from roadworthy.types import ASGIApp, Scope
from tests.asgi_driver import Call, Driven, http_scope

from .target import Pieces, Target

__all__ = ("TARGETS",)

_LIMIT = 4
_BODY = b"x" * (_LIMIT + 1)


async def _limited(request: StarletteRequest) -> PlainTextResponse:
    await request.body()
    return PlainTextResponse("limited")


def _starlette() -> Layer:
    routes = [
        Route("/login", _limited, methods=["POST"]),
        Route("/users/{id:int}/", _limited, methods=["POST"]),
        Route("/files/{name:path}", _limited, methods=["POST"]),
        Mount("/inner", routes=[Route("/login", _limited, methods=["POST"])]),
    ]
    templates = ("/login", "/users/{id:int}/", "/files/{name:path}", "/inner/login")
    return _layered(Starlette(routes=routes), templates)


@post(["/login", "/users/{number:int}", "/files/{name:path}", "/inner/login"], status_code=200)
async def _handler(request: Request[Any, Any, Any]) -> str:
    await request.body()
    return "limited"


def _litestar() -> Layer:
    app = Litestar([_handler], openapi_config=None)
    return _layered(
        cast("ASGIApp", app), ("/login", "/users/{number:int}", "/files/{name:path}", "/inner/login")
    )


def _layered(app: Any, templates: tuple[str, ...]) -> Layer:
    settings = load_settings(_env_file=None, rate_limit="off", drain_delay=0, log_level="error")
    return Layer(app, settings, {template: RouteRule(body_limit=_LIMIT) for template in templates})


async def _posted(app: Layer, scope: Scope) -> Driven:
    made = http_scope("POST", headers=[(b"content-length", b"%d" % len(_BODY))])
    made.update(scope)
    call = Call(app, made)
    call.feed(_BODY)
    return await call.done()


_loop = asyncio.new_event_loop()
_apps: list[Layer] = []


def served_route(data: bytes) -> None:
    """A body above the limit of every route is never taken, however its path is spelled."""
    if not _apps:
        _apps.extend((_starlette(), _litestar()))
    pieces = Pieces(data)
    app = _apps[pieces.number(2)]
    root = ("", "/api")[pieces.number(2)]
    raw = "/" + quote_from_bytes(pieces.rest(), safe="/%;=:@!$&'()*+,~.-_")
    path = unquote(raw)
    scope = {"root_path": root, "path": root + path, "raw_path": (root + raw).encode()}
    answer = _loop.run_until_complete(_posted(app, scope))
    assert 300 <= answer.status < 500, answer.body


TARGETS = (
    Target(
        "served-route",
        served_route,
        (b"\0\0login", b"\1\0login", b"\0\1users/1/", b"\1\0users/1", b"\0\0files/a/b", b"\1\1inner/login"),
        (
            *(b"login", b"users/", b"files/", b"inner/", b"/", b"//", b"%2f", b"%0a", b"%0d", b"%00", b"%20"),
            *(b".", b"..", b"%2e", b";a=b", b"LOGIN", b"%6c", b"%25", b"1", b"-1", b"%C3%A9", b"\xff", b"+"),
            b"api/",
        ),
        longest=128,
    ),
)
