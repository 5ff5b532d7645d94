"""Compression of response bodies with zstd, br or gzip.

How an adapter uses it: once the head of a response is known it calls :meth:`Compression.respond`, or
:meth:`Compression.decide_for_length` where it holds the whole body. Afterwards ``exchange.encoding`` is None,
or a :class:`Coder` to put the body through: ``compress_all`` for a whole body (in a thread above
:data:`OFF_LOOP_SIZE`), ``chunk`` … ``end`` for a stream. The fields are adjusted, ``Content-Length`` is gone;
only the adapter knows the new one.
"""

from __future__ import annotations

from ..settings import Settings
from .codings import OFF_LOOP_SIZE, Coder, choose
from .exchange import Exchange
from .fields import add_vary

__all__ = ("OFF_LOOP_SIZE", "Coder", "Compression")

# Distinct Accept-Encoding and Content-Type values remembered before the memory starts afresh. Browsers and
# libraries send a few dozen of them; longer values than this are read anew each time.
_REMEMBERED = 512
_LONGEST = 256

# No body (RFC 9110 §15.3.5, §15.3.6, §15.4.5), or one whose bytes are counted by the client (§15.3.7).
_STATUSES = frozenset({101, 103, 204, 205, 206, 304})

# Fields of a body that the app has coded itself, or that describe the very bytes it made (RFC 9530).
_BYTES_FIXED = frozenset(
    {b"content-encoding", b"content-range", b"content-digest", b"repr-digest", b"digest", b"content-md5"}
)

# Media types whose bytes are worth coding; images, audio, video, archives, WOFF fonts are compressed already.
_COMPRESSIBLE = frozenset(
    {
        b"application/dash+xml",
        b"application/ecmascript",
        b"application/geo+json-seq",
        b"application/graphql",
        b"application/javascript",
        b"application/json",
        b"application/json-seq",
        b"application/jsonl",
        b"application/openmetrics-text",
        b"application/rtf",
        b"application/sql",
        b"application/toml",
        b"application/vnd.apple.mpegurl",
        b"application/vnd.ms-fontobject",
        b"application/wasm",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/x-yaml",
        b"application/xml",
        b"application/xml-dtd",
        b"application/yaml",
        b"font/otf",
        b"font/ttf",
        b"image/bmp",
        b"image/vnd.microsoft.icon",
        b"image/x-icon",
    }
)

# What stops being true once the body is coded: its length, and offsets into it.
_OUTDATED = frozenset({b"content-length", b"accept-ranges", b"etag"})


class Compression:
    """Chooses the coding of each response.

    A body is coded when the client takes a coding, its media type is worth it, and it has at least
    ``compression_min_size`` bytes or an unknown length. ``Vary: Accept-Encoding`` is on both variants,
    because the choice depends on the request either way.

    Never coded: a response without body or with part of one, one with ``Content-Encoding``,
    ``Content-Range``, a digest, or ``Cache-Control: no-transform``; event streams, which proxies and clients
    read as they come (Kludex/starlette#2753); a route with ``compress=False``; and a response with
    ``Set-Cookie`` unless ``compression_with_cookies`` is on. The last is for BREACH (CVE-2013-3587): the
    length of a coded body shows whether a secret in it resembles input repeated beside it, and a response
    that sets a cookie is the one that hands out a session or a CSRF token. A page that repeats input beside a
    secret on every request needs ``compress=False``: that cannot be seen from its head.

    A strong ``ETag`` becomes weak, for the coded bytes are others (RFC 9110 §8.8.1). ``If-None-Match``
    compares weakly (§13.1.2), so revalidation works as before, and a 304 repeats the weak form to a client
    that has it. ``If-Match`` compares strongly: a route whose clients send it needs ``compress=False``.
    """

    def __init__(self, settings: Settings) -> None:
        self._smallest = settings.compression_min_size
        self._blocking = _BYTES_FIXED if settings.compression_with_cookies else _BYTES_FIXED | {b"set-cookie"}
        self._choices: dict[bytes, type[Coder] | None] = {}
        self._types: dict[bytes, bool] = {}

    def respond(self, exchange: Exchange) -> None:
        """Decide by the declared ``Content-Length``; without one the body is taken for a stream."""
        declared = exchange.response_names.get(b"content-length")
        self.decide_for_length(exchange, None if declared is None else _length(declared))

    def decide_for_length(self, exchange: Exchange, length: int | None) -> None:
        """Decide for a body of ``length`` bytes before coding, None for a stream of unknown length."""
        if (length is not None and length < self._smallest) or exchange.status in _STATUSES:
            if exchange.status == 304:
                self._revalidated(exchange)
            return
        names = exchange.response_names
        if not self._worth_it(names.get(b"content-type")):
            return
        if not self._blocking.isdisjoint(names):
            return
        control = names.get(b"cache-control")
        if control is not None and b"no-transform" in control.lower():
            return
        rule = exchange.rule
        if rule is not None and not rule.compress:
            return
        add_vary(exchange, b"Accept-Encoding")
        if exchange.method == "HEAD":
            return
        accepted = exchange.headers.get(b"accept-encoding")
        coder = None if accepted is None else self._chosen(accepted)
        if coder is not None:
            exchange.encoding = coder()
            self._announce(exchange, coder.name)

    def _announce(self, exchange: Exchange, coding: bytes) -> None:
        names = exchange.response_names
        headers = exchange.response_headers
        headers[:] = [field for field in headers if field[0].lower() not in _OUTDATED]
        exchange.add(((b"content-encoding", coding),))
        names[b"content-encoding"] = coding
        names.pop(b"content-length", None)
        names.pop(b"accept-ranges", None)
        tag = names.get(b"etag")
        if tag is not None:
            names[b"etag"] = tag = _weak(tag)
            exchange.add(((b"etag", tag),))

    def _revalidated(self, exchange: Exchange) -> None:
        """Make a 304 name the variant that the client holds and asked about (RFC 9111 §4.3.4)."""
        names = exchange.response_names
        tag = names.get(b"etag")
        asked = exchange.headers.get(b"if-none-match")
        if tag is None or asked is None or tag.startswith(b"W/") or _weak(tag) not in asked:
            return
        headers = exchange.response_headers
        headers[:] = [field for field in headers if field[0].lower() != b"etag"]
        exchange.add(((b"etag", _weak(tag)),))
        names[b"etag"] = _weak(tag)
        add_vary(exchange, b"Accept-Encoding")

    def _chosen(self, accepted: bytes) -> type[Coder] | None:
        try:
            return self._choices[accepted]
        except KeyError:
            chosen = choose(accepted)
        if len(accepted) <= _LONGEST:
            if len(self._choices) >= _REMEMBERED:
                self._choices.clear()
            self._choices[accepted] = chosen
        return chosen

    def _worth_it(self, content_type: bytes | None) -> bool:
        if content_type is None:
            return False
        known = self._types.get(content_type)
        if known is None:
            known = _compressible(content_type)
            if len(self._types) >= _REMEMBERED:
                self._types.clear()
            if len(content_type) <= _LONGEST:
                self._types[content_type] = known
        return known


def _compressible(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type.startswith(b"text/"):
        return media_type != b"text/event-stream"
    return media_type in _COMPRESSIBLE or media_type.endswith((b"+json", b"+xml"))


def _length(declared: bytes) -> int | None:
    # More than 18 digits is no length that anything could send, and int() refuses thousands of them.
    return int(declared) if declared.isdigit() and len(declared) <= 18 else None


def _weak(tag: bytes) -> bytes:
    return tag if tag.startswith(b"W/") else b"W/" + tag
