"""Writes docs/manifest.md: every key of ``roadworthy.toml``, read off the model and the probes' needs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from roadworthy.checker.manifest.reference import KEYS, ROLE_MEANINGS, SECTIONS, model_keys
from roadworthy.checker.manifest.values import ROLES
from roadworthy.checker.needs import Need
from roadworthy.checker.registry import choose, probe_of
from roadworthy.checklist import ITEMS, PATTERNS

__all__ = ("page",)

_PROBES = Path(__file__).parents[1] / "src" / "roadworthy" / "checker" / "probes"
_KEY = re.compile(r"\b[a-z_]+\.[a-z_]+\b")
_READ = re.compile(r"\bmanifest\.([a-z_]+)(\.[a-z_]+)?\b")
_UNITS = {"_seconds": "time", "_bytes": "size", "_statuses": "status or range"}


def page() -> str:
    """Write the sections of the page."""
    needed, read = _needed(), _read()
    parts: list[str] = []
    for section, meaning in SECTIONS.items():
        heading = f"[[{section}]]" if section == "waivers" else f"[{section}]" if section else "Top level"
        parts.append(f"## {heading if not section else f'`{heading}`'}\n\n{meaning}")
        parts.append(_table(_rows(section, needed, read)))
        if section == "routes.*":
            parts.append(_roles(needed))
    return "\n\n".join(parts)


def _rows(
    section: str, needed: Mapping[str, Iterable[str]], read: Mapping[str, Iterable[str]]
) -> Iterator[tuple[str, ...]]:
    yield ("key", "type", "default", "meaning", "example", "needed by", "read by")
    for path, field in model_keys():
        if path.rpartition(".")[0] != section:
            continue
        key, name = KEYS[path], path.rpartition(".")[2]
        yield (
            f"`{name}`",
            _type(field.annotation, field.metadata),
            _default(field),
            key.meaning,
            f"`{name} = {key.example}`",
            ", ".join(needed.get(path, ())),
            ", ".join(read.get(path, ())),
        )


def _roles(needed: Mapping[str, Iterable[str]]) -> str:
    rows = [("part", "method", "what such a route does", "needed by")]
    rows += [
        (f"`{role}`", ROLES[role], meaning, ", ".join(needed.get(f"routes.{role}", ())))
        for role, meaning in ROLE_MEANINGS.items()
    ]
    return _table(rows)


def _needed() -> dict[str, list[str]]:
    """Return the assertions that cannot be tried without a key; a family where it is all of one."""
    found: dict[str, list[str]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    for entry in choose(()):
        sizes[_family(entry.id)] += 1
        probe = probe_of(entry.id)
        for key in sorted({key for need in (probe.needs if probe else ()) for key in _keys_of(need)}):
            found[key].append(entry.id)
    return {key: list(_joined(ids, sizes)) for key, ids in found.items()}


def _keys_of(need: Need) -> set[str]:
    return set(_KEY.findall(need.value))


def _family(identifier: str) -> str:
    return identifier.rpartition("-")[0]


def _joined(ids: list[str], sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield a family with the numbers of its assertions, or alone where it is all of them."""
    by_family: dict[str, list[str]] = defaultdict(list)
    for identifier in ids:
        by_family[_family(identifier)].append(identifier.rpartition("-")[2])
    for family, numbers in by_family.items():
        yield family if len(numbers) == sizes[family] else f"{family}-{', '.join(numbers)}"


def _read() -> dict[str, list[str]]:
    """Return the families whose probes read a key, whether they need it or not."""
    found: dict[str, set[str]] = defaultdict(set)
    for entry in (*ITEMS, *PATTERNS):
        name = entry.id.replace("-", "_")
        for file in (_PROBES / f"{name}.py", *(_PROBES / name).rglob("*.py")):
            for match in _READ.finditer(file.read_text("utf-8") if file.is_file() else ""):
                found[match[1] + (match[2] or "")].add(entry.family)
    return {key: sorted(families) for key, families in found.items()}


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    names = [getattr(getattr(each, "func", None), "__name__", "") for each in metadata]
    unit = next((_UNITS[name] for name in names if name in _UNITS), "")
    if unit:
        return unit
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _type(inner, more)
    if origin in (Union, UnionType):
        return next(_type(part, metadata) for part in get_args(annotation) if part is not type(None))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in get_args(annotation) if word)
    if origin is tuple:
        return "texts"
    plain = {bool: "flag", int: "whole number", str: "text", float: "number"}
    return plain.get(annotation, "table of texts" if origin is not None else "any")


def _default(field: Any) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "" if field.default_factory is not None else "required"
    if value in (None, "", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{'-'.join(map(str, value))}`"
    return f"`{value:g}s`" if isinstance(value, float) else f"`{value}`"


def _table(rows: Iterable[Iterable[str]]) -> str:
    head, *rest = (list(row) for row in rows)
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
