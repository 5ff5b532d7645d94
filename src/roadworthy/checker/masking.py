"""Takes secrets out of everything that leaves the checker; it is done in one place, the event stream."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

__all__ = ("Masker",)

_T = TypeVar("_T")
# Shorter values would be found in words that are no secrets: a password "test" would mask half the report.
_SHORTEST = 6


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
                if any(form in text for form in _forms(value)) or (len(value) > 16 and value[:12] in text)
            }
        )

    def text(self, text: str) -> str:
        """Return the text with each secret replaced by its label."""
        for value, label in sorted(self._labels.items(), key=lambda pair: -len(pair[0])):
            for form in _forms(value):
                if form in text:
                    text = text.replace(form, label)
            if len(value) > 16 and value[:12] in text:
                text = text.replace(value[:12], label)
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


def _forms(value: str) -> tuple[str, ...]:
    raw = value.encode("utf-8", "surrogatepass")
    # The last characters of base64 depend on what follows; without them it is found in longer texts too.
    encoded = base64.b64encode(raw).decode().rstrip("=")[: len(raw) * 4 // 3 - 1]
    return tuple(dict.fromkeys((value, quote(value, safe=""), json.dumps(value)[1:-1], encoded)))
