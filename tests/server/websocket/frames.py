"""WebSocket frames as bytes, and a client that writes and reads them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..wire import Client

__all__ = (
    "BINARY", "CLOSE", "CONT", "KEY", "PING", "PONG", "TEXT", "Frame", "close_code", "frame", "handshake",
    "read_frame",
)  # fmt: skip

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_MASK = b"\x01\x02\x03\x04"


def handshake(path: str = "/echo", *more: bytes, version: bytes = b"13", key: bytes = KEY) -> bytes:
    """Return an opening handshake (RFC 6455 section 4.1); ``more`` are further field lines."""
    return b"".join(
        (
            b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" % path.encode(),
            b"Sec-WebSocket-Version: %b\r\n" % version if version else b"",
            key,
            *more,
            b"\r\n",
        )
    )


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, deflated: bool = False) -> bytes:
    """Return a frame of a client (RFC 6455 section 5.2)."""
    size = len(data)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    elif size < 1 << 16:
        length = struct.pack("!BH", 0x80 | 126, size)
    else:
        length = struct.pack("!BQ", 0x80 | 127, size)
    masked = (int.from_bytes(data, "big") ^ int.from_bytes((_MASK * (size // 4 + 1))[:size], "big")).to_bytes(
        size, "big"
    )
    return bytes([0x80 * fin | 0x40 * deflated | opcode]) + length + _MASK + masked


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of the server."""

    opcode: int
    data: bytes


def read_frame(client: Client) -> Frame:
    """Read the server's next frame."""
    first, size = client.read(2)
    if size == 126:
        size = int.from_bytes(client.read(2), "big")
    elif size == 127:
        size = int.from_bytes(client.read(8), "big")
    return Frame(first & 0x0F, client.read(size))


def close_code(client: Client) -> int:
    """Read frames until the close frame; return its code."""
    while True:
        found = read_frame(client)
        if found.opcode == CLOSE:
            return int.from_bytes(found.data[:2], "big")
