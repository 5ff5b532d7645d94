"""Reads Set-Cookie (RFC 6265 §4.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...http.wire import Answer

__all__ = ("Cookie", "cookies_of")

# What a session is usually called; a CSRF token is meant to be read by scripts.
_SESSION = re.compile(r"sess|sid\b|auth|jwt|(?<!csrf)token|remember|identity", re.I)
_FOR_SCRIPTS = re.compile(r"csrf|xsrf", re.I)


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie: its name and its attributes, in lower case."""

    name: str
    attributes: dict[str, str]

    def lacking(self) -> list[str]:
        """Return the attributes that are missing and let others take or use the cookie."""
        if self.attributes.get("max-age") == "0":
            return []  # it is being deleted
        found = [] if "secure" in self.attributes else ["Secure"]
        session = _SESSION.search(self.name) and not _FOR_SCRIPTS.search(self.name)
        if session and "httponly" not in self.attributes:
            found.append("HttpOnly")
        if self.attributes.get("samesite", "").lower() not in {"strict", "lax", "none"}:
            found.append("SameSite")
        return found


def cookies_of(answer: Answer) -> list[Cookie]:
    """Return the cookies that a response sets."""
    found: list[Cookie] = []
    for line in answer.all("set-cookie"):
        pair, *attributes = line.split(";")
        named = [word.partition("=") for word in attributes]
        name = pair.partition("=")[0].strip()
        found.append(Cookie(name, {key.strip().lower(): value.strip() for key, _, value in named}))
    return found
