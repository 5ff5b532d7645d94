"""Litestar: it answers 500 without letting the exception out, so a hook reports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute
from litestar.static_files import StaticFiles
from litestar.static_files import config as _static_files
from litestar.utils import normalize_path

from ...errors import APIError, FieldError, ValidationError
from ...types import Headers, Scope
from ..kinds import full_name
from ..routes import RouteInfo, RouteKey
from ._defaults import error_for_status, json_object, json_objects
from ._entry import guarded
from ._litestar_logging import drop_default_handlers
from ._protocol import ANY_METHOD, WEBSOCKET, ErrorFormat, exchange_of
from ._validation import INVALID, replaced

__all__ = ("LitestarFramework",)

# Beginnings of messages made from the schema alone (msgspec 0.18 to 0.22, pydantic).
_SAFE = (
    *("Expected `", "Object missing ", "Object contains unknown ", "Missing required ", "Field required"),
    *("Input should ", "String should ", "List should ", "Set should ", "Tuple should ", "Data should "),
)
_EXACT = frozenset(
    {
        *("Invalid UUID", "Invalid RFC3339 encoded datetime", "Invalid RFC3339 encoded date"),
        *("Invalid RFC3339 encoded time", "Invalid ISO8601 duration", "Invalid base64 encoded string"),
        *("Invalid decimal string", "Invalid number", "Integer value out of range"),
        "Duration is out of range",
    }
)
_REPEATS = {"Invalid enum value ": "Input should be one of the values expected"}
"""Beginnings of messages that go on with the value."""
_KEYS = ({"status_code", "detail"}, {"status_code", "detail", "extra"})


async def _report(exception: Exception, scope: Any) -> None:
    exchange = exchange_of(scope)
    if exchange is None:
        return
    if isinstance(exception, APIError):
        exchange.error = exception
    if getattr(exception, "status_code", getattr(exception, "status", 500)) >= 500:
        exchange.exception = exception


def _field(entry: Mapping[str, Any]) -> FieldError:
    key, source = str(entry.get("key", "")), str(entry.get("source", "body"))
    pointer = (
        "".join(f"/{part}" for part in key.split(".") if part) if source == "body" else f"{source}/{key}"
    )
    return FieldError(pointer[:200], _message(str(entry.get("message", ""))), "invalid")


def _message(given: str) -> str:
    if given in _EXACT or given.startswith(_SAFE):
        return given
    repeated = next((known for beginning, known in _REPEATS.items() if given.startswith(beginning)), None)
    return repeated or replaced(given) or INVALID


class LitestarFramework:
    """Adapter for a Litestar application."""

    name = "litestar"
    rooted = False
    tracer_source: object | None = None

    def __init__(self, app: Litestar) -> None:
        self.app = app
        self._templates: dict[str, str] = {}
        self._mounts: dict[int, str] = {}
        self.opaque: Sequence[str] = ()

    @property
    def has_cors(self) -> bool:
        """Whether the app was made with ``cors_config``."""
        return self.app.cors_config is not None

    @property
    def debug(self) -> bool:
        """Whether the app was made with ``debug=True``."""
        return bool(getattr(self.app, "debug", False))

    @property
    def native_tracing(self) -> bool:
        """Whether Litestar's OpenTelemetry plugin or middleware is installed."""
        parts = [*self.app.plugins, *self.app.middleware]
        return any("OpenTelemetry" in type(part).__name__ for part in parts)

    def attach(self, error_format: ErrorFormat = "problem") -> None:
        """Add the hook, behind the app's own ones, and take Litestar's unasked handlers off the loggers."""
        drop_default_handlers(self.app)
        hooks: list[Any] = cast("Any", self.app).after_exception
        hooks.append(_report)

    def route_of(self, scope: Scope) -> str | None:
        """Return the template with its parameters' types, as the app wrote it."""
        template = scope.get("path_template")
        if template is None:
            return None
        if not self._templates:
            self.routes()
        return self._template(scope.get("route_handler"), template)

    def _template(self, handler: object, template: str) -> str:
        # Litestar names a mount by the template of the root (seen in 2.25).
        return self._mounts.get(id(handler)) or self._templates.get(template, template)

    def routes(self) -> Sequence[RouteInfo]:
        """Return every route, one entry per handler."""
        found: list[RouteInfo] = []
        self.opaque = ()
        for route in self.app.routes:
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    methods = frozenset(str(method) for method in handler.http_methods)
                    function = cast("Any", handler.fn)
                    # The handlers of `create_static_files_router` have no other mark.
                    static = getattr(function, "__module__", "") == _static_files.__name__
                    mounts = (route.path.partition("{")[0].rstrip("/"),) if static else ()
                    found.append(
                        RouteInfo(
                            methods, route.path, function, handler=handler, mounts=mounts, static=static
                        )
                    )
            elif isinstance(route, WebSocketRoute):
                function = cast("Any", route.route_handler.fn)
                found.append(RouteInfo(WEBSOCKET, route.path, function, handler=route.route_handler))
            elif isinstance(cast("object", route), ASGIRoute):
                template, mount = route.path, route.path.rstrip("/")
                asgi, function = route.route_handler, cast("Any", route.route_handler.fn)
                if asgi.is_mount:
                    template = f"{mount}/{{path:path}}"
                    self._mounts[id(asgi)] = template
                static = asgi.is_static or isinstance(function, StaticFiles)
                mounts = (mount,) if asgi.is_mount else ()
                found.append(
                    RouteInfo(ANY_METHOD, template, function, handler=asgi, mounts=mounts, static=static)
                )
            else:
                self.opaque = [*self.opaque, full_name(route)]
                continue
            self._templates[route.path_format] = route.path
        return found

    def canonical(self, path: str, root: str) -> str:
        """Return ``path`` without prefix, doubled and trailing slashes, as Litestar's router does."""
        return normalize_path(path.split(root, maxsplit=1)[-1] if root else path)

    def resolve(
        self, method: str, path: str, root: str = "", headers: Headers | None = None
    ) -> RouteKey | None:
        """Ask Litestar's router, which remembers its answers."""
        asked = None if method == "WEBSOCKET" else cast("Any", method)
        try:
            _, handler, _, _, template = self.app.asgi_router.handle_routing(
                path=self.canonical(path, root), method=asked
            )
        except Exception:
            # Not found, method not allowed, or a parameter that cannot be read: no handler runs.
            return None
        return self._template(handler, template), id(handler)

    def guard(self) -> None:
        """Stand between Litestar's router and the app, middlewares included, of the route that it chooses."""
        router: Any = self.app.asgi_router
        inner = router.handle_routing
        if getattr(inner, "__roadworthy__", False):
            return

        # As many answers as Litestar itself remembers; it asks by keyword.
        @lru_cache(1024)
        def handle_routing(path: str, method: Any) -> tuple[Any, ...]:
            asgi_app, handler, *rest, template = inner(path=path, method=method)
            key = (self._template(handler, template), id(handler))
            return guarded(asgi_app, key), handler, *rest, template

        cast("Any", handle_routing).__roadworthy__ = True
        router.handle_routing = handle_routing

    def docs_paths(self) -> frozenset[str]:
        """Return ``/schema`` and all below it, or wherever the app's configuration puts it."""
        config = self.app.openapi_config
        if config is None:
            return frozenset()
        path = (config.path or "/schema").rstrip("/")
        return frozenset({path or "/", f"{path}/*"})

    def docs_pages(self, root: str = "") -> Sequence[bytes]:
        """Return nothing: its pages are rendered by plugins, from the request."""
        return ()

    def problem_of(self, status: int, content_type: str, body: bytes, scope: Scope) -> APIError | None:
        """Recognise ``{"status_code", "detail"}``, with ``extra`` where fields were refused."""
        if status < 400 or not body.startswith(b'{"status_code":'):
            return None
        document = json_object(body)
        if document is None or document.keys() not in _KEYS or document["status_code"] != status:
            return None
        if "extra" not in document:
            return error_for_status(status, str(document["detail"]))
        entries = json_objects(document["extra"])
        if not entries or not all("message" in entry for entry in entries):
            return None
        # The detail of a failed validation repeats the target with its query.
        error = ValidationError(errors=[_field(entry) for entry in entries[:100]])
        error.status = status
        return error

    def patch_openapi(self, error_format: ErrorFormat = "problem") -> None:
        """Do nothing yet: Litestar documents no error body unless a handler names its exceptions."""
