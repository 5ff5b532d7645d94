"""Rules of single routes as they are written outside of the code: in a file, or in one variable.

``roadworthy.toml`` stands beside the app, and is the manifest of ``roadworthy check`` as well: this reads its
table ``rules`` and leaves the others to the check, and the check leaves this one. ``ROADWORTHY_RULES`` has
the same as JSON, and its rule for a route replaces the file's. What the fields of a rule mean is known to the
layer alone (:class:`roadworthy.RouteRule`), which judges them (:func:`judged_by`).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from ..near import did_you_mean
from .mistakes import Problem

__all__ = ("CHECKED", "RULES_FILE", "WrittenRule", "judge", "judged_by", "written_rules")

RULES_FILE = "roadworthy.toml"
"""The file that is looked for in the working directory, as ``.env`` is."""
CHECKED = frozenset(
    (
        *("auth", "base", "check", "compression", "cors", "database", "env", "health", "limits", "listen"),
        *("logs", "metrics", "openapi", "rate_limit", "ready", "routes", "shutdown", "start", "version"),
        *("waivers", "workers"),
    )
)
"""What else stands in the file: keys and tables of the check. Any other is a mistake here too."""
_TABLE = "rules"
_FORM = 'is a table for each route, such as [rules."POST /upload"]'


@dataclass(frozen=True, slots=True)
class WrittenRule:
    """One rule as it is written, not judged.

    Parameters:
        route: ``POST /upload``, or ``/upload`` for every method.
        values: by field of :class:`roadworthy.RouteRule`.
        source: the file, the variable or ``argument``.
        text: the file's text, to find lines in; empty for what has none.
        mistake: why nothing could be read here; empty for a rule.
    """

    route: str
    values: Mapping[str, Any]
    source: str
    text: str = field(default="", repr=False, compare=False)
    mistake: str = ""

    def place(self, *keys: str) -> str:
        """Return where the rule stands, or one of its keys: ``roadworthy.toml:3``, ``ROADWORTHY_RULES``."""
        line = _line(self.text, (_TABLE, self.route, *keys)) if self.text else 0
        return f"{self.source}:{line}" if line else self.source

    def problem(self, message: str, *keys: str) -> Problem:
        """Return a mistake in it, or at one of its keys."""
        return Problem(self.place(*keys), f"{' '.join((self.route, *keys))}: {message}")


_Judge: TypeAlias = Callable[[Iterable[WrittenRule]], list[Problem]]
_judges: list[_Judge] = []


def judged_by(judge: _Judge) -> None:
    """Have written rules judged by ``judge`` beside other mistakes; the layer calls this when imported."""
    _judges.append(judge)


def judge(rules: Iterable[WrittenRule]) -> list[Problem]:
    """Return what is wrong with the values of written rules, as far as anything here knows them."""
    written = tuple(rules)
    return [problem for one in _judges for problem in one(written)]


def written_rules(given: Any, origin: str) -> tuple[tuple[WrittenRule, ...], str]:
    """Return the rules of the file and those that are given otherwise, and their source.

    What cannot be read is among them, as a rule with a ``mistake``: it is reported with those of the values
    and those that only the app's routes show.

    Parameters:
        given: what the variable or the argument has; None when there is neither.
        origin: the name of that.
    """
    rules, more = list(_of_file(Path(RULES_FILE))), list(_of_value(given, origin))
    merged = {(rule.route, rule.mistake): rule for rule in (*rules, *more)}
    sources = [RULES_FILE] if rules else []
    return tuple(merged.values()), ", ".join([*sources, origin] if more else sources)


def _of_file(path: Path) -> Iterator[WrittenRule]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        yield _mistake(str(path), f"cannot be read ({type(error).__name__})")
        return
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        line = int(found[1]) if found else len(text.splitlines())
        yield _mistake(f"{path}:{line}", f"this is not TOML: {message}")
        return
    for key in data:
        if key != _TABLE and key not in CHECKED:
            hint = did_you_mean(key, {_TABLE, *CHECKED})
            yield _mistake(_place(path, text, key), f"there is no table {key}{hint}")
    tables = _tables(data.get(_TABLE, {}))
    if tables is None:
        yield _mistake(_place(path, text, _TABLE), f"{_TABLE} {_FORM}")
    else:
        yield from (WrittenRule(route, values, str(path), text) for route, values in tables.items())


def _of_value(given: Any, origin: str) -> Iterator[WrittenRule]:
    if isinstance(given, tuple):
        # Rules that were read before: settings made of settings.
        yield from (one for one in cast("tuple[object, ...]", given) if isinstance(one, WrittenRule))
        return
    value: Any = {} if given is None or given == "" else given
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    found = _tables(value)
    if found is None:
        kind = "a JSON object" if isinstance(given, str) else "a mapping"
        yield _mistake(
            origin, f'expected {kind} by route, such as {{"POST /upload": {{"body_limit": "1GiB"}}}}'
        )
    else:
        yield from (WrittenRule(route, values, origin) for route, values in found.items())


def _mistake(source: str, message: str) -> WrittenRule:
    return WrittenRule("", {}, source, mistake=message)


def _tables(value: Any) -> dict[str, dict[str, Any]] | None:
    """Return a table of tables; None where it is something else."""
    if not isinstance(value, Mapping):
        return None
    tables = cast("Mapping[object, object]", value)
    if not all(isinstance(name, str) and isinstance(table, Mapping) for name, table in tables.items()):
        return None
    return {str(name): dict(cast("Mapping[str, Any]", table)) for name, table in tables.items()}


def _place(path: Path, text: str, key: str) -> str:
    line = _line(text, (key,))
    return f"{path}:{line}" if line else str(path)


def _line(text: str, keys: tuple[str, ...]) -> int:
    """Return the first line by which the file has a key, 0 for none: what stands before it is TOML too."""
    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            found = cast("dict[str, Any]", found).get(key) if isinstance(found, dict) else None
        if found is not None:
            return number
    return 0
