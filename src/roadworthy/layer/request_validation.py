"""Request validation: what can be judged before a handler sees the request.

Sizes of target, fields and body; and, for JSON bodies, that the text is JSON (RFC 8259) which any handler and
any database can carry: no NaN or Infinity, no number beyond a double, no lone surrogate, no NUL, no nesting
deeper than the parser's 200 levels. Frameworks answer several of these with 500.
"""

from __future__ import annotations

import re

from ..errors import (
    APIError,
    BadRequestError,
    ContentTooLargeError,
    Limit,
    RequestHeaderFieldsTooLargeError,
    UnsupportedMediaTypeError,
    URITooLongError,
    refused_by,
)
from ..settings import Settings
from .exchange import Exchange
from .json_text import refusal_of

__all__ = ("NotImplementedMethodError", "RequestValidation")

_JSON_TYPE = re.compile(rb"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)
# RFC 6838 §4.2: type and subtype have at most 127 characters each.
_LONGEST_TYPE = 255
_MEDIA_TYPES_KEPT = 256


class NotImplementedMethodError(APIError):
    """Raised when the request asks for what nobody behind this server does (RFC 9110 §15.6.2)."""

    status = 501
    code = "NOT_IMPLEMENTED"
    default_message = "This server does not implement that"


class RequestValidation:
    """Refuses requests above the limits, and JSON bodies that are not JSON.

    Parameters:
        settings: ``url_limit``, ``header_limit``, ``body_limit`` in bytes, ``header_count``; ``json_strict``,
            ``http_strict``.
    """

    def __init__(self, settings: Settings) -> None:
        self._url_limit = settings.url_limit
        self._header_limit = settings.header_limit
        self._header_count = settings.header_count
        self._body_limit = settings.body_limit
        self._strict = settings.json_strict
        self._http_strict = settings.http_strict
        self._json_types: dict[bytes, bool] = {}

    def admit(self, exchange: Exchange) -> APIError | None:
        """Judge what the request head declares; a body whose declared length is too large is never read."""
        headers = exchange.headers
        if not exchange.bounded:
            if exchange.method == "CONNECT" and self._http_strict:
                # RFC 9110 §9.3.6: any 2xx would make the connection a tunnel, whatever the app means by it.
                exchange.close = True
                return NotImplementedMethodError()
            if len(exchange.path) + len(exchange.query) > self._url_limit:
                return refused_by(URITooLongError(), Limit("URL_LIMIT", self._url_limit, "bytes"))
            if len(exchange.raw_headers) > self._header_count:
                return refused_by(
                    RequestHeaderFieldsTooLargeError(), Limit("HEADER_COUNT", self._header_count, "fields")
                )
            # A join is cheaper than a sum in Python.
            if len(b"".join([*headers, *headers.values()])) > self._header_limit:
                return refused_by(
                    RequestHeaderFieldsTooLargeError(), Limit("HEADER_LIMIT", self._header_limit, "bytes")
                )
        rule = exchange.rule
        limit = self._body_limit
        if rule is not None and rule.body_limit is not None:
            limit = int(rule.body_limit)
        exchange.body_limit = limit
        length = headers.get(b"content-length")
        if length is not None:
            if not length.isdigit() or len(length) > 19:  # RFC 9110 §8.6: 1*DIGIT; 19 digits pass any int64
                return BadRequestError("Content-Length is not a number") if self._http_strict else None
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
        """Return whether the body is JSON that is to be judged as a whole before the handler reads it."""
        if not self._strict:
            return False
        media_type = exchange.headers.get(b"content-type")
        if media_type is None:
            return False
        known = self._json_types.get(media_type)
        if known is None:
            kind = media_type.partition(b";")[0].rstrip()
            known = len(kind) <= _LONGEST_TYPE and _JSON_TYPE.fullmatch(kind) is not None
            if len(self._json_types) >= _MEDIA_TYPES_KEPT:
                self._json_types.clear()
            if len(media_type) <= _LONGEST_TYPE:
                self._json_types[media_type] = known
        return known

    def judge(self, exchange: Exchange, body: bytes) -> APIError | None:
        """Judge a whole JSON body. An empty body is left to the handler: many methods allow none."""
        if not body:
            return None
        coding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
        if coding != b"identity":
            return UnsupportedMediaTypeError("Compressed request bodies are not accepted")
        return refusal_of(body)

    def _too_large(self, exchange: Exchange) -> APIError:
        # The rest of the body is not read, so the connection cannot be reused (RFC 9112 §9.6).
        exchange.close = True
        limit, rule = exchange.body_limit, exchange.rule
        ruled = rule is not None and rule.body_limit is not None
        return refused_by(
            ContentTooLargeError(f"The request body is above the limit of {limit} bytes"),
            Limit("BODY_LIMIT", limit, "bytes", "body_limit", ruled),
        )
