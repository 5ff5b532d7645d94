"""Weak secrets are refused at start, in production, by name.

The rules are those that shipped defaults and copied examples break: Django's check W009 (length, distinct
characters, the generated marker) and the lists of words that templates put where a secret belongs.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote

from pydantic import SecretBytes, SecretStr

from ..settings import PREFIX, Problem, Settings, SettingsError, settings_sources

__all__ = ("Environment",)

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

_log = logging.getLogger("roadworthy.environment")


class Environment:
    """Looks once at every secret of the settings, those of a service's subclass included.

    Parameters:
        settings: the effective settings. Every ``SecretStr`` and ``SecretBytes`` field that is set is
            looked at: a token has at least 16 characters, 5 distinct ones, and is no known default; in a URL
            only the password counts, and only known defaults are refused, others may be short for a reason.

    Attributes:
        problems: what is weak, by the name of the variable that was set or has to be set.
    """

    def __init__(self, settings: Settings) -> None:
        self._env = settings.env
        sources = settings_sources(settings)
        self.problems = tuple(
            Problem(_name(field, sources[field]), message)
            for field in type(settings).model_fields
            if (message := _weakness(getattr(settings, field))) is not None
        )

    def check(self) -> None:
        """Refuse weak secrets in production; log a warning for each in development; do nothing in test.

        Raises:
            SettingsError: ``env`` is production and secrets are weak; it names them all.
        """
        if not self.problems or self._env == "test":
            return
        if self._env == "production":
            raise SettingsError(self.problems)
        for problem in self.problems:
            _log.warning("weak secret, refused in production: %s", problem)


def _name(field: str, source: str) -> str:
    return PREFIX + field.upper() if source in ("default", "argument", "secrets") else source


def _weakness(value: object) -> str | None:
    """Say what is weak about a secret without repeating it; None for a strong one and for other values."""
    if isinstance(value, SecretBytes):
        text = value.get_secret_value().decode("latin-1")
    elif isinstance(value, SecretStr):
        text = value.get_secret_value()
    else:
        return None
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
