"""Error handling: one encoder for every error, whoever produced it.

The shape is RFC 9457 problem details, or the ``{"error": {...}}`` envelope. Only an outermost
wrapper sees a framework's own 404, 405, 413, 422 and 500, so this is where they all become one shape.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import quote

from ..errors import APIError, UnavailableError, ValidationError
from ..settings import Settings
from .exchange import Exchange, Reply
from .outages import is_of_database, outage_of
from .problem import problem

__all__ = ("ErrorHandling",)

# Bound once: what a test of the service puts in the place of `json.dumps` counts the service's calls alone.
_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""Methods that change nothing (RFC 9110 §9.2.1)."""
# RFC 3986 §3.3: what may stand unescaped in a path.
_PATH_SAFE = "/:@!$&'()*+,;=~-._"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


class ErrorHandling:
    """Turns what went wrong into a response.

    Parameters:
        settings: ``error_format`` chooses the shape; ``env`` decides whether a stack may leave.
        is_unavailable: returns whether an exception means that the service has no room now (a pool without a
            free connection), which becomes 503.
    """

    def __init__(
        self, settings: Settings, is_unavailable: Callable[[BaseException], bool] = lambda _: False
    ) -> None:
        self._is_unavailable = is_unavailable
        self._envelope = settings.error_format == "envelope"
        self._stacks = settings.env == "development"

    def from_exception(self, exception: BaseException, method: str) -> APIError:
        """Return the error that a client is answered with when ``exception`` came out of the app.

        An :class:`APIError` is itself, also from inside an exception group. A database pool without a free
        connection and another service that is away are 503; all else is 500 and keeps its text to itself
        (OWASP ASVS 16.5.1).

        Parameters:
            exception: what came out.
            method: of the request. Only where nothing can have been done yet does ``Retry-After`` ask for a
                repetition.
        """
        leaves = list(_leaves(exception))
        for leaf in leaves:
            if isinstance(leaf, APIError):
                return leaf
        if any(self._is_unavailable(leaf) for leaf in leaves):
            return UnavailableError("No database connection became free in time")
        outages = [outage_of(leaf) for leaf in leaves]
        if None not in outages:
            untouched = all(outage is not None and outage.untouched for outage in outages)
            harmless = method in _SAFE or (untouched and all(map(is_of_database, leaves)))
            return UnavailableError(
                "Something that this service depends on is unavailable", retry_after=1 if harmless else None
            )
        return APIError()

    def encode(self, exchange: Exchange, error: APIError) -> Reply:
        """Encode ``error`` as the response to ``exchange``. The stack is added in development only."""
        stack: str | None = None
        if self._stacks and exchange.exception is not None and error.status >= 500:
            stack = "".join(traceback.format_exception(exchange.exception))
        if self._envelope:
            media_type, document = b"application/json", self._enveloped(error, stack)
        else:
            media_type, document = b"application/problem+json", self._problem(exchange, error, stack)
        try:
            body = _json(document).encode()
        except (TypeError, ValueError):
            # `details` that JSON cannot carry is the service's slip; the error itself must still arrive.
            (document.get("error", document)).pop("details", None)
            body = _json(document).encode()
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        for name, value in error.headers.items():
            headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        return Reply(error.status, headers, body)

    def _problem(self, exchange: Exchange, error: APIError, stack: str | None) -> dict[str, Any]:
        path = quote(exchange.path, safe=_PATH_SAFE)
        document = problem(error, instance=path, request_id=exchange.request_id)
        if isinstance(error, ValidationError):
            document["errors"] = _fields(error)
        if error.details:
            document["details"] = error.details
        if stack is not None:
            document["stack"] = stack
        return document

    def _enveloped(self, error: APIError, stack: str | None) -> dict[str, Any]:
        inner: dict[str, Any] = {"code": error.code, "message": error.message}
        details = dict(error.details)
        if isinstance(error, ValidationError) and error.errors:
            details["errors"] = _fields(error)
        if details:
            inner["details"] = details
        if stack is not None:
            inner["stack"] = stack
        return {"error": inner}


def _fields(error: ValidationError) -> list[dict[str, str]]:
    return [{"pointer": one.pointer, "message": one.message, "code": one.code} for one in error.errors]
