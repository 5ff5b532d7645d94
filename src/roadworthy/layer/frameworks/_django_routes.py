"""Django's URL patterns as templates."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..routes import RouteInfo
from ._protocol import ANY_METHOD, UnknownRouteError

__all__ = ("template_of", "walk")

_urls: Any = import_module("django.urls")
_resolvers: Any = import_module("django.urls.resolvers")
_REGEX = re.compile(r"[\^$\\]|\(\?P<|\(\?:|\(\[")


# As many entries as a site has routes, with room; each is one short text.
@lru_cache(maxsize=4096)
def template_of(route: str) -> str:
    """Return ``users/<int:id>`` as ``/users/<int:id>`` and ``^page/(?P<n>[0-9]+)/$`` as ``/page/<n>/``."""
    if _REGEX.search(route):
        simplified: str = import_module("django.contrib.admindocs.views").simplify_regex(route)
        return simplified
    return f"/{route.lstrip('/')}"


def _methods(view: Any) -> frozenset[str]:
    # A class-based view names what it has; a function decides inside.
    kind = getattr(view, "view_class", None)
    if kind is None:
        return ANY_METHOD
    has = {name.upper() for name in kind.http_method_names if hasattr(kind, name)}
    return frozenset(has | ({"HEAD"} if "GET" in has else set()))


def walk(resolver: Any = None, prefix: str = "") -> list[RouteInfo]:
    """Return every pattern below ``resolver``, the root URL configuration by default.

    Raises:
        UnknownRouteError: a pattern is neither a path nor an include.
    """
    if resolver is None:
        resolver = _urls.get_resolver()
    found: list[RouteInfo] = []
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, _resolvers.URLResolver):
            found += walk(pattern, route)
        elif isinstance(pattern, _resolvers.URLPattern):
            found.append(RouteInfo(_methods(pattern.callback), template_of(route), pattern.callback))
        else:
            raise UnknownRouteError(f"the URL pattern {pattern!r} is neither a path nor an include")
    return found
