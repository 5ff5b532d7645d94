"""Which rule a request comes under.

Theory of operation. A rule belongs to a route, and a route serves more spellings of its path than its
template shows: routers strip slashes, stop before a newline, cut a prefix, compare methods without case. So
the rule is found twice.

Before the app: :meth:`RouteTable.find` takes method and path. A path without parameters is one look-up in a
dict that the start has filled. A path that several routes could match is given to the framework's own router.
This is where nearly every request gets its rule, and where refusing is cheap.

In the app, when its router has chosen and before the handler runs: the adapter names the chosen route
(``Exchange.enter``), and :meth:`RouteTable.rule_of` gives the rule of that route. If it is another than the
one found before, it takes effect there. This is what makes the rule follow what is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .routes import ANY_METHOD, RouteInfo, RouteKey, RouteRule, rule_of, template_pattern
from .spelling import fold_template, spellings

if TYPE_CHECKING:
    from ..types import Headers
    from .exchange import Exchange

__all__ = ("RouteTable", "Router")

_Ruled: TypeAlias = "tuple[tuple[frozenset[str] | None, RouteRule], ...]"
"""Rules of one route with the methods that each covers, None for all; the first that covers one decides."""


class Router(Protocol):
    """What the table asks of a framework's adapter."""

    def canonical(self, path: str, root: str) -> str:
        """Return ``path`` as the framework's router sees it.

        Parameters:
            root: the prefix at which the server mounts the app (``root_path`` of ASGI), "" for none.
        """
        ...

    def resolve(
        self, method: str, path: str, root: str = "", headers: Headers | None = None
    ) -> RouteKey | None:
        """Return the route that the framework's own router chooses, None when it chooses none.

        Parameters:
            method: of the request; ``WEBSOCKET`` for a handshake.
            path: as the server gives it, not made canonical.
            headers: for routers that choose by host as well.
        """
        ...


class _Entry:
    """The rule of a path, and the template of the route that has it."""

    __slots__ = ("rule", "template")

    def __init__(self, rule: RouteRule | None, template: str) -> None:
        self.rule = rule
        self.template = template


_ASK = _Entry(None, "")
"""Only the framework's router can choose among several routes."""
_NO_RULES: _Ruled = ()
_STATIC = RouteRule(rate_limit="static")
"""The rule of static files that have none: one budget for all of them."""


