"""Django: it answers 500 without letting the exception out, and keeps the route to itself."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

from ...errors import APIError
from ...exits import ExitInTaskError, comes_from_signal
from ...types import Headers, Scope
from ..routes import RouteInfo, RouteKey
from ._defaults import error_for_status, media_type, prefers_html
from ._django_routes import canonical, enter_first, key_of, resolve, template_of, walk
from ._protocol import ANY_METHOD, ErrorFormat, exchange_of

__all__ = ("DjangoFramework",)

# Django has no type information; imported by name so that no checker asks for stubs.
_signals: Any = import_module("django.core.signals")
_http: Any = import_module("django.http")
_defaults: Any = import_module("django.views.defaults")
_PAGES = {
    400: ("Bad Request (400)", ""),
    403: ("403 Forbidden", ""),
    404: ("Not Found", "The requested resource was not found on this server."),
    500: ("Server Error (500)", ""),
}
_ROUTE_KEY = "roadworthy.route"


def _report(request: Any = None, **_: Any) -> None:
    exchange = exchange_of(getattr(request, "scope", {}))
    exception = sys.exc_info()[1]
    if exchange is None or exception is None:
        return
    if isinstance(exception, APIError):
        exchange.error = exception
    if not isinstance(exception, APIError) or exception.status >= 500:
        exchange.exception = exception


def _mark(record: logging.LogRecord) -> bool:
    """Mark Django's own record of a failure, which the layer records too; other handlers still get it."""
    if exchange_of(getattr(getattr(record, "request", None), "scope", {})) is not None:
        record.roadworthy_recorded = True
    return True


def _entering(respond: Callable[[Any], Awaitable[Any]], key: RouteKey) -> Callable[[Any], Awaitable[Any]]:
    """Return ``respond`` of the handler of static files, under the rule of its route."""

    async def get_response_async(request: Any) -> Any:
        exchange = exchange_of(request.scope)
        late = None if exchange is None else exchange.enter(key)
        if late is not None:
            await late()
        return await respond(request)

    return get_response_async


