"""Takes secrets out of everything that leaves the checker; it is done in one place, the event stream."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from html import escape
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus, unquote, urlsplit

__all__ = ("Masker",)

_T = TypeVar("_T")
# Shorter values would be found in words that are no secrets: a password "test" would mask half the report.
_SHORTEST = 6
# A secret that is longer than this is recognized by this much of it.
_LONG, _BEGINNING = 16, 12


class Masker:
    """Knows the secrets of one run: those it planted (canaries) and those it was given."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def canary(self, place: str) -> str:
        """Return a new high-entropy value to plant at ``place``; a report shows its place instead of it."""
        value = f"rwc{secrets.token_hex(16)}"
        self._labels[value] = f"[canary: {place}]"
        return value

    def add(self, label: str, value: str) -> None:
        """Remember a secret that was given, in every form in which it could come back."""
        if len(value) >= _SHORTEST:
            self._labels[value] = f"[secret: {label}]"

    def add_url(self, label: str, url: str) -> None:
        """Remember the password of a URL."""
        try:
            password = urlsplit(url).password
        except ValueError:
            return
        if password:
            self.add(label, password)
            self.add(label, unquote(password))

    def find(self, text: str) -> list[str]:
        """Return the labels of the secrets that stand in a text, whole in any form, or their beginning."""
        return sorted(
            {
                label
                for value, label in self._labels.items()
                if any(form in text for form in _forms(value))
                or (len(value) > _LONG and value[:_BEGINNING] in text)
            }
        )

    def text(self, text: str) -> str:
        """Return the text with each secret replaced by its label."""
        for value, label in sorted(self._labels.items(), key=lambda pair: -len(pair[0])):
            for form in _forms(value):
                if form in text:
                    text = text.replace(form, label)
                text = _without_beginnings(text, form, label)
        # Half a surrogate pair can come back from a service, and cannot be written to any stream or file.
        return text.encode("utf-8", "backslashreplace").decode()

    def mask(self, value: _T) -> _T:
        """Return a copy of a dataclass, a tuple, a list or a mapping in which every text is masked."""
        return cast("_T", self._masked(value))

    def _masked(self, value: Any) -> Any:
        if type(value) is str:
            return self.text(value)
        if is_dataclass(value) and not isinstance(value, type):
            changed = {
                entry.name: self._masked(getattr(value, entry.name)) for entry in fields(value) if entry.init
            }
            return replace(value, **changed)
        if isinstance(value, tuple):
            return tuple(self._masked(entry) for entry in _each(value))
        if isinstance(value, list):
            return [self._masked(entry) for entry in _each(value)]
        if isinstance(value, Mapping):
            return {self._masked(key): self._masked(entry) for key, entry in _pairs(value)}
        return value


def _each(value: Any) -> Iterable[Any]:
    found: Iterable[Any] = value
    return found


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    found: Iterable[tuple[Any, Any]] = value.items()
    return found


def _without_beginnings(text: str, secret: str, label: str) -> str:
    """Take out what an excerpt left of a secret: a long beginning anywhere, a shorter one at a cut."""
    if len(secret) > _LONG and secret[:_BEGINNING] in text:
        first, *rest = text.split(secret[:_BEGINNING])
        more = secret[_BEGINNING:]
        text = first + "".join(label + part[_alike(part, more) :] for part in rest)
    if secret[:_SHORTEST] in text:
        for length in range(len(secret) - 1, _SHORTEST - 1, -1):
            if text.endswith(secret[:length]):
                return text.removesuffix(secret[:length]) + label
            text = text.replace(f"{secret[:length]}…", f"{label}…")
    return text


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginnings."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


@lru_cache(maxsize=4096)
def _forms(value: str) -> tuple[str, ...]:
    """Return the forms in which a secret comes back: as it is, in URLs, in JSON, in HTML, in base64."""
    quoted = (quote(value, safe=""), quote_plus(value))
    escaped = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], escape(value))
    lowered = (re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), text) for text in quoted)
    return tuple(dict.fromkeys((value, *quoted, *lowered, *escaped, repr(value)[1:-1], *_base64(value))))


def _base64(value: str) -> Iterator[str]:
    """Yield base64 as it is at each of the three places in a longer text, such as behind a user's name.

    The characters that depend on what stands before and behind are left out.
    """
    raw = value.encode("utf-8", "surrogatepass")
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
        kept = whole[(0, 2, 3)[offset] : (offset + len(raw)) * 8 // 6]
        if len(kept) >= _SHORTEST:
            yield kept
            yield kept.replace("+", "-").replace("/", "_")
