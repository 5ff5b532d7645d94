"""The values of settings: sizes, durations, rates, lists and networks, and how they are read from text."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from .mistakes import PlainMistake

__all__ = (
    "OPENER_POLICIES",
    "Ancestors",
    "Duration",
    "Networks",
    "OpenerPolicy",
    "Port",
    "Rate",
    "RateSetting",
    "SecretUrls",
    "Size",
    "Text",
    "Word",
    "Words",
    "parse_duration",
    "parse_frame_ancestors",
    "parse_rate",
    "parse_size",
)

_SIZES = {"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 10**6, "mib": 1 << 20, "gb": 10**9, "gib": 1 << 30}
_DURATIONS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0}
OpenerPolicy = Literal["", "unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups"]
"""Values of ``Cross-Origin-Opener-Policy`` (HTML Standard, "cross-origin opener policies"), "" for none."""
OPENER_POLICIES: tuple[str, ...] = get_args(OpenerPolicy)
# A scheme, or a host with or without scheme, port and path (CSP level 3 §2.3.1, scheme-source, host-source).
_SOURCE = re.compile(
    r"[a-z][a-z0-9+.-]*:|(?:[a-z][a-z0-9+.-]*://)?(?:\*\.)?[a-z0-9_.-]+(?::(?:\d{1,5}|\*))?(?:/[^\s;,'\"]*)?"
)
_BETWEEN_URLS = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)|^\s+|\s+$")
_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Rate(tuple[int, int]):
    """A rate limit: ``count`` requests as a burst, refilled evenly over ``period`` seconds (GCRA)."""

    __slots__ = ()

    @property
    def count(self) -> int:  # type: ignore[override]  # pyright: ignore
        """Requests in one burst, at least 1."""
        return self[0]

    @property
    def period(self) -> int:
        """Seconds over which the whole burst is refilled."""
        return self[1]

    def __str__(self) -> str:
        names = {seconds: name for name, seconds in _PERIODS.items()}
        return f"{self[0]}/{names.get(self[1], f'{self[1]}s')}"


def parse_size(value: Any) -> int:
    """Read a size in bytes: ``1048576``, ``"1MiB"``, ``"500 kB"``.

    Raises:
        ValueError: it is not a whole non-negative size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise PlainMistake("a size is not negative")
        return value
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if match is None or match[2] not in _SIZES:
        raise PlainMistake("a size is bytes, or a number with kB, KiB, MB, MiB, GB, GiB")
    return int(match[1]) * _SIZES[match[2]]


def parse_duration(value: Any) -> float:
    """Read a duration in seconds: ``30``, ``"1.5"``, ``"500ms"``, ``"2m"``.

    Raises:
        ValueError: it is not a non-negative finite duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if match is None or match[2] not in _DURATIONS:
        raise PlainMistake("a duration is seconds, or a number with ms, s, m, h")
    return float(match[1]) * _DURATIONS[match[2]]


def parse_rate(value: Any) -> Rate | None:
    """Read a rate: ``"600/minute"``, ``"10/second"``, ``"off"`` (None).

    Raises:
        ValueError: it is neither.
    """
    if value is None or isinstance(value, Rate):
        return value
    text = str(value).strip().lower()
    if text == "off":
        return None
    match = re.fullmatch(r"(\d+)\s*/\s*(second|minute|hour|day)s?", text, re.ASCII)
    if match is None or int(match[1]) < 1:
        raise PlainMistake("a rate is N/second, N/minute, N/hour or N/day with N at least 1, or off")
    return Rate((int(match[1]), _PERIODS[match[2]]))


def parse_frame_ancestors(value: Any) -> tuple[str, ...]:
    """Read who may frame a page: ``"self"``, ``"none"``, ``"*"``, ``"self, https://partner.example"``.

    Raises:
        ValueError: it is none of these.
    """
    parts: list[str] = []
    if isinstance(value, str):
        parts = value.replace(",", " ").split()
    elif isinstance(value, list | tuple):
        parts = [str(one) for one in cast("list[object]", value)]
    words = tuple(part.strip().strip("'").lower() for part in parts)
    alone = {"none", "*"}.intersection(words)
    if (
        not words
        or (alone and len(words) > 1)
        or not all(one in ("self", "none", "*") or _SOURCE.fullmatch(one) for one in words)
    ):
        raise PlainMistake(
            "who may frame pages is self, origins such as https://app.example, or both separated by commas; "
            "or none alone; or * alone for everyone"
        )
    return words


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise PlainMistake("a list is words separated by commas, or a JSON array") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _split_urls(value: Any) -> Any:
    # A URL of several hosts has commas, too.
    return [part for part in _BETWEEN_URLS.split(value) if part] if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _network(value: Any) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise PlainMistake("a network is an address, or an address/length such as 10.0.0.0/8") from None
    if network.prefixlen == 0:
        raise PlainMistake(
            "trusting every address (/0) lets any client choose its own address; name the proxies' networks"
        )
    return network


Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
RateSetting = Annotated[Rate | None, BeforeValidator(parse_rate)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...],
    NoDecode,
    BeforeValidator(_split),
]
SecretUrls = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_urls)]
Ancestors = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_frame_ancestors)]
Port = Annotated[int, Field(ge=0, le=65535)]
Word = BeforeValidator(_lower)
"""Lets enumerated settings be written in any case (``LOG_LEVEL=INFO``)."""
Text = Annotated[str, Field(min_length=1)]
