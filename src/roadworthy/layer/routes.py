"""Per-route rules: what a single route may do differently from the settings.

A rule is attached to a handler with :func:`route_rule`, or given by path to :func:`roadworthy.roadworthy`. At
start-up every rule is bound to the routes it covers; a rule that covers none stops the start, so that a limit
never lapses in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from ..settings import Rate, parse_duration, parse_rate, parse_size

__all__ = (
    "ANY_METHOD",
    "RouteInfo",
    "RouteRule",
    "RouteTable",
    "bind_rules",
    "route_rule",
    "rule_of",
    "template_pattern",
)

_Handler = TypeVar("_Handler", bound=Callable[..., Any])
ANY_METHOD = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods of a route, or a rule, that leaves the choice to its app (a mount)."""
_ATTRIBUTE = "__roadworthy_rule__"


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Settings of one route; None leaves the service's setting in force.

    Parameters:
        rate_limit: a rate (``"5/minute"``), counted for this route alone; ``"off"`` exempts the route.
        body_limit: bytes, or ``"10MiB"``.
        timeout: seconds until 504, or ``"2m"``.
        rate_key: "client" counts by address, "user" by what ``user_key`` of
            :func:`roadworthy.roadworthy` says, and by address for requests without one.
        cancel_on_disconnect: stop the work when the client leaves.
        compress: False keeps this route's bodies as they are.
    """

    rate_limit: Rate | str | None = None
    body_limit: int | str | None = None
    timeout: float | str | None = None
    rate_key: str = "client"
    cancel_on_disconnect: bool | None = None
    compress: bool = True

    def __post_init__(self) -> None:
        if self.rate_limit is not None and self.rate_limit != "off":
            object.__setattr__(self, "rate_limit", parse_rate(self.rate_limit))
        if self.body_limit is not None:
            object.__setattr__(self, "body_limit", parse_size(self.body_limit))
        if self.timeout is not None:
            object.__setattr__(self, "timeout", parse_duration(self.timeout))
        if self.rate_key not in ("client", "user"):
            raise ValueError(f'rate_key is "client" or "user", not {self.rate_key!r}')


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """One route of the app as its framework describes it."""

    methods: frozenset[str]
    template: str
    endpoint: Callable[..., Any] | None


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


def template_pattern(template: str) -> re.Pattern[str]:
    """Compile a template of Starlette or Litestar (``/files/{name:path}``) or of Django (``<path:name>``)."""
    made = ""
    for part in re.split(r"(\{[^}]*\}|<[^>]*>)", template):
        if not part.startswith(("{", "<")):
            made += re.escape(part)
        elif part.endswith(":path}") or part.startswith("<path:"):
            made += ".+"
        else:
            made += "[^/]+"
    return re.compile(made)


_METHOD_AND_TEMPLATE = re.compile(r"(?:([A-Z]+)\s+)?(/.*)")


def bind_rules(
    rules: Mapping[str, RouteRule], routes: Sequence[RouteInfo]
) -> list[tuple[frozenset[str], str, RouteRule]]:
    """Bind rules given as ``"POST /upload"`` or ``"/upload"`` to the routes they cover.

    Parameters:
        rules: rules by method and template, or by template for every method of it.
        routes: the app's routes; empty for an app whose routes cannot be known, where templates stand alone.

    Raises:
        ValueError: a key is not of that form, or covers no route.
    """
    bound: list[tuple[frozenset[str], str, RouteRule]] = []
    for key, rule in rules.items():
        match = _METHOD_AND_TEMPLATE.fullmatch(key)
        if match is None:
            raise ValueError(f'a rule is given by "METHOD /template" or "/template", not {key!r}')
        method, template = match[1], match[2]
        if not routes:
            bound.append((frozenset((method,)) if method else ANY_METHOD, template, rule))
            continue
        covered = [
            route
            for route in routes
            if route.template == template and (not method or method in route.methods)
        ]
        if not covered:
            near = get_close_matches(template, {route.template for route in routes}, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"the rule {key!r} covers no route of the app{hint}")
        methods: frozenset[str] = frozenset((method,) if method else ())
        if not method:
            methods = methods.union(*(route.methods for route in covered))
        bound.append((methods, template, rule))
    return bound


class RouteTable:
    """Finds the rule of a request from its method and path, before any framework has routed it."""

    def __init__(self, rules: Iterable[tuple[frozenset[str], str, RouteRule]]) -> None:
        self._exact: dict[tuple[str, str], RouteRule] = {}
        self._patterns: list[tuple[frozenset[str], re.Pattern[str], RouteRule]] = []
        for methods, template, rule in rules:
            if "{" in template or "<" in template:
                self._patterns.append((methods, template_pattern(template), rule))
            else:
                self._exact.update({(method, template): rule for method in methods})

    def __bool__(self) -> bool:
        return bool(self._exact or self._patterns)

    def find(self, method: str, path: str) -> RouteRule | None:
        """Return the rule of this request, or None."""
        rule = self._exact.get((method, path))
        if rule is not None:
            return rule
        for methods, pattern, candidate in self._patterns:
            if method in methods and pattern.fullmatch(path):
                return candidate
        return None
