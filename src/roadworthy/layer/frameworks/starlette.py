"""Starlette: exceptions come out of it, but after its own 500 page has begun; routes are in the scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Router

from ...errors import APIError
from ...types import Headers, Scope
from ..routes import RouteInfo, RouteKey
from ._defaults import error_for_status, json_object, media_type, phrase
from ._opentelemetry import is_tracing, tracer_within
from ._protocol import ErrorFormat
from ._starlette_errors import attach_handlers
from ._starlette_routes import Expand, Node, RouteIndex, choose, guard, nodes, opaque, same_routes, tree

__all__ = ("StarletteFramework",)


class StarletteFramework:
    """Adapter for a Starlette application or a bare Starlette router."""

    name = "starlette"
    expand: Expand = staticmethod(same_routes)

    def __init__(self, app: Starlette | Router) -> None:
        self.app: Any = app
        self._index: RouteIndex | None = None
        self._tree: tuple[Node, ...] | None = None

    @property
    def debug(self) -> bool:
        """Whether the app was made with ``debug=True``."""
        return bool(getattr(self.app, "debug", False))

    @property
    def native_tracing(self) -> bool:
        """Whether OpenTelemetry's middleware is among the app's own; its class name shows it."""
        return any(is_tracing(entry.cls) for entry in getattr(self.app, "user_middleware", ()))

    @property
    def tracer_source(self) -> object | None:
        """The tracer of the middleware, once the app has begun to start and made it."""
        return tracer_within(getattr(self.app, "middleware_stack", None))

    @property
    def has_cors(self) -> bool:
        """Whether a ``CORSMiddleware``, Starlette's or one like it, is among the app's own."""
        return any("CORS" in entry.cls.__name__ for entry in getattr(self.app, "user_middleware", ()))

    def attach(self, error_format: ErrorFormat = "problem") -> None:
        """Register handlers in this app and in the Starlette apps mounted in it."""
        attach_handlers(self.app, self.expand)

    def route_of(self, scope: Scope) -> str | None:
        """Return the template of the chosen route with the templates of the mounts before it."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return None
        route = scope.get("route")
        # A mount or an outer router may have left its own route here.
        if route is None or getattr(route, "endpoint", None) is not endpoint:
            return self.index.by_endpoint(endpoint, scope)
        return self.mounted(route.path, scope)

    def mounted(self, template: str, scope: Scope) -> str:
        """Put the templates of the mounts that the request went through before ``template``."""
        if "app_root_path" not in scope:
            return template
        return self.index.mount(scope) + template

    @property
    def index(self) -> RouteIndex:
        """The index of the routes as they stand when it is first asked for."""
        if self._index is None:
            self._index = RouteIndex(self.tree)
        return self._index

    @property
    def tree(self) -> tuple[Node, ...]:
        """The routes as they stood when the layer asked for them."""
        if self._tree is None:
            self._tree = tree(self.app.routes, self.expand)
        return self._tree

    def routes(self) -> Sequence[RouteInfo]:
        """Return every route, those of mounted apps too."""
        self._tree = self._index = None
        return [node.info for node in nodes(self.tree) if node.info is not None]

    @property
    def opaque(self) -> Sequence[str]:
        """The classes of routes that are of a kind of the app's own."""
        return opaque(self.tree)

    @property
    def rooted(self) -> bool:
        """Whether the app has a ``root_path`` of its own, as FastAPI's may."""
        return bool(getattr(self.app, "root_path", ""))

    def canonical(self, path: str, root: str) -> str:
        """Return ``path`` without the prefix, as the router does; FastAPI's own prefix comes first."""
        root = getattr(self.app, "root_path", "") or root
        if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
            return path[len(root) :]
        return path

    def resolve(
        self, method: str, path: str, root: str = "", headers: Headers | None = None
    ) -> RouteKey | None:
        """Ask the routes themselves, in the router's order; one of another method is named as well."""
        chosen = self.choose(method, path, root, headers)
        return None if chosen is None or chosen.info is None else chosen.info.key

    def choose(self, method: str, path: str, root: str, headers: Headers | None) -> Node | None:
        """Return what the router chooses; parameters as of :meth:`resolve`."""
        websocket = method == "WEBSOCKET"
        scope: Scope = {
            "type": "websocket" if websocket else "http",
            "method": method,
            "path": path,
            "root_path": getattr(self.app, "root_path", "") or root,
            "headers": headers or [],
        }
        return choose(self.tree, scope)

    def guard(self) -> None:
        """Put the guard before the app of every route."""
        guard(self.tree, self.route_of)

    def docs_paths(self) -> frozenset[str]:
        """Return nothing: Starlette has no documentation pages."""
        return frozenset()

    def docs_pages(self, root: str = "") -> Sequence[bytes]:
        """Return nothing: there are none."""
        return ()

    def problem_of(self, status: int, content_type: str, body: bytes, scope: Scope) -> APIError | None:
        """Recognise the reason phrase as text, and FastAPI's ``{"detail": "…"}``."""
        if status < 400:
            return None
        kind = media_type(content_type)
        if kind == "text/plain":
            return error_for_status(status) if body and body == phrase(status).encode() else None
        if kind == "application/json" and body.startswith(b'{"detail":'):
            document = json_object(body)
            if document is not None and len(document) == 1 and isinstance(document["detail"], str):
                return error_for_status(status, document["detail"])
        return None

    def patch_openapi(self, error_format: ErrorFormat = "problem") -> None:
        """Do nothing: Starlette makes no OpenAPI document of its own."""