class DjangoFramework:
    """Adapter for Django's ASGI handler, with or without the handler for static files around it."""

    name = "django"
    opaque: Sequence[str] = ()
    native_tracing = False
    tracer_source: object | None = None

    @property
    def rooted(self) -> bool:
        """Whether ``FORCE_SCRIPT_NAME`` is set."""
        return bool(import_module("django.conf").settings.FORCE_SCRIPT_NAME)

    @property
    def has_cors(self) -> bool:
        """Whether django-cors-headers or a middleware like it is installed."""
        names: list[str] = import_module("django.conf").settings.MIDDLEWARE
        return any("cors" in name.lower() for name in names)

    @property
    def debug(self) -> bool:
        """Django's DEBUG."""
        return bool(import_module("django.conf").settings.DEBUG)

    def __init__(self, app: Any) -> None:
        # The handler for static files keeps the site's own handler in `application`.
        self.app = app
        self.site: Any = getattr(app, "application", app)
        base = getattr(app, "base_url", None)
        self._static: str | None = None if base is None or base.netloc else base.path
        self._files: RouteInfo | None = None
        if self._static is not None:
            template, mount = f"{self._static}<path:path>", self._static.rstrip("/")
            # With FORCE_SCRIPT_NAME, STATIC_URL has the prefix that is cut off the paths of all others.
            prefixes = {self._static, canonical(self._static, "")}
            starts = re.compile("|".join(re.escape(prefix) for prefix in prefixes))
            self._files = RouteInfo(
                ANY_METHOD, template, None, starts, handler=app, mounts=(mount,), static=True
            )
        self._pages = {
            status: (_defaults.ERROR_PAGE_TEMPLATE % {"title": title, "details": details}).encode()
            for status, (title, details) in _PAGES.items()
        }

    def attach(self, error_format: ErrorFormat = "problem") -> None:
        """Wrap four methods of this handler, listen to the signal of failures, mark Django's records."""
        resolved, process = self.site.resolve_request, self.site.process_exception_by_middleware

        def resolve_request(request: Any) -> Any:
            match = resolved(request)
            request.scope[_ROUTE_KEY] = match.route
            exchange = exchange_of(request.scope)
            late = None if exchange is None else exchange.enter(key_of(match))
            return match if late is None else enter_first(late, match)

        def process_exception(exception: Exception, request: Any) -> Any:
            response = process(exception, request)
            exchange = exchange_of(request.scope)
            if response is None and isinstance(exception, APIError) and exchange is not None:
                exchange.error = exception
                if exception.status >= 500:
                    exchange.exception = exception
                return _http.HttpResponse(status=exception.status)
            return response

        if self._files is not None:
            self.app.get_response_async = _entering(self.app.get_response_async, self._files.key)
        respond, send_response = self.site.get_response_async, self.site.send_response

        async def get_response_async(request: Any) -> Any:
            try:
                return await respond(request)
            except (SystemExit, KeyboardInterrupt) as exception:
                exchange = exchange_of(request.scope)
                if exchange is None or comes_from_signal(exception):
                    raise
                # Django runs its views in a task of its own, out of which an exit would end the event loop.
                exchange.error, exchange.exception = APIError(), exception
                return _http.HttpResponse(status=500)

        async def send_all(response: Any, send: Any) -> None:
            try:
                await send_response(response, send)
            except (SystemExit, KeyboardInterrupt) as exception:
                if comes_from_signal(exception):
                    raise
                raise ExitInTaskError(exception) from exception

        self.site.get_response_async, self.site.send_response = get_response_async, send_all
        self.site.resolve_request = resolve_request
        self.site.process_exception_by_middleware = process_exception
        _signals.got_request_exception.connect(_report, dispatch_uid="roadworthy")
        logging.getLogger("django.request").addFilter(_mark)

    def route_of(self, scope: Scope) -> str | None:
        """Return the matched route, ``/users/<int:id>``; regular expressions are simplified to this form."""
        route = scope.get(_ROUTE_KEY)
        if route is not None:
            return template_of(route)
        if self._static is not None and scope["path"].startswith(self._static):
            return f"{self._static}<path:path>"
        return None

    def routes(self) -> Sequence[RouteInfo]:
        """Return static files and every pattern of the root URL configuration; views choose their methods."""
        found: list[str] = []
        self.opaque = found
        return [*([] if self._files is None else [self._files]), *walk(found)]

    def canonical(self, path: str, root: str) -> str:
        """Return ``path`` without the script's name, as Django's request does."""
        return canonical(path, root)

    def resolve(
        self, method: str, path: str, root: str = "", headers: Headers | None = None
    ) -> RouteKey | None:
        """Ask Django's resolver, with the root URL configuration, if the path is not one of static files."""
        # The handler of static files looks at the whole path, prefix and all.
        if self._files is not None and method != "WEBSOCKET" and path.startswith(self._static or "/"):
            return self._files.key
        return resolve(canonical(path, root))

    def guard(self) -> None:
        """Do nothing more: the wrapped ``resolve_request`` enters every route."""

    def docs_paths(self) -> frozenset[str]:
        """Return nothing: Django has no API documentation pages."""
        return frozenset()

    def docs_pages(self, root: str = "") -> Sequence[bytes]:
        """Return nothing: there are none."""
        return ()

    def problem_of(self, status: int, content_type: str, body: bytes, scope: Scope) -> APIError | None:
        """Recognise Django's default pages, unless for a browser, an empty 405 and its plain-text 500."""
        if status < 400:
            return None
        if status == 405:
            return None if body else error_for_status(status)
        if media_type(content_type) == "text/plain":
            return error_for_status(status) if (status, body) == (500, b"Internal Server Error") else None
        if body != self._pages.get(status) or prefers_html(scope):
            # 413 is the one body that Django makes before there is a request.
            return error_for_status(413) if (status, body) == (413, b"413 Payload too large") else None
        return error_for_status(status)

    def patch_openapi(self, error_format: ErrorFormat = "problem") -> None:
        """Do nothing: Django makes no OpenAPI document."""
