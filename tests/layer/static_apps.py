"""One service in every framework that has files, a mounted application and routes of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# FastAPI and Litestar look the names of annotations up here.
from litestar import Request as Asked
from starlette.requests import Request
from starlette.staticfiles import StaticFiles

from roadworthy.types import Receive, Scope, Send

__all__ = ("SERVICES", "Note", "cells")

Note = Callable[[str], None]
"""Called by whatever serves a request: ``api``, ``files`` or ``app``."""


def cells(framework: str) -> dict[str, str]:
    """Return what serves each path of the service in ``framework``."""
    found = {
        "/users": "api",
        "/users/7": "api",
        "/static/a.txt": "files",
        "/static/missing.txt": "files",
        "/app/x": "app",
    }
    if framework in ("starlette", "fastapi"):
        found |= {"/sub/inner": "api", "/sub/static/a.txt": "files", "/wrapped/a.txt": "files"}
    if framework in ("spa", "frontend"):
        return {
            "/users": "api",
            "/users/7": "files",
            "/a.txt": "files",
            "/b/../a.txt": "files",
            "/app/x": "api",
        }
    if framework == "django":
        found = {path: kind for path, kind in found.items() if kind != "app"} | {"/media/a.txt": "files"}
    return found


def _app(note: Note) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        note("app")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"app"})

    return app


class _Files(StaticFiles):
    """Files of a class of the app's own, as marimo has them."""

    def __init__(self, note: Note, folder: Path, **options: Any) -> None:
        super().__init__(directory=folder, **options)
        self._note = note

    async def get_response(self, path: str, scope: Scope) -> Any:
        """Note who serves."""
        self._note("files")
        return await super().get_response(path, scope)


class _Passing:
    """A middleware that does nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _answering(note: Note) -> Any:
    from starlette.responses import PlainTextResponse, Response

    async def serve(request: Request) -> Response:
        note("api")
        return PlainTextResponse("api")

    return serve


def _starlette(note: Note, folder: Path) -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Mount, Route

    serve, files = _answering(note), _Files(note, folder)
    below = Starlette(routes=[Route("/inner", serve), Mount("/static", files)])
    return Starlette(
        routes=[
            Route("/users", serve),
            Route("/users/{id}", serve),
            Mount("/static", files),
            Mount("/wrapped", files, middleware=[Middleware(_Passing)]),
            Mount("/sub", below),
            Mount("/app", _app(note)),
        ]
    )


def _fastapi(note: Note, folder: Path) -> Any:
    from fastapi import APIRouter, FastAPI

    def serve() -> str:
        note("api")
        return "api"

    def fill(router: Any, *paths: str) -> None:
        for path in paths:
            router.add_api_route(path, serve)

    app, below, users, files = FastAPI(), FastAPI(), APIRouter(prefix="/users"), _Files(note, folder)
    fill(users, "", "/{id}")
    app.include_router(users)
    app.mount("/static", files)
    included = APIRouter()
    included.mount("/wrapped", files)
    app.include_router(included)
    fill(below, "/inner")
    below.mount("/static", files)
    app.mount("/sub", below)
    app.mount("/app", _app(note))
    return app


def _spa(note: Note, folder: Path) -> Any:
    """All files at the root, behind the routes and a mounted app whose middleware answers some paths."""
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    class Answering(_Passing):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"].startswith("/app/"):
                note("api")
            await self.app(scope, receive, send)

    serve = _answering(note)
    below = Starlette(routes=[Route("/inner", serve)])
    below.add_middleware(Answering)
    return Starlette(
        routes=[
            Route("/users", serve),
            Mount("/app", below),
            Mount("/", _Files(note, folder, html=True)),
        ]
    )


def _frontend(note: Note, folder: Path) -> Any:
    """FastAPI's own way to serve files at the root."""
    from fastapi import FastAPI

    app, below = FastAPI(), FastAPI()

    def serve() -> str:
        note("api")
        return "api"

    async def answering(request: Request, call_next: Any) -> Any:
        note("api")
        return await call_next(request)

    below.add_api_route("/inner", serve)
    below.middleware("http")(answering)
    app.add_api_route("/users", serve)
    app.mount("/app", below)
    app.frontend("/", directory=str(folder))
    return app


def _litestar(note: Note, folder: Path) -> Any:
    from litestar import Litestar, asgi, get
    from litestar.static_files import create_static_files_router

    @get(["/users", "/users/{id:str}"])
    async def serve(request: Asked[Any, Any, Any]) -> str:
        note("api")
        return "api"

    inner = _app(note)

    @asgi("/app", is_mount=True, copy_scope=True)
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    def noted(request: Asked[Any, Any, Any]) -> None:
        note("files")

    files = create_static_files_router("/static", [folder], html_mode=True, before_request=noted)
    return Litestar([serve, mounted, files], openapi_config=None, logging_config=None)


def _django(note: Note, folder: Path) -> Any:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.apps.django_site.settings")
    from django.conf.urls.static import static  # type: ignore[import-untyped]
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # type: ignore[import-untyped]
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
    from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
    from django.test import override_settings  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    from tests.layer import route_urls

    def serve(request: HttpRequest, **_: Any) -> HttpResponse:
        note("api")
        return HttpResponse("api")

    class Handler(ASGIStaticFilesHandler):  # type: ignore[misc]
        def serve(self, request: HttpRequest) -> Any:
            note("files")
            return super().serve(request)

    app = Handler(get_asgi_application())
    with override_settings(DEBUG=True):
        media = static("/media/", document_root=str(folder))
    route_urls.urlpatterns[:] = [path("users", serve), path("users/<str:id>", serve), *media]
    return app


SERVICES: dict[str, Callable[[Note, Path], Any]] = {
    "starlette": _starlette,
    "fastapi": _fastapi,
    "spa": _spa,
    "frontend": _frontend,
    "litestar": _litestar,
    "django": _django,
}
