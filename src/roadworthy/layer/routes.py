"""Per-route rules: what a single route may do differently from the settings.

A rule is attached to a handler with :func:`route_rule`, or given by path to :func:`roadworthy.roadworthy`. At
start-up every rule is bound to the routes it covers; a rule that covers none stops the start, so that a limit
never lapses in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from ..near import nearest
from ..settings import (
    OPENER_POLICIES,
    PlainMistake,
    Rate,
    parse_duration,
    parse_frame_ancestors,
    parse_rate,
    parse_size,
)

__all__ = (
    "ANY_METHOD",
    "WEBSOCKET",
    "RouteInfo",
    "RouteKey",
    "RouteRule",
    "bind_rules",
    "path_below",
    "route_rule",
    "rule_of",
    "template_pattern",
)

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
ANY_METHOD = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods of a route, or a rule, that leaves the choice to its app (a mount): these and every other."""
WEBSOCKET = frozenset({"WEBSOCKET"})
"""Stands where a WebSocket route would have methods; no HTTP method matches it."""
RouteKey: TypeAlias = tuple[str, int]
"""What identifies a route: its template, and the id of its handler."""
_ATTRIBUTE = "__roadworthy_rule__"
# What adapters put behind the prefix of a mount without routes: one parameter for all that follows.
_ALL_BELOW = re.compile(r"/(?:\{\w+:path\}|<(?:path:)?path>)")
# So many names are listed where a rule has none of them.
_LISTED = 12


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Settings of one route; None leaves the service's setting in force.

    Parameters:
        rate_limit: a rate (``"5/minute"``), counted for this route alone; ``"off"`` exempts the route;
            ``"static"`` counts it with the static files (``rate_limit_static``).
        body_limit: bytes, or ``"10MiB"``.
        timeout: seconds until 504, or ``"2m"``; the time in which the body arrives is part of it.
        body_timeout: seconds in which the body arrives, or ``"5m"``; one that moves has longer.
        rate_key: "client" counts by address, "user" by what ``user_key`` of
            :func:`roadworthy.roadworthy` says, and by address for requests without one.
        cancel_on_disconnect: stop the work when the client leaves.
        compress: False keeps this route's bodies as they are.
        frame_ancestors: who may frame what the route answers: ``"self"``, ``"none"``, ``"*"`` or origins.
        coop: its pages' ``Cross-Origin-Opener-Policy``; "" sends none.
        csp: its ``Content-Security-Policy``, for pages and JSON; "" sends none but ``frame-ancestors``.
    """

    rate_limit: Rate | str | None = None
    body_limit: int | str | None = None
    timeout: float | str | None = None
    body_timeout: float | str | None = None
    rate_key: str = "client"
    cancel_on_disconnect: bool | None = None
    compress: bool = True
    frame_ancestors: Sequence[str] | str | None = None
    coop: str | None = None
    csp: str | None = None

    def __post_init__(self) -> None:
        if self.rate_limit is not None:
            word = str(self.rate_limit).strip().lower()
            rate = word if word in ("off", "static") else parse_rate(self.rate_limit)
            object.__setattr__(self, "rate_limit", rate)
        if self.body_limit is not None:
            object.__setattr__(self, "body_limit", parse_size(self.body_limit))
        if self.timeout is not None:
            object.__setattr__(self, "timeout", parse_duration(self.timeout))
        if self.body_timeout is not None:
            object.__setattr__(self, "body_timeout", parse_duration(self.body_timeout))
        if self.rate_key not in ("client", "user"):
            raise PlainMistake('rate_key is "client" or "user"')
        if self.frame_ancestors is not None:
            object.__setattr__(self, "frame_ancestors", parse_frame_ancestors(self.frame_ancestors))
        if self.coop not in (None, *OPENER_POLICIES):
            raise PlainMistake(f"coop is one of {', '.join(OPENER_POLICIES[1:])}, or empty")
        # A rule may come from a file.
        if self.csp is not None and not (
            f"{self.csp}" == self.csp and self.csp.isascii() and self.csp.isprintable()
        ):
            raise PlainMistake("csp becomes a field value, so write printable ASCII on one line")

    @property
    def sets_headers(self) -> bool:
        """Whether the route has security headers of its own."""
        return self.csp is not None or self.coop is not None or self.frame_ancestors is not None


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """One route of the app as its framework describes it.

    Parameters:
        pattern: what the framework's own router matches paths with, by ``match``; made from the template when
            left out.
        handler: what the framework keeps for as long as the app lives, where it makes ``endpoint`` anew each
            time.
        mounts: the prefixes of the mounts that it stands in or is, the innermost last, as the app's code has
            them (``/static``): rules may name them.
        static: it serves files and nothing else, by the framework's own handler.
    """

    methods: frozenset[str]
    template: str
    endpoint: Callable[..., Any] | None
    pattern: re.Pattern[str] | None = field(default=None, compare=False)
    handler: object = field(default=None, compare=False)
    mounts: tuple[str, ...] = ()
    static: bool = False

    @property
    def key(self) -> RouteKey:
        """What an adapter gives to ``Exchange.enter`` when the app has chosen this route."""
        return self.template, id(self.endpoint if self.handler is None else self.handler)

    @property
    def written(self) -> str:
        """How people write it: the template, or the prefix of a mount without routes."""
        mount = self.mounts[-1] if self.mounts else None
        if mount is not None and _ALL_BELOW.fullmatch(self.template.removeprefix(mount)):
            return mount or "/"
        return self.template

    def covered_by(self, template: str) -> bool:
        """Return whether a bound rule's ``template`` is this route's, or names a mount that it stands in."""
        return template == self.template or (template.endswith("/*") and template[:-2] in self.mounts)

    @property
    def matches(self) -> Callable[[str], object]:
        """Returns whether a path is one of this route."""
        if self.pattern is not None:
            return self.pattern.match
        return template_pattern(self.template).fullmatch


def route_rule(**rule: Any) -> Callable[[_Handler], _Handler]:
    """Attach a :class:`RouteRule` to a handler, below the framework's own decorator.

    Raises:
        ValueError: a value is not valid; TypeError: an unknown name.
    """
    made = RouteRule(**rule)

    def attach(handler: _Handler) -> _Handler:
        setattr(handler, _ATTRIBUTE, made)
        return handler

    return attach


def rule_of(endpoint: Callable[..., Any] | None) -> RouteRule | None:
    """Return the rule attached to ``endpoint``, looking through decorators that set ``__wrapped__``."""
    while endpoint is not None:
        found = getattr(endpoint, _ATTRIBUTE, None)
        if isinstance(found, RouteRule):
            return found
        endpoint = getattr(endpoint, "__wrapped__", None)
    return None


def path_below(root: str, path: str) -> str:
    """Return ``path`` without ``root``, the prefix at which an app stands (``root_path`` of ASGI)."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def template_pattern(template: str) -> re.Pattern[str]:
    """Compile a template of Starlette or Litestar (``/files/{name:path}``) or of Django (``<path:name>``)."""
    made = ""
    for part in re.split(r"(\{[^}]*\}|<[^>]*>)", template):
        if not part.startswith(("{", "<")):
            made += re.escape(part)
        elif part.endswith(":path}") or part.startswith("<path:"):
            made += "(?s:.+)"
        else:
            made += "[^/]+"
    return re.compile(made)


