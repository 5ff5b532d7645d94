"""Single response fields, each read by its standard's grammar; what breaks it is reported as none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

from .grammar import TOKEN, http_date, list_elements, parameters, unquoted
from .structured import Token, read_dictionary, read_item
from .wire import Answer

__all__ = (
    "CacheControl",
    "EntityTag",
    "cache_control",
    "cross_origin_policy",
    "entity_tag",
    "fresh_for",
    "hsts_max_age",
    "is_closing",
    "last_part",
    "location_of",
    "media_type_parameters",
    "path_in",
    "permissions_policy",
    "referrer_policy",
    "retry_after",
)


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The directives of Cache-Control (RFC 9111 §5.2).

    Parameters:
        arguments: by name in lower case, of which the first counts; empty for a directive without one.
    """

    arguments: dict[str, str]

    @property
    def names(self) -> set[str]:
        """The directives that are about the whole response: ``private="a"`` is about the field a alone."""
        return {
            name for name, value in self.arguments.items() if not (name in {"private", "no-cache"} and value)
        }

    def seconds(self, name: str) -> int | None:
        """Return the delta-seconds of a directive, or None when it has none (RFC 9111 §1.2.2)."""
        return _delta_seconds(self.arguments.get(name, ""))


def fresh_for(answer: Answer, now: datetime | None = None) -> float:
    """Return for how many seconds a cache may answer in the place of the service (RFC 9111 §4.2.1).

    Parameters:
        now: when the response came, where it has no Date; the clock's when None.
    """
    caching = cache_control(answer)
    if caching.names & {"no-store", "no-cache"}:
        return 0.0
    stated = [seconds for name in ("s-maxage", "max-age") if (seconds := caching.seconds(name)) is not None]
    if stated or "max-age" in caching.names:
        return float(max(stated, default=0))
    # What is no date has passed already (RFC 9111 §5.3), as the usual "0" and "-1" have.
    expires = http_date(answer.field("expires") or "", now)
    came = http_date(answer.field("date") or "", now) or now or datetime.now(UTC)
    return max((expires - came).total_seconds(), 0.0) if expires is not None else 0.0


def cache_control(answer: Answer) -> CacheControl:
    """Read Cache-Control; what is no directive is passed over."""
    found: dict[str, str] = {}
    for element in list_elements(answer.field("cache-control") or ""):
        name, equals, argument = element.partition("=")
        value = unquoted(argument) if equals else ""
        if TOKEN.fullmatch(name) and value is not None:
            found.setdefault(name.lower(), value)
    return CacheControl(found)


def _delta_seconds(text: str) -> int | None:
    # A cache takes more than 2^31 for 2^31 (RFC 9111 §1.2.2); int() refuses thousands of digits.
    return min(int(text[:18]), 2**31) if text.isascii() and text.isdecimal() else None


@dataclass(frozen=True, slots=True)
class EntityTag:
    """A validator (RFC 9110 §8.8.3)."""

    opaque: str
    is_weak: bool


_ENTITY_TAG = re.compile(r'(W/)?("[!\x23-\x7e\x80-\xff]*")')


def entity_tag(text: str | None) -> EntityTag | None:
    """Read an ETag; None without one, and for what is none, such as one without quotes or with ``w/``."""
    match = _ENTITY_TAG.fullmatch(text or "")
    return EntityTag(match[2], match[1] is not None) if match else None


def hsts_max_age(answer: Answer) -> int | None:
    """Return the seconds for which a browser keeps to HTTPS; None where it ignores the field or has none.

    Names compare without case and in any order, values may be quoted, unknown directives are passed over, and
    one that stands twice makes the field void (RFC 6797 §6.1). Of several fields the first counts (§8.1).
    """
    lines = answer.all("strict-transport-security")
    found: dict[str, str] = {}
    for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^;])+', lines[0] if lines else ""):
        name, equals, argument = (word.strip(" \t") for word in part.partition("="))
        if not name and not equals:
            continue
        value = unquoted(argument) if equals else ""
        if not TOKEN.fullmatch(name) or value is None or name.lower() in found:
            return None
        found[name.lower()] = value
    if found.get("includesubdomains"):
        return None  # it has no value (§6.1.2)
    return _delta_seconds(found.get("max-age", ""))