class RouteTable:
    """The routes of an app and their rules.

    Parameters:
        rules: as :func:`roadworthy.layer.routes.bind_rules` gives them; they come before those on handlers.
        routes: the app's routes in their order; empty where they cannot be known. Rules then stand alone, and
            any spelling that could mean a rule's path comes under it.
        router: the adapter for the app's framework.
        rooted: the app itself cuts a prefix off its paths.
        opaque: it has routes besides, of which only its router knows what they match.
    """

    def __init__(
        self,
        rules: Iterable[tuple[frozenset[str], str, RouteRule]],
        routes: Sequence[RouteInfo],
        router: Router,
        rooted: bool = False,
        opaque: bool = False,
    ) -> None:
        given = list(rules)
        self._router = router
        self._rooted = rooted
        self._opaque = opaque
        # More spellings than one of a path, the prefix aside.
        self._folds = router.canonical("//a/", "") != "//a/"
        self._routes = routes
        self._exact: dict[tuple[str, str], _Entry] = {}
        # Routes and rules of every method: any word of RFC 9110 §9.1 or none of it.
        self._any: dict[str, _Entry] = {}
        self._patterns: list[tuple[frozenset[str] | None, Callable[[str], object], _Entry]] = []
        self._folded: list[tuple[frozenset[str] | None, Callable[[str], object], _Entry]] = []
        self._by_key: dict[RouteKey, _Ruled] = {}
        self._by_handler: dict[int, _Ruled] = {}
        self._by_template: dict[str, _Ruled] = {}
        # Rules of static files that leave the limit open, by the id of the rule that they were made of.
        self._static: dict[int, RouteRule] = {}
        for methods, template, rule in given:
            covered = None if methods == ANY_METHOD else methods
            self._by_template[template] = (*self._by_template.get(template, ()), (covered, rule))
        if routes:
            self._bind(given)
        else:
            self._stand_alone(given)
        self.ruled = any(self._by_key.values()) or bool(given)
        """There is a rule at all."""
        if routes and self.ruled:
            self._fill()

    def _bind(self, given: list[tuple[frozenset[str], str, RouteRule]]) -> None:
        by_handler: dict[int, set[_Ruled]] = {}
        # The rule of the innermost mount comes before those of the mounts around it.
        inward = sorted(given, key=lambda one: -len(one[1]))
        for route in self._routes:
            rules: list[tuple[frozenset[str] | None, RouteRule]] = [
                (None if methods >= route.methods else methods, self._limited(rule, route))
                for methods, template, rule in given
                if template == route.template and methods & route.methods
            ]
            own = rule_of(route.endpoint)
            further: list[tuple[frozenset[str], RouteRule]] = [] if own is None else [(route.methods, own)]
            further += [
                (methods & route.methods, rule)
                for methods, template, rule in inward
                if template != route.template and methods & route.methods and route.covered_by(template)
            ]
            if route.static:
                further.append((route.methods, _STATIC))
            for methods, rule in further:
                limited = self._limited(rule, route)
                rules.append((None if methods == route.methods else methods, limited))
                known = self._by_template.get(route.template, ())
                covered = None if methods == ANY_METHOD else methods
                self._by_template[route.template] = (*known, (covered, limited))
            key = route.key
            # One handler may stand at one template several times, each time with other methods.
            self._by_key[key] = (*self._by_key.get(key, ()), *rules)
            by_handler.setdefault(key[1], set()).add(self._by_key[key])
        # A template may be another than at the start (Django's language prefixes); the handler is the same.
        self._by_handler = {handler: one.pop() for handler, one in by_handler.items() if len(one) == 1}

    def _limited(self, rule: RouteRule, route: RouteInfo) -> RouteRule:
        """Return ``rule``, or for static files one like it under which they are counted as such."""
        if not route.static or rule.rate_limit is not None:
            return rule
        return self._static.setdefault(id(rule), replace(rule, rate_limit="static"))

    def _stand_alone(self, given: list[tuple[frozenset[str], str, RouteRule]]) -> None:
        for methods, template, rule in given:
            entry = _Entry(rule, template)
            covered = None if methods == ANY_METHOD else methods
            template = _below(template)
            if _is_static(template):
                for method in methods:
                    self._exact.setdefault((method, template), entry)
                if covered is None:
                    self._any.setdefault(template, entry)
            else:
                self._patterns.append((covered, template_pattern(template).fullmatch, entry))
            if rule.rate_limit in ("off", "static"):
                # What may be another path after all must not become free of its limit.
                entry = _Entry(replace(rule, rate_limit=None), template)
            self._folded.append((covered, template_pattern(fold_template(template)).fullmatch, entry))

    def _fill(self) -> None:
        dynamic = [(route, route.matches) for route in self._routes if not _is_static(route.template)]
        static: dict[str, list[RouteInfo]] = {}
        for route in self._routes:
            if _is_static(route.template):
                static.setdefault(route.template, []).append(route)
        for template, same in static.items():
            rivals = [*same, *(route for route, matches in dynamic if matches(template))]
            methods = frozenset[str]().union(*(route.methods for route in same))
            for method in methods:
                self._exact[(method, template)] = self._entry(method, template, rivals)
            if methods >= ANY_METHOD:
                self._any[template] = self._entry("", template, rivals)
        # A mounted app answers itself where none of its routes matches, and may do so by a middleware.
        mounts = {mount for route in self._routes for mount in route.mounts}
        for route, matches in dynamic:
            for only, rule in self._by_key[route.key]:
                entry = _Entry(rule, route.template)
                if (
                    self._opaque
                    or any(self._disagree(route, other) for other, _ in dynamic if other is not route)
                    or any(
                        _may_overlap(route.template, _below(f"{mount}/*"))
                        for mount in mounts.difference(route.mounts)
                    )
                ):
                    entry = _ASK
                covered = route.methods if only is None else only
                self._patterns.append((None if covered == ANY_METHOD else covered, matches, entry))

    def _entry(self, method: str, template: str, rivals: Sequence[RouteInfo]) -> _Entry:
        if self._opaque:
            return _ASK
        able = [
            route for route in rivals if not method or method in route.methods or route.methods == ANY_METHOD
        ]
        if len({(route.template, id(self.rule_of(route.key, method))) for route in able}) == 1:
            return _Entry(self.rule_of(able[0].key, method), template)
        if len({route.template for route in able}) != len(able):
            return _ASK
        # The template as a path is what a client would send, unless a prefix is cut off it.
        chosen = None if self._rooted or not method else self._router.resolve(method, template)
        return _ASK if chosen is None else _Entry(self.rule_of(chosen, method), chosen[0])

    def _disagree(self, one: RouteInfo, other: RouteInfo) -> bool:
        return self._by_key[one.key] != self._by_key[other.key] and _may_overlap(one.template, other.template)

    def find(self, exchange: Exchange) -> RouteRule | None:
        """Return the rule of this request as far as its method and path decide it, or None."""
        if exchange.root or self._rooted or exchange.websocket:
            entry = self._search(exchange)
        else:
            entry = self._exact.get((exchange.method, exchange.path)) or self._search(exchange)
        if entry is None:
            return None
        if entry is _ASK:
            method = _asked_as(exchange)
            key = self._router.resolve(method, exchange.path, exchange.root, exchange.raw_headers)
            return None if key is None else self.rule_of(key, method)
        return entry.rule

    def _search(self, exchange: Exchange) -> _Entry | None:
        method, path = _asked_as(exchange), exchange.path
        if exchange.root or self._rooted or self._folds:
            path = self._router.canonical(path, exchange.root)
            if (entry := self._exact.get((method, path))) is not None:
                return entry
        found = self._matching(method, path)
        if found is None and self._folded:
            for spelling in spellings(path):
                for methods, matches, entry in self._folded:
                    if (methods is None or method in methods) and matches(spelling):
                        return entry
        return found

    def _matching(self, method: str, path: str) -> _Entry | None:
        if method not in ANY_METHOD and (found := self._any.get(path)) is not None:
            return found
        for methods, matches, entry in self._patterns:
            if (methods is None or method in methods) and matches(path):
                return entry
        return None

    def rule_of(self, key: RouteKey, method: str) -> RouteRule | None:
        """Return the rule of a chosen route, or None."""
        rules = self._by_key.get(key)
        if rules is None:
            rules = self._by_handler.get(key[1]) or self._by_template.get(key[0], _NO_RULES)
        return _of_method(rules, method) if rules else None

    def rule_of_template(self, template: str, method: str) -> RouteRule | None:
        """Return the rule of the routes with this template, for an app that names its route only by it."""
        return _of_method(self._by_template.get(template, _NO_RULES), method)

    def covers(self, methods: Iterable[str], template: str, rule: RouteRule) -> bool:
        """Return whether ``rule`` decides for any of ``methods`` at ``template``."""
        if not self._routes:
            sample = _PARAMETER.sub("1", _below(template))
            found = (self._exact.get((one, sample)) or self._matching(one, sample) for one in methods)
            return any(entry is not None and entry.rule is rule for entry in found)
        keys = [route.key for route in self._routes if route.covered_by(template)]
        either = (rule, self._static.get(id(rule), rule))
        deciding = [self.rule_of(key, method) for key in keys for method in methods]
        return any(one is same for one in deciding for same in either)

    def name(self, exchange: Exchange) -> str | None:
        """Return the template of the route that a request is for which never got to the app."""
        method = _asked_as(exchange)
        if method == "OPTIONS":
            # A preflight is about the request that follows it (Fetch §3.2.2).
            asked = exchange.headers.get(b"access-control-request-method", b"").decode("latin-1")
            method = asked or method
        if not (exchange.root or self._rooted):
            entry = self._exact.get((method, exchange.path))
            if entry is not None and entry is not _ASK:
                return entry.template
        key = self._router.resolve(method, exchange.path, exchange.root, exchange.raw_headers)
        if key is not None:
            return key[0]
        if self._routes:
            return None
        entry = self._search(exchange)
        return None if entry is None else entry.template

    def allowed(self, exchange: Exchange) -> str:
        """Return the ``Allow`` value: the methods of all routes that match the path (RFC 9110 §10.2.1).

        It is "" where one of them is an app of its own (a folder of files), which alone knows its methods.
        """
        path = self._router.canonical(exchange.path, exchange.root)
        found = frozenset[str]()
        for route in self._routes:
            if route.matches(path):
                if route.methods == ANY_METHOD:
                    return ""
                found |= route.methods
        return ", ".join(sorted(found - {"WEBSOCKET"}))