_METHOD_AND_TEMPLATE = re.compile(r"(?:([A-Z]+)\s+)?(/.*)")


def bind_rules(
    rules: Mapping[str, RouteRule], routes: Sequence[RouteInfo], opaque: Sequence[str] = ()
) -> list[tuple[frozenset[str], str, RouteRule]]:
    """Bind rules given as ``"POST /upload"`` or ``"/upload"`` to the routes they cover.

    Parameters:
        rules: rules by method and template, or by template for every method of it. A mount is named by its
            prefix (``/static``, ``/static/`` or ``/static/*``), for all that it serves.
        routes: the app's routes; empty for an app whose routes cannot be known, where templates stand alone.
        opaque: classes of routes that have no template.

    Returns:
        the methods, the template and the rule of each; the template of a mount is ``/static/*``.

    Raises:
        ValueError: a key is not of that form, or covers no route.
    """
    bound: list[tuple[frozenset[str], str, RouteRule]] = []
    # The rule that names a method stands before the one for all.
    for key, rule in sorted(rules.items(), key=lambda entry: entry[0].startswith("/")):
        match = _METHOD_AND_TEMPLATE.fullmatch(key)
        if match is None:
            raise ValueError(f'a rule is given by "METHOD /template" or "/template", not {key!r}')
        method, template = match[1], match[2]
        if not routes:
            methods = _with_head(method, template, rules) if method else ANY_METHOD
            bound.append((methods, template, rule))
            continue
        able = [route for route in routes if not method or method in route.methods]
        # A route of this very template comes first: `/static` may be one, beside the mount.
        covered = [route for route in able if route.template == template]
        if not covered:
            template = template.removesuffix("*").rstrip("/") + "/*"
            covered = [route for route in able if route.covered_by(template)]
        if not covered:
            raise ValueError(_covers_nothing(key, match[2], routes, opaque))
        has = frozenset[str]().union(*(route.methods for route in covered))
        bound.append((_with_head(method, template, rules) & has if method else has, template, rule))
    return bound


def _covers_nothing(key: str, template: str, routes: Sequence[RouteInfo], opaque: Sequence[str]) -> str:
    names = {route.written for route in routes}
    names |= {mount or "/" for route in routes for mount in route.mounts}
    near = nearest(template, names)
    if near:
        hint = f"; did you mean {near!r}?"
    else:
        shown = sorted(names)
        more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
        hint = f"; it has {', '.join(shown[:_LISTED])}{more}"
    if opaque:
        kinds = ", ".join(dict.fromkeys(opaque))
        hint += f"; what its routes of the kind {kinds} serve has no template that a rule could name"
    return f"the rule {key!r} covers no route of the app{hint}"


def _with_head(method: str, template: str, rules: Mapping[str, RouteRule]) -> frozenset[str]:
    # A handler of GET answers HEAD as well (RFC 9110 §9.3.2), so its rule covers both, unless HEAD has one.
    if method == "GET" and f"HEAD {template}" not in rules:
        return frozenset(("GET", "HEAD"))
    return frozenset((method,))
