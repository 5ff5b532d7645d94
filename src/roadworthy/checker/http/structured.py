"""Structured fields, read as RFC 9651 §4.2 has it: a value that breaks one rule is no value at all."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

__all__ = ("Item", "Token", "read_dictionary", "read_item", "read_list")

_T = TypeVar("_T")

_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_NUMBER = re.compile(r"-?(?:(\d{1,12}\.\d{1,3})|(\d{1,15}))(?![\d.])", re.ASCII)
_STRING = re.compile(r'"((?:[ !\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN = re.compile(r"\?([01])")
_DATE = re.compile(r"@(-?\d{1,15})(?![\d.])", re.ASCII)
_DISPLAY = re.compile(r'%"((?:[ !\x23\x24\x26-\x7e]|%[0-9a-f]{2})*)"')


class Token(str):
    """A token, as opposed to a string in quotes."""

    __slots__ = ()


_Bare: TypeAlias = "str | int | Decimal | bytes | bool"


@dataclass(frozen=True, slots=True)
class Item:
    """An item, or an inner list, with its parameters.

    Parameters:
        value: a tuple of items for an inner list. A date is its number of seconds.
    """

    value: _Bare | tuple[Item, ...]
    parameters: Mapping[str, _Bare] = field(default_factory=dict[str, "_Bare"])


class _Malformed(Exception):
    """Raised where the text leaves the grammar."""


def read_item(text: str) -> Item | None:
    """Return the item that a field is, or None when it is none."""
    return _read(text, lambda reader: reader.item())


def read_list(text: str) -> tuple[Item, ...] | None:
    """Return the members of a list, or None when the field is none; an empty field is an empty list."""
    return _read(text, lambda reader: reader.list())


def read_dictionary(text: str) -> dict[str, Item] | None:
    """Return the members of a dictionary by their keys, the last of each, or None when the field is none."""
    return _read(text, lambda reader: reader.dictionary())


def _read(text: str, read: Callable[[_Reader], _T]) -> _T | None:
    reader = _Reader(text.strip(" "))
    try:
        found = read(reader)
        reader.finish()
    except _Malformed:
        return None
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def finish(self) -> None:
        if self._at < len(self._text):
            raise _Malformed

    def list(self) -> tuple[Item, ...]:
        found: list[Item] = []
        while self._at < len(self._text):
            found.append(self._member())
            self._comma()
        return tuple(found)

    def dictionary(self) -> dict[str, Item]:
        found: dict[str, Item] = {}
        while self._at < len(self._text):
            key = self._take(_KEY)[0]
            member = self._member() if self._skip("=") else Item(True, self._parameters())
            # RFC 9651 §4.2.2: a repeated key takes the place of the one before.
            found.pop(key, None)
            found[key] = member
            self._comma()
        return found

    def item(self) -> Item:
        return Item(self._bare(), self._parameters())

    def _member(self) -> Item:
        return self._inner_list() if self._text.startswith("(", self._at) else self.item()

    def _inner_list(self) -> Item:
        self._at += 1
        found: list[Item] = []
        while True:
            self._blanks(" ")
            if self._skip(")"):
                return Item(tuple(found), self._parameters())
            found.append(self.item())
            if not self._text.startswith((" ", ")"), self._at):
                raise _Malformed

    def _parameters(self) -> dict[str, _Bare]:
        found: dict[str, _Bare] = {}
        while self._skip(";"):
            self._blanks(" ")
            key = self._take(_KEY)[0]
            value = self._bare() if self._skip("=") else True
            found.pop(key, None)
            found[key] = value
        return found

    def _bare(self) -> _Bare:
        match self._text[self._at : self._at + 1]:
            case '"':
                return re.sub(r"\\(.)", r"\1", self._take(_STRING)[1])
            case ":":
                return self._byte_sequence()
            case "?":
                return self._take(_BOOLEAN)[1] == "1"
            case "@":
                return int(self._take(_DATE)[1])
            case "%":
                return self._display_string()
            case start if start == "-" or (start.isascii() and start.isdecimal()):
                match = self._take(_NUMBER)
                return Decimal(match[0]) if match[1] else int(match[0])
            case _:
                return Token(self._take(_TOKEN)[0])

    def _byte_sequence(self) -> bytes:
        coded = self._take(_BYTES)[1]
        try:
            # Padding that is missing SHOULD be no failure (RFC 9651 §4.2.7).
            return base64.b64decode(coded.rstrip("=") + "=" * (-len(coded.rstrip("=")) % 4), validate=True)
        except binascii.Error:
            raise _Malformed from None

    def _display_string(self) -> str:
        try:
            return unquote_to_bytes(self._take(_DISPLAY)[1]).decode()
        except UnicodeDecodeError:
            raise _Malformed from None

    def _comma(self) -> None:
        """Pass over the comma between two members; none may stand at the end (RFC 9651 §4.2.1)."""
        self._blanks(" \t")
        if self._at == len(self._text):
            return
        if not self._skip(","):
            raise _Malformed
        self._blanks(" \t")
        if self._at == len(self._text):
            raise _Malformed

    def _blanks(self, which: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in which:
            self._at += 1

    def _skip(self, char: str) -> bool:
        found = self._text.startswith(char, self._at)
        self._at += found
        return found

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Malformed
        self._at = match.end()
        return match
