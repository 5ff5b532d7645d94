"""The values of a manifest as they are written. Each error message names what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, TypeGuard, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StrictBool

from ...checklist import ASSERTIONS
from ..errors import ManifestError
from .near import near

__all__ = (
    "ROLES",
    "AbsolutePath",
    "AssertionId",
    "Bytes",
    "Day",
    "FieldLine",
    "Flag",
    "Identifier",
    "LoopbackUrl",
    "Positive",
    "Reason",
    "Role",
    "Seconds",
    "Statuses",
    "Variables",
    "at_least",
    "is_table",
    "loopback_url",
)

_POSTS = ("create", "login", "child_create", "batch", "transfers")
_GETS = (
    *("read", "list", "slow", "fails", "large", "stream", "html", "binary"),
    *("child_read", "child_list", "overview", "primes"),
)
ROLES: Mapping[str, str] = {
    **dict.fromkeys(_POSTS, "POST"),
    "update": "PUT",
    "delete": "DELETE",
    **dict.fromkeys(_GETS, "GET"),
}
"""The part that a route plays, and the method of such a route where the manifest names none."""

# The same units as in the service's settings, in any case.
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES = {"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 10**6, "mib": 1 << 20, "gb": 10**9, "gib": 1 << 30}


def is_table(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether a value is a TOML table."""
    return isinstance(value, Mapping)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: object) -> float:
    if _is_number(value) and value >= 0:
        return float(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if not isinstance(value, str) or match is None or match[2] not in _SECONDS:
        raise ValueError('must be a time such as "30s", "500ms" or "2min"')
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", str(value).strip().lower(), re.ASCII)
    if not isinstance(value, str) or match is None or match[2] not in _BYTES:
        raise ValueError('must be a size such as "1MiB", "64KiB" or a number of bytes')
    return int(match[1]) * _BYTES[match[2]]


def at_least(least: int) -> BeforeValidator:
    """Return the validator of a whole number from ``least`` up."""

    def judge(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"must be a whole number from {least} up")
        return value

    return BeforeValidator(judge)


def _statuses(value: object) -> object:
    if isinstance(value, tuple):  # a manifest that facts are filled into is validated a second time
        return cast("tuple[int, int]", value)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value), re.ASCII)
    if not isinstance(value, str) or match is None:
        raise ValueError('must be a status or a range of them, "200-299"')
    return int(match[1]), int(match[2] or match[1])


def _role(word: str) -> str:
    if word not in ROLES:
        raise ValueError(f"unknown role {word!r}{near(word, ROLES)}")
    return word


def _variable(value: object) -> object:
    """Write numbers and flags as the environment would have them."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if _is_number(value) else value


def _identifier(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a path such as $.id, or an id")
    return str(value)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must begin with /")
    return path


def _field_line(text: str) -> str:
    if text and not text.partition(":")[2].strip():
        raise ValueError('must be a field with its value, "Authorization: Bearer ${TOKEN}"')
    return text


def _assertion_id(identifier: str) -> str:
    known = {entry.id for entry in ASSERTIONS}
    known |= {one.rpartition("-")[0] for one in known}
    if identifier not in known:
        raise ValueError(f"unknown assertion {identifier!r}{near(identifier, known, most=1)}")
    return identifier


def _reason(text: str) -> str:
    if not text.strip():
        raise ValueError("is required: say why this is acceptable")
    return text


def _day(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError("must be a date, 2027-01-31") from None


def loopback_url(text: str) -> str:
    """Return the URL of a service on this machine, without a slash at its end.

    Raises:
        ManifestError: it has no port, is not plain HTTP, or is not this machine.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or parts.hostname is None or port is None:
        raise ManifestError(f"{text} is not of the form http://127.0.0.1:8000 (plain HTTP, with a port)")
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"} and not parts.hostname.startswith("127."):
        raise ManifestError(
            f"{parts.hostname} is not this machine; the check sends faults and load, and only does so to "
            "loopback addresses. Run it where the service runs"
        )
    return text.rstrip("/")


def _optional_url(text: str) -> str:
    try:
        return loopback_url(text) if text else text
    except ManifestError as error:
        raise ValueError(str(error)) from None


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
AssertionId = Annotated[str, AfterValidator(_assertion_id)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Day = Annotated[str, BeforeValidator(_day)]
FieldLine = Annotated[str, AfterValidator(_field_line)]
Flag = StrictBool
Identifier = Annotated[str, BeforeValidator(_identifier)]
LoopbackUrl = Annotated[str, AfterValidator(_optional_url)]
Positive = Annotated[int, at_least(1)]
Role = Annotated[str, AfterValidator(_role)]
Reason = Annotated[str, AfterValidator(_reason)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Statuses = Annotated[tuple[int, int], BeforeValidator(_statuses)]
Variables = Mapping[str, Annotated[str, BeforeValidator(_variable)]]
