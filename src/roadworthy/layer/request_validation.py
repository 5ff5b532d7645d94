"""Request validation: what can be judged before a handler sees the request.

Sizes of target, fields and body; and, for JSON bodies, that the text is JSON (RFC 8259) which any handler and
any database can carry: no NaN or Infinity, no number beyond a double, no lone surrogate, no NUL, no nesting
deeper than the parser's 200 levels. Frameworks answer several of these with 500.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from pydantic_core import from_json

from ..errors import (
    APIError,
    BadRequestError,
    ContentTooLargeError,
    FieldError,
    RequestHeaderFieldsTooLargeError,
    UnsupportedMediaTypeError,
    URITooLongError,
    ValidationError,
)
from ..settings import Settings
from ._exchange import Exchange

__all__ = ("NotImplementedMethodError", "RequestValidation")

# A double holds up to about 1.8e308: only a three-digit exponent or 309 digits in a row can be beyond it.
_MAYBE_HUGE = re.compile(rb"[eE]\+?\d{3}|\d{309}")
_JSON_TYPE = re.compile(rb"application/(?:[\w.+-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)
_MEDIA_TYPES_KEPT = 256


class NotImplementedMethodError(APIError):
    """Raised when the request asks for what nobody behind this server does (RFC 9110 §15.6.2)."""

    status = 501
    code = "NOT_IMPLEMENTED"
    default_message = "This server does not implement that"


class RequestValidation:
    """Refuses requests above the limits, and JSON bodies that are not JSON.

    Parameters:
        settings: ``url_limit``, ``header_limit``, ``body_limit`` in bytes, ``header_count``; ``json_strict``.
    """

    def __init__(self, settings: Settings) -> None:
        self._url_limit = settings.url_limit
        self._header_limit = settings.header_limit
        self._header_count = settings.header_count
        self._body_limit = settings.body_limit
        self._strict = settings.json_strict
        self._json_types: dict[bytes, bool] = {}

    def admit(self, exchange: Exchange) -> APIError | None:
        """Judge what the request head declares; a body whose declared length is too large is never read."""
        headers = exchange.headers
        if not exchange.bounded:
            if exchange.method == "CONNECT":
                # RFC 9110 §9.3.6: any 2xx would make the connection a tunnel, whatever the app means by it.
                exchange.close = True
                return NotImplementedMethodError()
            if len(exchange.path) + len(exchange.query) > self._url_limit:
                return URITooLongError()
            if len(exchange.raw_headers) > self._header_count:
                return RequestHeaderFieldsTooLargeError()
            # A join is cheaper than a sum in Python.
            if len(b"".join([*headers, *headers.values()])) > self._header_limit:
                return RequestHeaderFieldsTooLargeError()
        rule = exchange.rule
        limit = self._body_limit
        if rule is not None and rule.body_limit is not None:
            limit = int(rule.body_limit)
        exchange.body_limit = limit
        length = headers.get(b"content-length")
        if length is not None:
            if not length.isdigit() or len(length) > 19:  # RFC 9110 §8.6: 1*DIGIT; 19 digits pass any int64
                return BadRequestError("Content-Length is not a number")
            if int(length) > limit:
                return self._too_large(exchange)
        elif b"transfer-encoding" not in headers:
            # RFC 9112 §6.3 (7): neither field, no body. HTTP/2 and /3 frame bodies by themselves.
            exchange.body_complete = exchange.http_version[0] == "1"
        return None

    def count(self, exchange: Exchange, size: int) -> APIError | None:
        """Count ``size`` more bytes of the body; refuse once they are above the limit."""
        exchange.body_received += size
        if exchange.body_received > exchange.body_limit:
            return self._too_large(exchange)
        return None

    def wants_whole(self, exchange: Exchange) -> bool:
        """Tell whether the body is JSON that is to be judged as a whole before the handler reads it."""
        if not self._strict:
            return False
        media_type = exchange.headers.get(b"content-type")
        if media_type is None:
            return False
        known = self._json_types.get(media_type)
        if known is None:
            if len(self._json_types) >= _MEDIA_TYPES_KEPT:
                self._json_types.clear()
            known = self._json_types[media_type] = _JSON_TYPE.fullmatch(media_type) is not None
        return known

    def judge(self, exchange: Exchange, body: bytes) -> APIError | None:
        """Judge a whole JSON body. An empty body is left to the handler: many methods allow none."""
        if not body:
            return None
        coding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
        if coding != b"identity":
            return UnsupportedMediaTypeError("Compressed request bodies are not accepted")
        try:
            value = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            return _malformed(body, str(error))
        if _MAYBE_HUGE.search(body) and _where(value, _is_infinite) is not None:
            return BadRequestError("The body has a number beyond the range of a double")
        if b"\\u0000" in body:
            return _refused_text(
                _where(value, _has_nul), "contains NUL, which no text column holds", "string_nul"
            )
        return None

    def _too_large(self, exchange: Exchange) -> APIError:
        # The rest of the body is not read, so the connection cannot be reused (RFC 9112 §9.6).
        exchange.close = True
        return ContentTooLargeError(f"The request body is above the limit of {exchange.body_limit} bytes")


def _malformed(body: bytes, reason: str) -> APIError:
    if "recursion limit" in reason:
        return BadRequestError("The body is nested too deeply")
    if "hex escape" in reason or "surrogate" in reason:
        with suppress(ValueError, RecursionError):
            pointer = _where(json.loads(body), _has_surrogate)
            refused = _refused_text(pointer, "contains half of a surrogate pair", "string_unicode")
            if refused is not None:
                return refused
    return BadRequestError("The body is not valid JSON")


def _refused_text(pointer: str | None, message: str, code: str) -> ValidationError | None:
    if pointer is None:
        return None
    return ValidationError(errors=[FieldError(pointer, f"A string that {message}", code)])


def _where(document: Any, is_wrong: Callable[[Any], bool]) -> str | None:
    """Return the JSON pointer (RFC 6901) of the first value or name in ``document`` that is wrong."""
    pending: list[tuple[str, Any]] = [("", document)]
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, dict):
            for name, member in cast("dict[str, Any]", value).items():
                if is_wrong(name):
                    return pointer  # the name cannot be told, so its object is
                pending.append((f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", member))
        elif isinstance(value, list):
            pending.extend((f"{pointer}/{n}", one) for n, one in enumerate(value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        elif is_wrong(value):
            return pointer
    return None


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _has_nul(value: Any) -> bool:
    return isinstance(value, str) and "\0" in value


def _has_surrogate(value: Any) -> bool:
    return (
        isinstance(value, str) and not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value)
    )
