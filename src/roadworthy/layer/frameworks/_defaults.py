"""Reading frameworks' default error bodies: a status as an error, text as JSON, what ``Accept`` prefers."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, cast

from ... import errors
from ...errors import APIError
from ...types import Scope

__all__ = ("error_for_status", "json_object", "json_objects", "media_type", "phrase", "prefers_html")

# A default error body is a few hundred bytes; a list of refused fields a few thousand.
_MAX_BODY = 64 << 10

# Bound once: a test of the service may put something in the place of `json.loads`.
_decode = json.JSONDecoder().decode

_BY_STATUS: dict[int, type[APIError]] = {
    kind.status: kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if isinstance(kind, type) and issubclass(kind, APIError) and kind is not APIError
}


def phrase(status: int) -> str:
    """Return the reason phrase of ``status`` as this Python has it, "" for an unassigned one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_for_status(status: int, message: str | None = None) -> APIError:
    """Return the error of ``status`` with its usual code; None or the bare phrase gives the default message.

    Raises:
        ValueError: the status is not an error status.
    """
    reason = phrase(status)
    if message is not None and (not message or message.lower() == reason.lower()):
        message = None
    kind = _BY_STATUS.get(status)
    if kind is not None:
        made = kind(message)
        # The app's own Retry-After, when it has one, must not meet a second one.
        made.headers.clear()
        return made
    if status == 500:
        return APIError(message)
    return APIError(
        message or reason or "Error",
        status,
        "".join(c if c.isalnum() else "_" for c in reason.replace("'", "")).upper() or "ERROR",
    )


def media_type(content_type: str) -> str:
    """Return the media type of a ``Content-Type`` value, without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return ``body`` as a JSON object, or None when it is not one or too long for a default error body."""
    if len(body) > _MAX_BODY or not body.startswith(b"{"):
        return None
    try:
        document = _decode(body.decode())
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def json_objects(value: object) -> list[dict[str, Any]]:
    """Return ``value`` when it is a list of JSON objects and nothing else, otherwise an empty list."""
    if not isinstance(value, list):
        return []
    entries = cast("list[object]", value)
    return (
        [cast("dict[str, Any]", one) for one in entries] if all(type(one) is dict for one in entries) else []
    )


def prefers_html(scope: Scope) -> bool:
    """Return whether ``Accept`` names HTML and ranks it at least as high as JSON (RFC 9110 §12.5.1)."""
    accept = (
        b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1").lower()
    )
    if "html" not in accept:
        return False
    html = json_quality = 0.0
    for part in accept.split(","):
        kind, _, parameters = part.partition(";")
        kind = kind.strip()
        quality = 1.0
        for parameter in parameters.split(";"):
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if kind in ("text/html", "application/xhtml+xml"):
            html = max(html, quality)
        elif kind in ("application/json", "application/problem+json"):
            json_quality = max(json_quality, quality)
    return html > 0 and html >= json_quality
