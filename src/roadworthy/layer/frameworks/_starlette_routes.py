"""Walking the routes of a Starlette-like app, and naming the one that a request took."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute, compile_path

from ...types import Scope
from ..routes import RouteInfo
from ._protocol import ANY_METHOD, WEBSOCKET, UnknownRouteError

__all__ = ("Expand", "RouteIndex", "same_routes", "walk")

Expand = Callable[[Iterable[Any]], Iterable[Any]]
"""Replaces lazily included routers by their routes."""

_MAX_MOUNTS = 32


def same_routes(routes: Iterable[Any]) -> Iterable[Any]:
    """Return the routes as they are: plain Starlette has nothing lazy."""
    return routes


def _methods(route: Any) -> frozenset[str]:
    if route.methods:
        return frozenset(route.methods)
    endpoint = route.endpoint
    if isinstance(endpoint, type) and issubclass(endpoint, HTTPEndpoint):
        has = {method for method in ANY_METHOD if hasattr(endpoint, method.lower())}
        return frozenset(has | ({"HEAD"} if "GET" in has else set()))
    return ANY_METHOD


def walk(
    routes: Iterable[Any], expand: Expand, mounts: set[str], prefix: str = "", depth: int = 0
) -> list[RouteInfo]:
    """Return every route below ``routes``, and add the path of every mount to ``mounts``.

    A mount of an app without routes stands as ``/prefix/{path:path}`` with any method.

    Raises:
        UnknownRouteError: a route is of no kind known here, or mounts contain each other.
    """
    if depth > _MAX_MOUNTS:
        raise UnknownRouteError(f"the mounts below {prefix[:100]!r} contain each other")
    found: list[RouteInfo] = []
    for route in expand(routes):
        if isinstance(route, Host):
            found += walk(route.routes, expand, mounts, prefix, depth + 1)
        elif isinstance(route, Mount):
            path = prefix + route.path
            mounts.add(path)
            inner = walk(route.routes, expand, mounts, path, depth + 1)
            found += inner or [RouteInfo(ANY_METHOD, path + "/{path:path}", route.app)]
        elif isinstance(route, WebSocketRoute):
            found.append(RouteInfo(WEBSOCKET, prefix + route.path, route.endpoint))
        elif isinstance(route, Route) or not isinstance(route, BaseRoute):
            # What is no BaseRoute is FastAPI's effective context of an included route.
            found.append(RouteInfo(_methods(route), prefix + str(route.path), route.endpoint))
        else:
            kind = type(route)
            raise UnknownRouteError(
                f"the route {route!r} is a {kind.__module__}.{kind.__qualname__}, which cannot be walked: "
                "limits and metrics would not cover it. Register it as a Route, a Mount or an included router"
            )
    return found


class RouteIndex:
    """Finds templates that the scope names only by endpoint or by the path of a mount."""

    def __init__(self, routes: Iterable[RouteInfo], mounts: Iterable[str]) -> None:
        self._by_endpoint: dict[int, list[RouteInfo]] = {}
        for route in routes:
            self._by_endpoint.setdefault(id(route.endpoint), []).append(route)
        self._mounts: set[str] = set()
        self._mount_patterns: list[tuple[re.Pattern[str], str]] = []
        for path in mounts:
            if "{" in path:
                self._mount_patterns.append((compile_path(path)[0], path))
            else:
                self._mounts.add(path)

    def by_endpoint(self, endpoint: object, scope: Scope) -> str | None:
        """Return the whole template of the route that has ``endpoint``."""
        routes = self._by_endpoint.get(id(endpoint))
        if routes is None:
            return None
        if len(routes) > 1:
            path = scope["path"].removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
            for route in routes:
                if compile_path(route.template)[0].match(path):
                    return route.template
        return routes[0].template

    def mount(self, scope: Scope) -> str:
        """Return the template of the mounts that the request went through, "" for none.

        A mount writes the path it matched, not its template, into ``root_path``.
        """
        start, now = scope["app_root_path"], scope["root_path"]
        path = now[len(start) :] if now.startswith(start) else ""
        if not path or path in self._mounts:
            return path
        for pattern, template in self._mount_patterns:
            if pattern.match(path):
                return template
        # Mounted after the start: bounded all the same.
        return "/{mount:path}"