def _asked_as(exchange: Exchange) -> str:
    return "WEBSOCKET" if exchange.websocket else exchange.method


def _of_method(rules: _Ruled, method: str) -> RouteRule | None:
    for methods, rule in rules:
        # Django and Starlette's HTTPEndpoint take a method in any case.
        if methods is None or method in methods or method.upper() in methods:
            return rule
    return None


def _below(template: str) -> str:
    """Return the template of all below a mount that is named ``/static/*``."""
    return f"{template[:-1]}{{path:path}}" if template.endswith("/*") else template


def _is_static(template: str) -> bool:
    return "{" not in template and "<" not in template


_PARAMETER = re.compile(r"\{[^}]*\}|<[^>]*>")
# Parameters that stand for one segment of a path; all others may take several.
_ONE_SEGMENT = re.compile(
    r"\{\w+(:(str|int|float|uuid|decimal|date|datetime|time|timedelta))?\}|<((str|int|slug|uuid):)?\w+>"
)


def _may_overlap(one: str, other: str) -> bool:
    """Return whether a path may match both templates; wrong only towards True."""
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right, strict=False):
        plain_a, plain_b = _is_static(a), _is_static(b)
        if plain_a and plain_b:
            if a != b:
                return False
            continue
        for part in (a, b):
            if not _is_static(part) and any(
                "{" in rest or "<" in rest for rest in _ONE_SEGMENT.split(part) if rest
            ):
                return True
    return len(left) == len(right)
