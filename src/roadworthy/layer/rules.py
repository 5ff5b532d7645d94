"""Rules of routes that stand outside of the code, read into :class:`RouteRule` and bound to the app's routes.

All that is wrong with them is reported at once, by file and line or by variable: an unknown field,
a value that it does not take, a route that the app does not have, a rule beside one in code. Values are never
repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from ..near import did_you_mean
from ..settings import PlainMistake, Problem, Rate, SettingsError, WrittenRule, judged_by
from .routes import RouteInfo, RouteRule, bind_rules, rule_of

__all__ = ("bind_all", "rule_problems", "shown_rule")

_Bound: TypeAlias = "list[tuple[frozenset[str], str, RouteRule]]"
"""Rules with the methods and the template that each covers."""

_KINDS: Mapping[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "",
}


def rule_problems(written: Iterable[WrittenRule]) -> list[Problem]:
    """Return what is wrong with rules as far as it can be seen without the app."""
    return [problem for one in written for problem in _read(one)[1]]


judged_by(rule_problems)


def shown_rule(rule: RouteRule) -> dict[str, Any]:
    """Return what a rule sets, by field."""
    set_here = ((one.name, getattr(rule, one.name), one.default) for one in fields(rule))
    return {name: _plain(value) for name, value, default in set_here if value != default}


def bind_all(
    code: Mapping[str, RouteRule],
    written: Iterable[WrittenRule],
    routes: Sequence[RouteInfo],
    opaque: Sequence[str],
    *,
    counts_users: bool,
) -> tuple[_Bound, dict[int, str]]:
    """Bind the rules of the code and those that are written elsewhere.

    Parameters:
        code: rules that the code gives by route, besides those on handlers.
        written: rules of a file or a variable.
        routes: the app's routes; empty for an app whose routes cannot be known.
        opaque: classes of routes that have no template.
        counts_users: the code says who a request is for.

    Returns:
        The rules bound, and where those that are written elsewhere stand, by the ``id`` of each.

    Raises:
        ValueError: a rule of the code covers no route.
        SettingsError: written rules are wrong; it lists all mistakes.
    """
    own = bind_rules(code, routes, opaque)
    own_too = ((route.methods, route.template, rule_of(route.endpoint)) for route in routes)
    taken = [*own, *((methods, template, rule) for methods, template, rule in own_too if rule is not None)]
    read: dict[str, RouteRule] = {}
    places: dict[int, str] = {}
    problems: list[Problem] = []
    for one in written:
        rule, mistakes = _read(one)
        problems += mistakes
        if one.mistake:
            continue
        if rule is not None and rule.rate_key == "user" and not counts_users:
            problems.append(one.problem("needs user_key of roadworthy(), which says who that is", "rate_key"))
        try:
            covered = bind_rules({one.route: rule or RouteRule()}, routes, opaque)
        except ValueError as error:
            problems.append(Problem(one.place(), str(error)))
            continue
        for methods, template, _ in covered:
            if any(template == other and methods & theirs for theirs, other, _ in taken):
                problems.append(one.problem("has a rule in the code; keep one of them"))
        if rule is not None:
            read[one.route] = rule
            places[id(rule)] = one.place()
    if problems:
        raise SettingsError(problems)
    return bind_rules({**code, **read}, routes, opaque), places


def _read(written: WrittenRule) -> tuple[RouteRule | None, list[Problem]]:
    if written.mistake:
        return None, [Problem(written.source, written.mistake)]
    problems: list[Problem] = []
    for name, value in written.values.items():
        message = _mistake(name, value)
        if message is not None:
            problems.append(written.problem(message, name))
    if problems:
        return None, problems
    try:
        return RouteRule(**written.values), []
    except ValueError as error:
        return None, [written.problem(_words(error))]


def _mistake(name: str, value: object) -> str | None:
    hints = _hints()
    if name not in hints:
        return f"a rule has no such field{did_you_mean(name, hints)}"
    if not _fits(value, hints[name]):
        return f"expected {' or '.join(dict.fromkeys(filter(None, _allowed(hints[name]))))}"
    try:
        RouteRule(**{name: value})  # type: ignore[arg-type]
    except ValueError as error:
        return _words(error)
    return None


def _words(error: ValueError) -> str:
    """Return a message that repeats no value: only of our own it is known."""
    return str(error) if isinstance(error, PlainMistake) else "has a value that it does not take"


@cache
def _hints() -> dict[str, Any]:
    hints = get_type_hints(RouteRule)
    return {one.name: hints[one.name] for one in fields(RouteRule)}


def _fits(value: object, hint: Any) -> bool:
    """Return whether a value of TOML or JSON has the type of a field."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint


def _allowed(hint: Any) -> Iterator[str]:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        for part in get_args(hint):
            yield from _allowed(part)
    elif origin is Literal:
        yield from (str(word) for word in get_args(hint))
    else:
        # A Rate is written as a text.
        yield _KINDS.get(hint, "")


def _plain(value: object) -> object:
    if isinstance(value, tuple) and not isinstance(value, Rate):
        return ", ".join(str(part) for part in cast("tuple[object, ...]", value))
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
