"""Reads ``roadworthy.toml`` strictly: all mistakes at once, each with its line and what would be right."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..errors import ManifestError
from ..verdict import Waiver
from .model import Declaration, Manifest, ManifestFile
from .near import near
from .routes import Route, Routes
from .rules import contradictions
from .values import ROLES

__all__ = ("load_manifest", "parse_manifest")

_MANIFEST_NAME = "roadworthy.toml"

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_FILE = TypeAdapter(ManifestFile)
_KINDS: dict[type[object], str] = {
    bool: "a flag",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "a table",
}


def load_manifest(file: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it cannot be read, or has mistakes; every one of them is named with its line.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot read {file}: {error}") from None
    return parse_manifest(text, file.name, file.resolve().parent)


def parse_manifest(text: str, name: str = _MANIFEST_NAME, folder: Path | None = None) -> Manifest:
    """Read a manifest from its text.

    Raises:
        ManifestError: it has mistakes; every one of them is named with its line.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(match[1]) if match else len(text.splitlines())
        message = str(error).partition(" (at ")[0]
        raise ManifestError(f"{name}:{line}: this is not TOML: {message}") from None
    lines = _index(text)
    mistakes = dict(contradictions(data))
    try:
        found = _FILE.validate_python(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = _path(detail["loc"])
            mistakes.setdefault(path, _explain(detail, path))
    else:
        if not mistakes:
            sections = {entry.name: getattr(found, entry.name) for entry in fields(Declaration)}
            waivers = tuple(
                Waiver(
                    **{one.name: getattr(entry, one.name) for one in fields(entry)},
                    line=_line(lines, f"waivers.{index}"),
                )
                for index, entry in enumerate(found.waivers)
            )
            return Manifest(
                **sections,
                waivers=waivers,
                folder=folder or Path.cwd(),
                file=name,
                text=text,
                lines=lines,
            )
    raise ManifestError(_report(name, mistakes, lines))


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part not in {"by_role", "[key]"})


def _line(lines: dict[str, int], path: str) -> int:
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path, 0)


def _report(name: str, mistakes: dict[str, str], lines: dict[str, int]) -> str:
    placed = sorted((_line(lines, path), f"{path}: {message}") for path, message in mistakes.items())
    return "\n".join(f"{name}:{line}: {text}" if line else f"{name}: {text}" for line, text in placed)


def _explain(detail: ErrorDetails, path: str) -> str:
    """Say in the words of the file what is wrong with a value."""
    value, kind = detail["input"], detail["type"]
    if kind == "unexpected_keyword_argument":
        return f"unknown key{near(str(detail['loc'][-1]), _keys_beside(path))}"
    if kind == "literal_error":
        choices = re.findall(r"'([^']+)'", str(detail.get("ctx", {})["expected"]))
        if isinstance(value, str):
            return f"{value!r} is not one of {', '.join(choices)}{near(value, choices)}"
        return f"must be a quoted string, not {_kind(value)}"
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(detail.get("ctx", {})["error"])
    shapes = {
        "string_type": f"must be a quoted string, not {_kind(value)}",
        "bool_type": f"must be true or false, not {_kind(value)}",
        "dataclass_type": f"must be a table, [{path}]",
        "mapping_type": "must be a table of strings",
        "dict_type": f"must be a table, [{path}]",
        "tuple_type": 'must be an array of strings, ["…", "…"]'
        if path != "waivers"
        else "must be an array of tables, [[waivers]]",
    }
    return shapes.get(kind, detail["msg"])


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _keys_beside(path: str) -> Iterable[str]:
    """Return the keys that the table around a path may have."""
    table: Any = ManifestFile
    for part in path.split(".")[:-1]:
        if table is Routes:
            table = Route
        elif not part.isdecimal():
            annotation = table.__pydantic_fields__[part].annotation
            table = next(iter(get_args(annotation)), annotation)
    return ROLES if table is Routes else [name for name in table.__pydantic_fields__ if name != "role"]


def _index(text: str) -> dict[str, int]:
    """Return the line of each key by its dotted path; elements of arrays of tables are ``waivers.0``."""
    lines: dict[str, int] = {}
    prefix = ""
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.fullmatch(line)
        if header:
            prefix = _plain(header[2])
            if header[1] == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = f"{prefix}.{counts[prefix]}"
            lines.setdefault(prefix, number)
            continue
        key = _KEY.match(line)
        if key:
            path = _plain(key[1])
            lines.setdefault(f"{prefix}.{path}" if prefix else path, number)
    return lines


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
