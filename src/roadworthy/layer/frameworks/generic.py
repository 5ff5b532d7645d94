"""An ASGI app of no known framework: exceptions come out of it, and its routes are its own."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import APIError
from ...types import ASGIApp, Headers, Scope
from ..routes import RouteInfo, RouteKey, path_below
from ._opentelemetry import is_tracing, tracer_within
from ._protocol import ErrorFormat

__all__ = ("GenericFramework",)


class GenericFramework:
    """Adapter for any other ASGI app."""

    name = "asgi"
    debug = False
    has_cors = False
    opaque: Sequence[str] = ()
    rooted = False

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    @property
    def native_tracing(self) -> bool:
        """Whether the app is OpenTelemetry's middleware around another."""
        return is_tracing(type(self.app))

    @property
    def tracer_source(self) -> object | None:
        """The tracer of that middleware."""
        return tracer_within(self.app)

    def attach(self, error_format: ErrorFormat = "problem") -> None:
        """Do nothing: there is nothing to hook into."""

    def route_of(self, scope: Scope) -> str | None:
        """Return what the app itself noted: a ``route`` entry of the scope that is text, else None."""
        route = scope.get("route")
        return route if isinstance(route, str) else None

    def routes(self) -> Sequence[RouteInfo]:
        """Return nothing: the app's routes cannot be known."""
        return ()

    def canonical(self, path: str, root: str) -> str:
        """Return ``path`` without the prefix."""
        return path_below(root, path)

    def resolve(
        self, method: str, path: str, root: str = "", headers: Headers | None = None
    ) -> RouteKey | None:
        """Return None: how the app routes cannot be known."""
        return None

    def guard(self) -> None:
        """Do nothing: an app that notes its ``route`` in the scope is asked when its response begins."""

    def docs_paths(self) -> frozenset[str]:
        """Return nothing."""
        return frozenset()

    def docs_pages(self, root: str = "") -> Sequence[bytes]:
        """Return nothing: there are none that could be known."""
        return ()

    def problem_of(self, status: int, content_type: str, body: bytes, scope: Scope) -> APIError | None:
        """Return None: every body is the app's own."""
        return None

    def patch_openapi(self, error_format: ErrorFormat = "problem") -> None:
        """Do nothing."""
