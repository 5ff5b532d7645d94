"""What the layer asks of a framework's adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ..route_table import Router
from ..routes import ANY_METHOD, WEBSOCKET

if TYPE_CHECKING:
    from ...errors import APIError
    from ...types import Scope
    from ..exchange import Exchange
    from ..routes import RouteInfo

__all__ = (
    "ANY_METHOD",
    "EXCHANGE_KEY",
    "WEBSOCKET",
    "ErrorFormat",
    "Framework",
    "UnknownRouteError",
    "exchange_of",
)

EXCHANGE_KEY = "roadworthy.exchange"
"""The scope's key under which the layer puts the exchange, for hooks that run inside the app."""

ErrorFormat: TypeAlias = Literal["problem", "envelope", "app", "framework"]


class UnknownRouteError(RuntimeError):
    """Raised when the app has a route of a kind that cannot be walked, so that no limit lapses in silence."""


def exchange_of(scope: Scope) -> Exchange | None:
    """Return the exchange that ``scope`` belongs to, or None where the app runs without the layer."""
    found: Exchange | None = scope.get(EXCHANGE_KEY)
    return found


class Framework(Router, Protocol):
    """One app of one framework; what it shares with its router is how it reads a path."""

    @property
    def name(self) -> str:
        """The framework: ``fastapi``, ``starlette``, ``litestar``, ``django`` or ``asgi``."""
        ...

    @property
    def debug(self) -> bool:
        """Whether the app shows stacks to its clients by itself."""
        ...

    @property
    def native_tracing(self) -> bool:
        """Whether the framework, or a middleware in it, makes OpenTelemetry's server spans by itself."""
        ...

    @property
    def tracer_source(self) -> object | None:
        """The tracer, or the provider of tracers, that they come from; None for the process's provider."""
        ...

    def attach(self, error_format: ErrorFormat = "problem") -> None:
        """Hook into the app, once, before its first request.

        From then on an :class:`roadworthy.errors.APIError` that the app raises becomes ``exchange.error``,
        and an exception that the framework answers by itself becomes ``exchange.exception``, before the
        response begins. The latter is to be recorded only when the response is a 5xx: the app may have a
        handler for it.
        """
        ...

    def route_of(self, scope: Scope) -> str | None:
        """Return the whole template of the route that the app chose, or None when it chose none."""
        ...

    def routes(self) -> Sequence[RouteInfo]:
        """Return every route of the app, those of mounted apps and included routers too.

        Raises:
            UnknownRouteError: the routes have no end.
        """
        ...

    @property
    def has_cors(self) -> bool:
        """Whether the app grants other origins access by a middleware of its own."""
        ...

    @property
    def opaque(self) -> Sequence[str]:
        """What the app routes by besides: names of what has no template, so that no rule can cover it."""
        ...

    @property
    def rooted(self) -> bool:
        """Whether the app itself cuts a prefix off the paths that it is asked for."""
        ...

    def guard(self) -> None:
        """Have ``Exchange.enter`` called with a route when the app has chosen it, before its handler runs.

        Called when there are rules; calling it again adds routes that came in between.
        """
        ...

    def docs_paths(self) -> frozenset[str]:
        """Return the paths of the framework's API documentation pages; ``/schema/*`` stands for all below."""
        ...

    def docs_pages(self, root: str = "") -> Sequence[bytes]:
        """Return the HTML of those pages as the framework makes it; nothing when the app makes its own.

        Parameters:
            root: the prefix at which the server mounts the app, "" for none; links in the pages have it.
        """
        ...

    def problem_of(self, status: int, content_type: str, body: bytes, scope: Scope) -> APIError | None:
        """Return the error that ``body`` stands for when it is exactly the framework's default error body."""
        ...

    def patch_openapi(self, error_format: ErrorFormat = "problem") -> None:
        """Make the app's OpenAPI document show the error bodies that clients get. Call once."""
        ...
