"""The members that every problem document of ours has, whoever sends it (RFC 9457 §3)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ..errors import APIError

__all__ = ("problem",)


def problem(error: APIError, *, instance: str | None = None, request_id: str | None = None) -> dict[str, Any]:
    """Return the problem document of an error, to which the caller may add.

    Parameters:
        instance: the path of the request, escaped; left out when None.
        request_id: left out when None.
    """
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(error.status),
        "status": error.status,
        "detail": error.message,
    }
    if instance is not None:
        document["instance"] = instance
    document["code"] = error.code
    if request_id is not None:
        document["request_id"] = request_id
    return document


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
