"""Reads Set-Cookie as a browser does (draft-ietf-httpbis-rfc6265bis-20 §5.6 and §5.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ...http.wire import Answer

__all__ = ("Cookie", "cookies_of")

# What a session is usually called; a CSRF token is meant to be read by scripts.
_SESSION = re.compile(r"sess|sid\b|auth|jwt|(?<!csrf)token|remember|identity", re.I)
_FOR_SCRIPTS = re.compile(r"csrf|xsrf", re.I)

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MOST, _MOST_OF_ATTRIBUTE = 4096, 1024
"""Bytes of name and value together, and of the value of an attribute (§5.6); what is longer is ignored."""

_MAX_AGE = re.compile(r"-?[0-9]+")
_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(r"([0-9]{2,4})(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie: its name, and its attributes by their names in lower case, of each the last."""

    name: str
    value: str
    attributes: dict[str, str]

    def lacking(self) -> list[str]:
        """Return the attributes that are missing and let others take or use the cookie."""
        if self._is_deleted():
            return []
        found = [] if "secure" in self.attributes else ["Secure"]
        session = _SESSION.search(self.name) and not _FOR_SCRIPTS.search(self.name)
        if session and "httponly" not in self.attributes:
            found.append("HttpOnly")
        if self.attributes.get("samesite", "").lower() not in {"strict", "lax", "none"}:
            found.append("SameSite")
        return found

    def ignored(self) -> str:
        """Return why a browser does not keep the cookie, or nothing."""
        if len(self.name.encode("latin-1", "replace")) + len(self.value) > _MOST:
            return f"which has more than {_MOST:,} bytes"
        secure = "secure" in self.attributes
        if self.attributes.get("samesite", "").lower() == "none" and not secure:
            return "which is SameSite=None without Secure"
        prefix = (self.name or self.value).lower()
        if prefix.startswith(("__secure-", "__host-")) and not (secure and self.name):
            return "whose prefix asks for Secure"
        if prefix.startswith("__host-") and (
            self.attributes.get("domain") or self.attributes.get("path") != "/"
        ):
            return "whose prefix asks for Path=/ and no Domain"
        return ""

    def _is_deleted(self) -> bool:
        age = self.attributes.get("max-age", "")
        if _MAX_AGE.fullmatch(age):
            # Max-Age comes before Expires (§5.7). int() refuses thousands of digits.
            return age.startswith("-") or not age.strip("0")
        date = _cookie_date(self.attributes.get("expires", ""))
        return date is not None and date <= datetime.now(UTC)


def cookies_of(answer: Answer) -> list[Cookie]:
    """Return the cookies that a response sets; what is none is passed over."""
    found: list[Cookie] = []
    for line in answer.all("set-cookie"):
        if _CONTROL.search(line):
            continue
        pair, *attributes = line.split(";")
        # Without an equals sign all of it is the value of a cookie that has no name.
        name, equals, value = (word.strip(" \t") for word in pair.partition("="))
        name, value = (name, value) if equals else ("", name)
        if not name and not value:
            continue
        kept: dict[str, str] = {}
        for attribute in attributes:
            key, _, text = (word.strip(" \t") for word in attribute.partition("="))
            if len(text) <= _MOST_OF_ATTRIBUTE:
                kept[key.lower()] = text
        found.append(Cookie(name, value, kept))
    return found


def _cookie_date(text: str) -> datetime | None:
    """Read the time of Expires, which browsers find in nearly anything (§5.1.1)."""
    clock: tuple[int, int, int] | None = None
    day = month = year = 0
    for part in filter(None, _DELIMITERS.split(text)):
        if not clock and (match := _TIME.match(part)):
            clock = int(match[1]), int(match[2]), int(match[3])
        elif not day and (match := _DAY.match(part)):
            day = int(match[1])
        elif not month and part[:3].lower() in _MONTHS:
            month = _MONTHS.index(part[:3].lower()) + 1
        elif not year and (match := _YEAR.match(part)):
            year = int(match[1])
    year += 1900 if 70 <= year <= 99 else 2000 if year <= 69 else 0
    if not clock or not day or not month or year < 1601:
        return None
    try:
        hour, minute, second = clock
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
