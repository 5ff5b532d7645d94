"""Reads TOML strictly: every mistake is collected with its line, and an unknown key names the nearest."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

__all__ = ("Document", "Section", "near", "parse_bytes", "parse_seconds")

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {
    "": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}


def parse_seconds(text: str | float) -> float | None:
    """Read ``30s``, ``500ms``, ``2m`` or a number of seconds; None when it is none of them."""
    if isinstance(text, int | float):
        return float(text) if text >= 0 and not isinstance(text, bool) else None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", text.strip())
    return float(match[1]) * _SECONDS[match[2] or "s"] if match else None


def parse_bytes(text: str | int) -> int | None:
    """Read ``1MiB``, ``64 KiB``, ``2MB`` or a number of bytes; None when it is none of them."""
    if isinstance(text, int):
        return text if text >= 0 and not isinstance(text, bool) else None
    match = re.fullmatch(r"(\d+)\s*([KMG]iB|[kMG]B|B)?", text.strip())
    return int(match[1]) * _BYTES[match[2] or ""] if match else None


@dataclass(slots=True)
class Document:
    """One parsed file, and the mistakes found in it so far."""

    name: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    mistakes: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    lines: dict[str, int] = field(default_factory=dict[str, int])
    """Line of each key by its dotted path; elements of arrays of tables are ``waivers.0``."""

    @classmethod
    def parse(cls, text: str, name: str) -> Document:
        """Parse the text; a syntax error is the only mistake then."""
        self = cls(name)
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            match = re.search(r"\(at line (\d+), column \d+\)", str(error))
            message = str(error).partition(" (at ")[0]
            line = int(match[1]) if match else len(text.splitlines())
            self.mistakes.append((line, f"this is not TOML: {message}"))
        self.lines = _index(text)
        return self

    def line(self, path: str) -> int:
        """Return the line of a key, or of the nearest table around it; 0 when none."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 0)

    def wrong(self, path: str, message: str) -> None:
        """Note a mistake at a key."""
        self.mistakes.append((self.line(path), f"{path}: {message}" if path else message))

    def report(self) -> str:
        """Return every mistake, one a line, in the order of the file."""
        return "\n".join(
            f"{self.name}:{line}: {message}" if line else f"{self.name}: {message}"
            for line, message in sorted(self.mistakes, key=lambda mistake: mistake[0])
        )


def _index(text: str) -> dict[str, int]:
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


@dataclass(slots=True)
class Section:
    """One table of the document. Reading a key marks it as known; :meth:`finish` objects to the others."""

    document: Document
    path: str
    data: Mapping[str, Any]
    present: bool = True
    _known: list[str] = field(default_factory=list[str])

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _get(self, key: str) -> Any:
        self._known.append(key)
        return self.data.get(key)

    def line(self, key: str = "") -> int:
        """Return the line of a key, or of the section itself."""
        return self.document.line(self._at(key) if key else self.path)

    def wrong(self, key: str, message: str) -> None:
        """Note a mistake at a key of this section."""
        self.document.wrong(self._at(key), message)

    def section(self, key: str) -> Section:
        """Return a table below this one; an empty one when it is absent."""
        value = self._get(key)
        if value is not None and not isinstance(value, dict):
            self.wrong(key, f"has to be a table, [{self._at(key)}]")
            value = None
        return Section(
            self.document, self._at(key), cast("Mapping[str, Any]", value or {}), value is not None
        )

    def sections(self, key: str) -> list[Section]:
        """Return the tables of an array of tables."""
        value = self._get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(
            isinstance(entry, dict) for entry in cast("list[object]", value)
        ):
            self.wrong(key, f"has to be an array of tables, [[{self._at(key)}]]")
            return []
        entries = cast("list[dict[str, Any]]", value)
        return [
            Section(self.document, f"{self._at(key)}.{index}", entry) for index, entry in enumerate(entries)
        ]

    def text(self, key: str, default: str = "", choices: Iterable[str] = ()) -> str:
        """Return a text, one of ``choices`` where there are any."""
        value = self._get(key)
        if value is None:
            return default
        allowed = tuple(choices)
        if not isinstance(value, str):
            self.wrong(key, f"has to be a text in quotes, not {_kind(value)}")
        elif allowed and value not in allowed:
            self.wrong(key, f"{value!r} is none of {', '.join(allowed)}{near(value, allowed)}")
        else:
            return value
        return default

    def flag(self, key: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self._get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(key, f"has to be true or false, not {_kind(value)}")
            return default
        return default if value is None else value

    def count(self, key: str, default: int | None = None, least: int = 0) -> int | None:
        """Return a whole number from ``least`` up."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.wrong(key, f"has to be a whole number from {least} up")
            return default
        return value

    def seconds(self, key: str, default: float | None = None) -> float | None:
        """Return a time: ``"30s"``, ``"500ms"``, ``"2m"`` or a number of seconds."""
        value = self._get(key)
        if value is None:
            return default
        found = parse_seconds(value) if isinstance(value, str | int | float) else None
        if found is None:
            self.wrong(key, 'has to be a time such as "30s", "500ms" or "2m"')
        return default if found is None else found

    def size(self, key: str, default: int | None = None) -> int | None:
        """Return a size: ``"1MiB"``, ``"64KiB"`` or a number of bytes."""
        value = self._get(key)
        if value is None:
            return default
        found = parse_bytes(value) if isinstance(value, str | int) else None
        if found is None:
            self.wrong(key, 'has to be a size such as "1MiB", "64KiB" or a number of bytes')
        return default if found is None else found

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of texts."""
        value = self._get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(entry, str) for entry in cast("list[object]", value)
        ):
            self.wrong(key, 'has to be an array of texts, ["…", "…"]')
            return ()
        return tuple(cast("list[str]", value))

    def mapping(self, key: str) -> dict[str, str]:
        """Return a table of texts; numbers and flags are written as the environment would have them."""
        value = self._get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(key, "has to be a table of texts")
            return {}
        entries = cast("dict[str, object]", value)
        for name, entry in entries.items():
            if not isinstance(entry, str | int | float):
                self.wrong(f"{key}.{name}", f"has to be a text in quotes, not {_kind(entry)}")
        return {
            name: str(entry).lower() if isinstance(entry, bool) else str(entry)
            for name, entry in entries.items()
        }

    def anything(self, key: str) -> Any:
        """Return any value, or None."""
        return self._get(key)

    def finish(self) -> None:
        """Object to keys that nobody asked for."""
        for key in self.data:
            if key not in self._known:
                self.wrong(key, f"there is no such key{near(key, self._known)}")


def near(word: str, known: Iterable[str], most: int = 12) -> str:
    """Return ``; did you mean x?`` for the nearest of ``known``, else all of them when they are few."""
    options = sorted(set(known))
    found = get_close_matches(word, options, n=1)
    if found:
        return f"; did you mean {found[0]}?"
    return f"; known are {', '.join(options)}" if 0 < len(options) <= most else ""


def _kind(value: object) -> str:
    names = {"bool": "a flag", "int": "a number", "float": "a number", "list": "an array", "dict": "a table"}
    name = type(value).__name__
    return names.get(name, f"a {name}")
