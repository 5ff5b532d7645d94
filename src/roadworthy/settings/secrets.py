"""Which secrets are weak, without ever repeating one.

The rules are those that shipped defaults and copied examples break: Django's check W009 (length, distinct
characters, the generated marker) and the lists of words that templates put where a secret belongs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import unquote

from pydantic import SecretBytes, SecretStr

from .mistakes import Problem

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ("weak_among",)

_SHORTEST = 16
"""Characters of a token: 16 random ones of base64 are 96 bits; OWASP ASVS asks 64 of a session id."""
_DISTINCT = 5
"""Distinct characters, as in Django's check security.W009."""
_WORDS = (
    "changeme|changethis|replaceme|todo|x{3,}+|secret|passw(?:or|0r)?d|pass|admin|root|postgres|mysql|redis|test|guest"
    "|default|example|qwerty|letmein|insecure|django|develop(?:ment)?|dev|local|sample|dummy|foo|bar|super|jwt|api"
    "|access|auth|session|signing|private|token|key|string|value|your|my|the|a|this|is|not|very|please|here|in|some"
    "|production|change|123(?:4(?:5(?:6(?:7(?:8(?:90?)?)?)?)?)?)?"
)
_DEFAULT = re.compile(rf"(?:{_WORDS})+\d{{0,4}}")
"""A text made only of words that stand where a secret belongs, such as my-super-secret-key-2024."""
_LONGEST_DEFAULT = 64
_HOW = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def weak_among(model: type[BaseModel], values: Mapping[str, Any], names: Mapping[str, str]) -> list[Problem]:
    """Return what is weak among the secrets of a settings class.

    Every ``SecretStr`` and ``SecretBytes`` field is looked at: a token has at least 16 characters, 5 distinct
    ones, and is no known default. In a URL only the password counts, and only known defaults are refused;
    others may be short for a reason.

    Parameters:
        model: the settings class.
        values: what the fields have or were given, by name; a field that is left out is not looked at.
        names: field -> the variable that was set or has to be set.
    """
    return [
        Problem(names[name], message)
        for name, info in model.model_fields.items()
        if _holds_secret(info.annotation)
        for value in _each(values.get(name))
        if (message := _weakness(value)) is not None
    ]


def _holds_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(map(_holds_secret, get_args(annotation)))


def _each(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else (value,)


def _weakness(value: object) -> str | None:
    """Return what is weak about a secret without repeating it; None for a strong one and for other values."""
    if isinstance(value, (SecretStr, SecretBytes)):
        value = value.get_secret_value()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return _weakness_of_text(value) if isinstance(value, str) else None


def _weakness_of_text(text: str) -> str | None:
    if "://" in text:
        credentials = text.partition("://")[2].rpartition("@")[0]
        password = unquote(credentials.partition(":")[2])
        return "its password is a well-known default; choose another" if _is_default(password) else None
    if not text:
        return f"is empty; {_HOW}"
    if _is_default(text):
        return f"is a well-known default; {_HOW}"
    if len(text) < _SHORTEST:
        return f"is shorter than {_SHORTEST} characters; {_HOW}"
    if len(set(text)) < _DISTINCT:
        return f"has fewer than {_DISTINCT} distinct characters; {_HOW}"
    return None


def _is_default(text: str) -> bool:
    lowered = text.lower()
    if lowered.startswith("django-insecure-"):
        return True
    return len(text) <= _LONGEST_DEFAULT and bool(_DEFAULT.fullmatch(re.sub(r"[^a-z0-9]", "", lowered)))