def retry_after(answer: Answer, now: datetime | None = None) -> float | None:
    """Return the seconds of Retry-After, a number or an HTTP-date; else None (RFC 9110 §10.2.3).

    Parameters:
        now: the time from which a date counts; the clock's when None. Dates have no fractions, so that a date
            may be up to a second later than it says.
    """
    text = (answer.field("retry-after") or "").strip(" \t")
    seconds = _delta_seconds(text)
    if seconds is not None:
        return float(seconds)
    date = http_date(text, now)
    return None if date is None else (date - (now or datetime.now(UTC))).total_seconds() + 0.999


def media_type_parameters(answer: Answer) -> dict[str, str] | None:
    """Return the parameters of Content-Type, the names in lower case (RFC 9110 §8.3.1).

    None when it is no media type: ``type "/" subtype`` and parameters.
    """
    value = answer.field("content-type") or ""
    kind, semicolon, rest = value.partition(";")
    main, slash, sub = kind.strip(" \t").partition("/")
    if not slash or not TOKEN.fullmatch(main) or not TOKEN.fullmatch(sub):
        return None
    return parameters(f"{semicolon}{rest}")


def is_closing(answer: Answer) -> bool:
    """Tell whether a response names ``close`` among the options of its connection (RFC 9112 §9.6)."""
    return "close" in {option.lower() for option in list_elements(answer.field("connection") or "")}


def location_of(answer: Answer) -> str | None:
    """Return the URL that Location leads to, resolved against that of the request (RFC 9110 §10.2.2).

    None without one, and for what is no URI reference (RFC 3986 §4.1).
    """
    text = answer.field("location")
    if text is None or re.search(r"[^!-~]", text):
        return None
    try:
        found = urljoin(f"http://{answer.request.address}{answer.request.path}", text)
        urlsplit(found).port  # noqa: B018  (it is read when it is asked for, and may be invalid)
    except ValueError:
        return None
    return found


def last_part(answer: Answer) -> str:
    """Return the last part of the path that Location leads to, as a rule an id; empty without one."""
    return urlsplit(location_of(answer) or "").path.rstrip("/").rpartition("/")[2]


def path_in(url: str) -> str:
    """Return what a request for a URL has as its target: path and query (RFC 9112 §3.2.1)."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


_REFERRER_POLICIES = frozenset(
    {
        "no-referrer",
        "no-referrer-when-downgrade",
        "same-origin",
        "origin",
        "strict-origin",
        "origin-when-cross-origin",
        "strict-origin-when-cross-origin",
        "unsafe-url",
    }
)


def referrer_policy(answer: Answer) -> str:
    """Return the policy in force: the last that a browser knows, or nothing (W3C Referrer Policy §8.1)."""
    words = [word.lower() for word in list_elements(answer.field("referrer-policy") or "")]
    return next((word for word in reversed(words) if word in _REFERRER_POLICIES), "")


def permissions_policy(answer: Answer) -> dict[str, object]:
    """Return the allowlist by feature; nothing where a browser ignores all (W3C Permissions Policy §5.2).

    It is a dictionary of structured fields: one mistake, such as the ``geolocation 'none'`` of the older
    Feature-Policy, voids all of it.
    """
    found = read_dictionary(answer.field("permissions-policy") or "") or {}
    return {feature: member.value for feature, member in found.items()}


_OPENER_POLICIES = ("unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups")
_RESOURCE_POLICIES = ("same-origin", "same-site", "cross-origin")


def cross_origin_policy(answer: Answer, kind: str) -> str:
    """Return the policy in force, or nothing where a browser knows none.

    Parameters:
        kind: ``opener``, an item of structured fields (HTML, "obtain a cross-origin opener policy"), or
            ``resource``, one of three words byte for byte (Fetch, "Cross-Origin-Resource-Policy header").
    """
    value = answer.field(f"cross-origin-{kind}-policy") or ""
    if kind == "resource":
        return value if value in _RESOURCE_POLICIES else ""
    item = read_item(value)
    word = item.value if item is not None else ""
    return str(word) if isinstance(word, Token) and word in _OPENER_POLICIES else ""
