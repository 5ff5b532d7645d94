"""Walking the routes of a Starlette-like app, and naming the one that a request took."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.routing import BaseRoute, Host, Match, Mount, Route, WebSocketRoute, compile_path
from starlette.staticfiles import StaticFiles

from ...types import Scope
from ..kinds import full_name
from ..routes import RouteInfo, RouteKey
from ._entry import guarded, unguarded
from ._protocol import ANY_METHOD, WEBSOCKET, UnknownRouteError

__all__ = ("Expand", "Node", "RouteIndex", "choose", "guard", "nodes", "opaque", "same_routes", "tree")

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


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A route, what the layer knows of it, and the routes below it."""

    route: Any
    path: str
    info: RouteInfo | None
    below: tuple[Node, ...] = ()


def tree(
    routes: Iterable[Any], expand: Expand, prefix: str = "", depth: int = 0, mounts: tuple[str, ...] = ()
) -> tuple[Node, ...]:
    """Return every route of ``routes`` with what stands below it.

    Parameters:
        routes: of one app or router.
        expand: replaces lazily included routers by their routes.
        prefix: what stands before their paths.
        depth: how many mounts and hosts are around them.
        mounts: the prefixes of those mounts.

    A mount of an app without routes stands as ``/prefix/{path:path}`` with any method. A route of the app's
    own kind is in its place and has no template: it is asked like any other, and what it serves has no rule.

    Raises:
        UnknownRouteError: mounts contain each other.
    """
    if depth > _MAX_MOUNTS:
        raise UnknownRouteError(f"the mounts below {prefix[:100]!r} contain each other")
    found: list[Node] = []
    for route in expand(routes):
        if isinstance(route, Host):
            found.append(Node(route, prefix, None, tree(route.routes, expand, prefix, depth + 1, mounts)))
        elif isinstance(route, Mount):
            path = prefix + route.path
            within = (*mounts, path)
            below = tree(route.routes, expand, path, depth + 1, within)
            app, static = unguarded(route.app), _serves_files(route)
            info = None if below else _info(ANY_METHOD, path + "/{path:path}", app, within, static=static)
            found.append(Node(route, path, info, below))
        elif isinstance(route, WebSocketRoute):
            path = prefix + route.path
            found.append(Node(route, path, _info(WEBSOCKET, path, route.endpoint, mounts)))
        elif isinstance(route, Route) or not isinstance(route, BaseRoute):
            # What is no BaseRoute is FastAPI's effective context of an included route.
            path = prefix + str(route.path)
            static = isinstance(route.endpoint, StaticFiles)
            info = _info(_methods(route), path, route.endpoint, mounts, static=static)
            found.append(Node(route, path, info))
        else:
            found.append(Node(route, prefix, None))
    return tuple(found)


def _info(
    methods: frozenset[str], template: str, endpoint: Any, mounts: tuple[str, ...], *, static: bool = False
) -> RouteInfo:
    pattern = compile_path(template)[0] if template else None
    return RouteInfo(methods, template, endpoint, pattern, mounts=mounts, static=static)


def _serves_files(route: Mount) -> bool:
    """Return whether a mount is one of static files; middleware that the mount was given may stand before."""
    return isinstance(unguarded(getattr(route, "_base_app", route.app)), StaticFiles)


def nodes(below: Iterable[Node]) -> Iterator[Node]:
    """Yield these nodes and all below them, in the order in which the router asks them."""
    for node in below:
        yield node
        yield from nodes(node.below)


def opaque(below: Iterable[Node]) -> list[str]:
    """Return the classes of the routes of which nothing is known but whether they match."""
    unknown = [node.route for node in nodes(below) if node.info is None]
    return [full_name(route) for route in unknown if not isinstance(route, Host | Mount)]


def choose(below: Iterable[Node], scope: Scope) -> Node | None:
    """Return what Starlette's router chooses for ``scope``, by the routes' own matching.

    It is a mount or a host where nothing in it matches, and the response is theirs.
    """
    partial: Node | None = None
    for node in below:
        match, child_scope = node.route.matches(scope)
        if match is Match.FULL:
            # As the router does it: a mount is final, whatever stands in it.
            return choose(node.below, {**scope, **child_scope}) or node
        if match is Match.PARTIAL and partial is None:
            partial = node
    return partial


def guard(below: Iterable[Node], template_of: Callable[[Scope], str | None]) -> None:
    """Put the guard before the app of every route; one that stands in several places is asked where it is."""
    places: dict[int, tuple[Any, list[RouteInfo]]] = {}
    for node in nodes(below):
        if node.info is not None:
            places.setdefault(id(node.route), (node.route, []))[1].append(node.info)
    for route, infos in places.values():
        key = infos[0].key if len(infos) == 1 else _asking(infos, template_of)
        route.app = guarded(unguarded(route.app), key)


def _asking(
    infos: list[RouteInfo], template_of: Callable[[Scope], str | None]
) -> Callable[[Scope], RouteKey]:
    keys = {info.template: info.key for info in infos}

    def key(scope: Scope) -> RouteKey:
        template = template_of(scope)
        # One that was mounted after the start has the handler all the same.
        return keys.get(template or "", (template or "", infos[0].key[1]))

    return key


class RouteIndex:
    """Finds templates that the scope names only by endpoint or by the path of a mount."""

    def __init__(self, below: Iterable[Node]) -> None:
        self._by_endpoint: dict[int, list[RouteInfo]] = {}
        mounts: set[str] = set()
        for node in nodes(below):
            if node.info is not None:
                self._by_endpoint.setdefault(id(node.info.endpoint), []).append(node.info)
            if isinstance(node.route, Mount):
                mounts.add(node.path)
        self._mounts: set[str] = set()
        self._mount_patterns: list[tuple[re.Pattern[str], str]] = []
        for path in mounts:
            if "{" in path:
                self._mount_patterns.append((compile_path(path)[0], path))
            else:
                self._mounts.add(path)

    def by_endpoint(self, endpoint: object, scope: Scope) -> str | None:
        """Return the whole template of the route that has ``endpoint``."""
        routes = self._by_endpoint.get(id(unguarded(endpoint)))
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
