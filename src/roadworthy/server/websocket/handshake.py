"""The opening handshake of a WebSocket (RFC 6455 §4.2): what asks for one, what is refused, what accepts it.

The handshake is judged here as a whole, before anything of it reaches the app or the code that reads frames.
So that code never sees a request, and cannot fail on one.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from hashlib import sha1

from websockets.datastructures import Headers as FieldLines
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.protocol import State
from websockets.server import ServerProtocol

from ...errors import APIError, BadRequestError
from ...types import Headers
from ..http.request_head import listed

__all__ = (
    "UpgradeRequiredError",
    "accepting",
    "check_handshake",
    "is_handshake",
    "negotiate",
    "subprotocols",
)

_VERSION = b"13"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""
# RFC 6455 §4.2.1: 16 bytes in base64. The last digit has four bits that are not used, and they are 0.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
# 4 KiB of history either way instead of 32 KiB: 30 KiB of memory a connection instead of 300.
_DEFLATE = (
    ServerPerMessageDeflateFactory(
        server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
    ),
)

_SLACK = 1 << 10
# Clients offer one extension in about 50 bytes, and a few subprotocols. Longer lists are as if not sent:
# a server may decline every offer (RFC 6455 §4.2.2).
_LONGEST_OFFER = 1 << 10
# The library writes what clients send at the level debug.
_quiet = logging.getLogger("roadworthy.server.frames")
_quiet.setLevel(logging.WARNING)


class UpgradeRequiredError(APIError):
    """Raised when the client speaks another version of the WebSocket protocol (RFC 6455 §4.4)."""

    status = 426
    code = "UPGRADE_REQUIRED"
    default_message = "This server speaks version 13 of the WebSocket protocol"

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION.decode()})


def is_handshake(method: str, version: str, headers: Headers) -> bool:
    """Return whether a request asks for a WebSocket.

    ``Upgrade`` may be ignored, and is ignored with HTTP/1.0 and without ``Connection: upgrade`` (RFC 9110
    §7.8). It is also ignored with other methods than GET, which then are ordinary requests.

    Parameters:
        method: the request's method.
        version: its version, ``1.1`` or ``1.0``.
        headers: its fields, names in lower case.
    """
    return (
        method == "GET"
        and version == "1.1"
        and b"websocket" in _words(headers, b"upgrade")
        and b"upgrade" in _words(headers, b"connection")
    )


def check_handshake(headers: Headers) -> None:
    """Refuse a handshake that is not as RFC 6455 §4.2.1 describes it.

    Parameters:
        headers: the request's fields, names in lower case.

    Raises:
        BadRequestError: a field is missing, malformed or repeated, or a body is announced: its bytes would
            be frames to one reader and a body to another.
        UpgradeRequiredError: the version is another one.
    """
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            raise BadRequestError("The handshake of a WebSocket has no body")
    if _only(headers, b"sec-websocket-version", "Sec-WebSocket-Version") != _VERSION:
        raise UpgradeRequiredError
    if _KEY.fullmatch(_only(headers, b"sec-websocket-key", "Sec-WebSocket-Key")) is None:
        raise BadRequestError("The Sec-WebSocket-Key field is malformed")


def negotiate(headers: Headers, limit: int) -> tuple[ServerProtocol, bytes]:
    """Return what reads and writes the frames, and the field line that the response has for it.

    Parameters:
        headers: the request's fields, names in lower case.
        limit: bytes that a message may have.

    Raises:
        BadRequestError: ``Sec-WebSocket-Extensions`` is malformed (RFC 6455 §9.1).
    """
    # More than the limit, which the reader of messages keeps. With nothing left for a message, the library
    # takes 0 for "without limit" when it inflates the next fragment. And it holds the deflated bytes to what
    # is left, which may be more than what they inflate to: 5 bytes a block (RFC 1951 §3.2.4).
    most = limit + (limit >> 10) + _SLACK
    frames = ServerProtocol(extensions=_DEFLATE, state=State.OPEN, max_size=most, logger=_quiet)
    offered = FieldLines()
    for value in _offers(headers, b"sec-websocket-extensions"):
        offered["Sec-WebSocket-Extensions"] = value.decode("latin-1")
    try:
        answer, frames.extensions = frames.process_extensions(offered)
    except InvalidHandshake:
        raise BadRequestError("The Sec-WebSocket-Extensions field is malformed") from None
    line = f"sec-websocket-extensions: {answer}\r\n".encode("ascii") if answer else b""
    return frames, line


def subprotocols(headers: Headers) -> list[str]:
    """Return the subprotocols that the client offers, in its order."""
    values = _offers(headers, b"sec-websocket-protocol")
    words = (word.strip(b" \t").decode("latin-1") for value in values for word in value.split(b","))
    return [word for word in words if word]


def _offers(headers: Headers, wanted: bytes) -> list[bytes]:
    values = [value for name, value in headers if name == wanted]
    return values if sum(map(len, values)) <= _LONGEST_OFFER else []


def accepting(headers: Headers) -> bytes:
    """Return the head of the response that accepts a handshake, without its end (RFC 6455 §4.2.2)."""
    key = _only(headers, b"sec-websocket-key", "Sec-WebSocket-Key")
    digest = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: %b\r\n" % digest
    )


def _words(headers: Headers, wanted: bytes) -> list[bytes]:
    return listed(b",".join(value for name, value in headers if name == wanted))


def _only(headers: Headers, wanted: bytes, shown: str) -> bytes:
    values = [value for name, value in headers if name == wanted]
    if len(values) != 1:
        raise BadRequestError(f"The handshake of a WebSocket has one {shown} field")
    return values[0].strip(b" \t")
