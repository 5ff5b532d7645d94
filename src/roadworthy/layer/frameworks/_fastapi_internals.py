"""Every private name of FastAPI that is touched, in one file; read in 0.115 to 0.165.

Since 0.137 included routers stay lazy: a request of an included route carries the effective route context in
its scope, and ``iter_route_contexts`` walks them (fastapi/fastapi#15745, #15785).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import fastapi.routing
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html

from ...types import Scope

__all__ = (
    "docs_pages",
    "effective_routes",
    "frontend_of",
    "frontends",
    "is_instrumented",
    "native_provider",
    "native_telemetry",
    "selected_context",
)

_iter_route_contexts: Any = getattr(fastapi.routing, "iter_route_contexts", None)


def effective_routes(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield each route as it is reached: what stands in an included router with its whole path."""
    if _iter_route_contexts is None:
        yield from routes
        return
    for context in _iter_route_contexts(list(routes)):
        # A mount or WebSocket route in an included router was copied with its whole path; an APIRoute's
        # effective context carries the path itself.
        inner = getattr(context, "_route_context", None)
        yield context.route if inner is None else (inner.starlette_route or inner)


def selected_context(scope: Scope) -> Any:
    """Return the effective route context that the innermost included router chose, or None."""
    chosen = scope.get("fastapi")
    return None if chosen is None else chosen.get("effective_route_context")


def frontend_of(scope: Scope) -> str | None:
    """Return the path below an ``app.frontend()`` that answered, or None."""
    chosen = scope.get("fastapi")
    path: str | None = None if chosen is None else chosen.get("frontend_path")
    return path


def frontends(router: Any) -> Iterator[str]:
    """Yield the path prefix of each ``frontend()`` of this router and of those included in it."""
    candidates: Any = getattr(router, "_iter_low_priority_routes", None)
    if candidates is None:
        return
    for candidate in candidates():
        group = getattr(candidate, "original_route", candidate)
        prefix: str = getattr(candidate, "frontend_prefix", "")
        for route in getattr(group, "routes", ()):
            yield prefix + route.path.rstrip("/")


def docs_pages(app: FastAPI, root: str) -> list[bytes]:
    """Return Swagger UI and its OAuth2 redirect as ``FastAPI.setup`` makes them; nothing if one is not."""
    root = (app.root_path or root).rstrip("/")
    redirect = app.swagger_ui_oauth2_redirect_url
    pages = {
        app.docs_url: lambda: get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title} - Swagger UI",
            oauth2_redirect_url=redirect and f"{root}{redirect}",
            init_oauth=app.swagger_ui_init_oauth,
            swagger_ui_parameters=app.swagger_ui_parameters,
        ),
        redirect: get_swagger_ui_oauth2_redirect_html,
    }
    first: dict[str, Any] = {}
    for route in app.router.routes:
        first.setdefault(getattr(route, "path", ""), getattr(route, "endpoint", None))
    paths = [path for path in pages if path]
    # One policy is for all of them: with one page unknown, no script can be left out.
    if any(getattr(first.get(path), "__module__", "") != FastAPI.__module__ for path in paths):
        return []
    return [bytes(pages[path]().body) for path in paths]


def native_telemetry(app: FastAPI) -> bool:
    """Return whether FastAPI's own OpenTelemetry instrumentation (since 0.165) is on and has a tracer."""
    telemetry: Any = getattr(app, "_native_telemetry", None)
    return telemetry is not None and bool(telemetry.config.get("tracing")) and bool(telemetry.enabled())


def native_provider(app: FastAPI) -> object | None:
    """Return the tracer provider that FastAPI's own instrumentation was given, None for the process's."""
    telemetry: Any = getattr(app, "_native_telemetry", None)
    given: object | None = None if telemetry is None else telemetry.config.get("tracer_provider")
    return given


def is_instrumented(app: FastAPI) -> bool:
    """Return whether ``FastAPIInstrumentor`` of OpenTelemetry has changed the app; it adds no middleware."""
    return bool(getattr(app, "_is_instrumented_by_opentelemetry", False))
