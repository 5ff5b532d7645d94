"""Django's URL patterns as templates."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache, wraps
from importlib import import_module
from typing import Any

from asgiref.sync import async_to_sync

from ..kinds import full_name
from ..routes import RouteInfo, RouteKey
from ._protocol import ANY_METHOD

__all__ = ("canonical", "enter_first", "key_of", "resolve", "template_of", "walk")

_urls: Any = import_module("django.urls")
_resolvers: Any = import_module("django.urls.resolvers")
# The views that serve files, by module and name: to import them is to need their app installed.
_FILES = frozenset({("django.views.static", "serve"), ("django.contrib.staticfiles.views", "serve")})
_REGEX = re.compile(r"[\^$\\]|\(\?P<|\(\?:|\(\[")


_PARAMETERS = re.compile(r"<.*", re.DOTALL)


# As many entries as a site has routes, with room; each is one short text.
@lru_cache(maxsize=4096)
def template_of(route: str) -> str:
    """Return ``users/<int:id>`` as ``/users/<int:id>`` and ``^page/(?P<n>[0-9]+)/$`` as ``/page/<n>/``."""
    if _REGEX.search(route):
        simplified: str = import_module("django.contrib.admindocs.views").simplify_regex(route)
        return simplified
    return f"/{route.lstrip('/')}"


def canonical(path: str, root: str) -> str:
    """Return ``path`` without the script's name, as ``ASGIRequest`` makes its ``path_info``."""
    prefix: str = import_module("django.conf").settings.FORCE_SCRIPT_NAME or root
    return path.removeprefix(prefix) if prefix else path


def key_of(match: Any) -> RouteKey:
    """Return the key of the route that ``match`` is of."""
    return template_of(match.route), id(match.func)


def resolve(path: str) -> RouteKey | None:
    """Return the route that serves ``path``, or None."""
    try:
        return key_of(_urls.get_resolver().resolve(path))
    except _urls.Resolver404:
        return None


def enter_first(late: Callable[[], Awaitable[None]], match: Any) -> tuple[Any, Any, Any]:
    """Return the view of ``match`` and its arguments; the view waits for ``late`` first.

    A view stays of its kind, a coroutine function or not: Django's transactions depend on it.
    """
    view = match.func

    async def wait() -> None:
        await late()

    if _is_asynchronous(view):

        @wraps(view)
        async def entered(*args: Any, **kwargs: Any) -> Any:
            await late()
            return await view(*args, **kwargs)

        return entered, match.args, match.kwargs

    @wraps(view)
    def entered_in_thread(*args: Any, **kwargs: Any) -> Any:
        async_to_sync(wait)()
        return view(*args, **kwargs)

    return entered_in_thread, match.args, match.kwargs


def _is_asynchronous(view: Any) -> bool:
    # As Django asks: class-based views are marked, on 3.11 with asgiref's own mark.
    found: bool = import_module("asgiref.sync").iscoroutinefunction(view)
    return found


def _methods(view: Any) -> frozenset[str]:
    # A class-based view names what it has; a function decides inside.
    kind = getattr(view, "view_class", None)
    if kind is None:
        return ANY_METHOD
    has = {name.upper() for name in kind.http_method_names if hasattr(kind, name)}
    return frozenset(has | ({"HEAD"} if "GET" in has else set()))


def _loose(template: str) -> re.Pattern[str]:
    parts = re.split(r"<[^>]*>", template)
    return re.compile("(?s:.*)".join(re.escape(part) for part in parts) + r"\Z")


def _serves_files(view: Any) -> bool:
    while view is not None:
        if (getattr(view, "__module__", ""), getattr(view, "__name__", "")) in _FILES:
            return True
        view = getattr(view, "__wrapped__", None)
    return False


def walk(opaque: list[str], resolver: Any = None, prefix: str = "") -> list[RouteInfo]:
    """Return every pattern below ``resolver``, the root URL configuration by default.

    Parameters:
        opaque: gets the class of each pattern that is neither a path nor an include.
        resolver: whose patterns are returned.
        prefix: what stands before them.
    """
    if resolver is None:
        resolver = _urls.get_resolver()
    found: list[RouteInfo] = []
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, _resolvers.URLResolver):
            found += walk(opaque, pattern, route)
        elif isinstance(pattern, _resolvers.URLPattern):
            methods, view = _methods(pattern.callback), pattern.callback
            # A regular expression may take more than one segment where its template shows a name.
            loose = _loose(template_of(route)) if _REGEX.search(route) else None
            template, static = template_of(route), _serves_files(view)
            mounts = (_PARAMETERS.sub("", template).rstrip("/"),) if static else ()
            found.append(RouteInfo(methods, template, view, loose, mounts=mounts, static=static))
        else:
            opaque.append(full_name(pattern))
    return found
