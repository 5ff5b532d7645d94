"""What grammars of HTTP fields are made of: tokens, quoted strings, lists, parameters, dates (RFC 9110)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ("TOKEN", "http_date", "list_elements", "parameters", "split_list", "unquoted")

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""token (RFC 9110 §5.6.2)."""

_QUOTED = r'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t -\x7e\x80-\xff])*"'
"""quoted-string (RFC 9110 §5.6.4)."""

_QUOTED_ONLY = re.compile(_QUOTED)
_ELEMENT = re.compile(rf'(?:{_QUOTED}|[^,"])*')
_PARAMETER = re.compile(rf"[ \t]*;[ \t]*(?:({TOKEN.pattern})=({TOKEN.pattern}|{_QUOTED}))?")

_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_WHOLE_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"(?:{_DAYS}), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"(?:{_WHOLE_DAYS}), (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"(?:{_DAYS}) {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",
    )
)
"""IMF-fixdate, rfc850-date and asctime-date (RFC 9110 §5.6.7); all are case-sensitive."""


def unquoted(text: str) -> str | None:
    """Return what a token or a quoted string stands for; None when it is neither."""
    if TOKEN.fullmatch(text):
        return text
    if _QUOTED_ONLY.fullmatch(text):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return None


def list_elements(value: str) -> tuple[str, ...]:
    """Return the elements of a list field, empty ones left out (RFC 9110 §5.6.1.2)."""
    return tuple(filter(None, split_list(value)))


def split_list(value: str) -> list[str]:
    """Return what stands between the commas of a field, as a browser does (Fetch, "get, decode, and split").

    A comma in a quoted string separates nothing. A quote that is never closed makes the rest one element.
    """
    found: list[str] = []
    at = 0
    while at <= len(value):
        match = _ELEMENT.match(value, at)
        assert match is not None  # it matches nothing as well
        end = match.end() if match.end() == len(value) or value[match.end()] == "," else len(value)
        found.append(value[at:end].strip(" \t"))
        at = end + 1
    return found


def parameters(text: str) -> dict[str, str] | None:
    """Return the parameters that follow a value, the names in lower case (RFC 9110 §5.6.6).

    None when the text is not made of parameters alone. The first of a name counts.
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            return None if text[at:].strip(" \t") else found
        if match[1]:
            found.setdefault(match[1].lower(), unquoted(match[2]) or "")
        at = match.end()
    return found


def http_date(text: str, now: datetime | None = None) -> datetime | None:
    """Return the time of an HTTP-date in one of its three forms, or None (RFC 9110 §5.6.7).

    Parameters:
        now: for years of two digits, which are never more than 50 years ahead; the clock's when None.
    """
    match = next(filter(None, (pattern.fullmatch(text) for pattern in _DATES)), None)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        this = (now or datetime.now(UTC)).year
        year += this - this % 100
        year -= 100 if year > this + 50 else 0
    month, day = _MONTHS.index(match["month"]) + 1, int(match["day"])
    hour, minute, second = (int(match[name]) for name in ("hour", "minute", "second"))
    try:
        # A leap second is the one before for everybody who reads it here.
        return datetime(
            year, month, day, hour, minute, min(second, 59) if second == 60 else second, tzinfo=UTC
        )
    except ValueError:
        return None
