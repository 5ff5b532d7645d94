"""A request with an ``Upgrade`` that is ignored and a body that is not.

httptools takes what follows such a head for another protocol: it calls the message complete and skips the
body, which would then be read as the next request. A server may ignore ``Upgrade`` (RFC 9110 §7.8), and the
client of Java sends ``Upgrade: h2c`` with the first request of each connection, bodies included. So a fresh
parser is fed a head with the same framing, silently, and goes on from there.
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools

__all__ = ("framing_of", "replayed")


class _Callbacks(Protocol):
    """What llhttp calls, see :class:`roadworthy.server.http.parser.Parser`."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class _Muted:
    """Passes callbacks on, except those for the head that is fed again."""

    def __init__(self, callbacks: _Callbacks) -> None:
        self._callbacks = callbacks
        self._muted = True
        self.on_body = callbacks.on_body
        self.on_message_complete = callbacks.on_message_complete

    def on_message_begin(self) -> None:
        if not self._muted:
            self._callbacks.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._muted:
            self._callbacks.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._muted:
            self._callbacks.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._muted:
            self._muted = False
        else:
            self._callbacks.on_headers_complete()


def framing_of(names: dict[bytes, bytes]) -> bytes:
    """Return the field line that frames the body of a request; empty when it has no body."""
    if b"transfer-encoding" in names:
        return b"Transfer-Encoding: chunked\r\n"
    length = names.get(b"content-length", b"0")
    return b"Content-Length: %b\r\n" % length if length.strip(b"0") else b""


def replayed(callbacks: _Callbacks, framing: bytes, keep_alive: bool) -> Any:
    """Return a parser that expects the body which ``framing`` announces."""
    parser: Any = httptools.HttpRequestParser(_Muted(callbacks))
    closing = b"" if keep_alive else b"Connection: close\r\n"
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\n" + closing + framing + b"\r\n")
    return parser
