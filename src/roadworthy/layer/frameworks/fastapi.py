"""FastAPI: as Starlette, with lazily included routers, its own 422 and an OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from ...errors import APIError, BadRequestError, ValidationError
from ...types import Headers, Scope
from ..routes import RouteInfo, RouteKey
from ._defaults import json_object, json_objects, media_type
from ._fastapi_internals import (
    docs_pages,
    effective_routes,
    frontend_of,
    frontends,
    is_instrumented,
    native_provider,
    native_telemetry,
    selected_context,
)
from ._fastapi_validation import answers_validation_errors, is_malformed_json, replace_validation_handler
from ._openapi import patch_document
from ._protocol import ErrorFormat
from ._starlette_errors import attach_handlers
from ._starlette_routes import Expand
from ._validation import field_errors
from .starlette import StarletteFramework

__all__ = ("FastAPIFramework",)

_DETAIL_KEYS = frozenset({"type", "loc", "msg"})


class FastAPIFramework(StarletteFramework):
    """Adapter for a FastAPI application."""

    name = "fastapi"
    expand: Expand = staticmethod(effective_routes)

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app)

    @property
    def native_tracing(self) -> bool:
        """FastAPI's own instrumentation (since 0.165), OpenTelemetry's for it, or its middleware."""
        return native_telemetry(self.app) or is_instrumented(self.app) or super().native_tracing

    @property
    def tracer_source(self) -> object | None:
        """The tracer provider of ``FastAPI(telemetry={…})``, or the tracer of the middleware."""
        return super().tracer_source or native_provider(self.app)

    def attach(self, error_format: ErrorFormat = "problem") -> None:
        """Register the handlers; the default 422 handler, which echoes the input, gives way."""
        attach_handlers(self.app, self.expand, lambda app: replace_validation_handler(app, error_format))

    def route_of(self, scope: Scope) -> str | None:
        """Return the template of the chosen route with the prefixes of its routers and mounts."""
        context = selected_context(scope)
        if context is None:
            if scope.get("endpoint") is None and (below := frontend_of(scope)) is not None:
                return f"{scope['path'].removesuffix(below).rstrip('/')}/{{path:path}}"
            return super().route_of(scope)
        route = scope.get("route")
        if context.original_route is route:
            return self.mounted(context.path, scope)
        plain = context.starlette_route
        if plain is not None and getattr(plain, "endpoint", None) is scope.get("endpoint"):
            return self.mounted(plain.path, scope)
        if (below := frontend_of(scope)) is not None:
            return f"{scope['path'].removesuffix(below).rstrip('/')}/{{path:path}}"
        return super().route_of(scope)

    def routes(self) -> Sequence[RouteInfo]:
        """Return every route: of included routers, of mounted apps, of frontends."""
        files = frozenset({"GET", "HEAD"})
        return [
            *super().routes(),
            *(
                RouteInfo(files, f"{path}/{{path:path}}", None, mounts=(path,), static=True)
                for path in frontends(self.app.router)
            ),
        ]

    def resolve(
        self, method: str, path: str, root: str = "", headers: Headers | None = None
    ) -> RouteKey | None:
        """Ask the routes, and the frontends after them."""
        chosen = self.choose(method, path, root, headers)
        if chosen is not None:
            return None if chosen.info is None else chosen.info.key
        if method in ("GET", "HEAD"):
            plain = self.canonical(path, root)
            below = max(
                (one for one in frontends(self.app.router) if plain.startswith(f"{one}/")), default=None
            )
            if below is not None:
                return f"{below}/{{path:path}}", id(None)
        return None

    def docs_paths(self) -> frozenset[str]:
        """Return the paths of Swagger UI, its OAuth2 redirect and ReDoc."""
        app: FastAPI = self.app
        if not app.openapi_url:
            return frozenset()
        paths = (app.docs_url, app.docs_url and app.swagger_ui_oauth2_redirect_url, app.redoc_url)
        return frozenset(path for path in paths if path)

    def docs_pages(self, root: str = "") -> Sequence[bytes]:
        """Return Swagger UI and its OAuth2 redirect, the pages with inline scripts; not those of the app."""
        app: FastAPI = self.app
        return docs_pages(app, root) if self.docs_paths() else ()

    def problem_of(self, status: int, content_type: str, body: bytes, scope: Scope) -> APIError | None:
        """Recognise FastAPI's ``{"detail": [{"type", "loc", "msg", …}]}`` besides Starlette's bodies."""
        found = super().problem_of(status, content_type, body, scope)
        if found is not None or status != 422 or media_type(content_type) != "application/json":
            return found
        document = json_object(body)
        entries = (
            json_objects(document["detail"]) if document is not None and document.keys() == {"detail"} else []
        )
        if not entries or not all(entry.keys() >= _DETAIL_KEYS for entry in entries):
            return None
        if is_malformed_json(entries[0]):
            return BadRequestError("The request body is not valid JSON")
        return ValidationError(errors=field_errors(entries))

    def patch_openapi(self, error_format: ErrorFormat = "problem") -> None:
        """Replace the default 422 schema in the document; what the app declares or answers itself stays."""
        app: FastAPI = self.app
        if not answers_validation_errors(app):
            return
        original = app.openapi
        app.openapi = lambda: patch_document(original(), error_format)  # type: ignore[method-assign]
