"""Whether a database server looks at passwords at all: the first messages of a login, and what it answers."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote, urlsplit

from .kinds import PORTS

__all__ = ("any_password_does",)

_SECONDS = 5.0
_LARGEST = 1 << 16
"""Bytes of one message of a login; a longer one belongs to no login."""

_ASKS_FOR_PASSWORDS = frozenset({3, 5, 10})
"""AuthenticationCleartextPassword, MD5Password and SASL (PostgreSQL, "Message Formats")."""

_DENIED = 1045
"""ER_ACCESS_DENIED_ERROR (MySQL, "Server Error Message Reference")."""


async def any_password_does(kind: str, url: str) -> str:
    """Return why a wrong password shows nothing on this server; nothing where it is refused.

    Parameters:
        kind: ``postgres`` or ``mysql``.
        url: with the user and the database of the login; its password is never sent.
    """
    parts = urlsplit(url)
    user, database = unquote(parts.username or ""), unquote(parts.path).lstrip("/")
    try:
        async with asyncio.timeout(_SECONDS):
            streams = await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or PORTS[kind])
            try:
                return await _LOGINS[kind](*streams, user, database or user)
            finally:
                streams[1].close()
    except (OSError, EOFError, ValueError, struct.error) as error:
        return (
            f"the server cannot be asked whether it looks at passwords: {str(error) or type(error).__name__}"
        )


async def _postgres(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str, database: str
) -> str:
    """Begin a session and read how the server wants the user to prove who it is (chapter "Start-up")."""
    words = b"".join(text.encode() + b"\0" for text in ("user", user, "database", database))
    message = struct.pack("!i", 196_608) + words + b"\0"
    writer.write(struct.pack("!i", len(message) + 4) + message)
    kind, length = struct.unpack("!ci", await reader.readexactly(5))
    body = await reader.readexactly(_bounded(length - 4))
    if kind != b"R":
        return (
            f"the server answers a login with {_postgres_error(body) if kind == b'E' else 'something else'}"
        )
    method = struct.unpack_from("!i", body)[0]
    if method == 0:
        return f"the server asks no password of {user!r} (trust authentication)"
    return (
        ""
        if method in _ASKS_FOR_PASSWORDS
        else f"the server asks {user!r} for something else than a password"
    )


def _postgres_error(body: bytes) -> str:
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    return fields.get(b"M", b"an error").decode("utf-8", "replace")[:200]


async def _mysql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str, database: str) -> str:
    """Sign in with a random proof of a password ("Connection Phase"): it is right for no password."""
    greeting = await _mysql_packet(reader)
    if greeting[:1] != b"\x0a":
        return f"the server greets with {_mysql_error(greeting)[1]}"
    # PROTOCOL_41, SECURE_CONNECTION, CONNECT_WITH_DB and PLUGIN_AUTH; utf8mb4; the largest packet.
    head = struct.pack("<IIB23x", 0x0008_8208, 1 << 24, 45)
    proof = bytes([20]) + secrets.token_bytes(20)
    names = user.encode() + b"\0" + proof + database.encode() + b"\0mysql_native_password\0"
    _mysql_send(writer, 1, head + names)
    answer = await _mysql_packet(reader)
    if answer[:1] == b"\xfe":  # AuthSwitchRequest
        _mysql_send(writer, 3, secrets.token_bytes(32 if b"caching_sha2" in answer else 20))
        answer = await _mysql_packet(reader)
    if answer[:1] == b"\x00":
        return f"the server lets {user!r} in with any password"
    # "Perform full authentication" of caching_sha2_password: what was sent is no proof, so it asks for one.
    if answer[:2] == b"\x01\x04":
        return ""
    code, text = _mysql_error(answer)
    return "" if code == _DENIED else f"the server answers a login with {text}"


async def _mysql_packet(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return await reader.readexactly(_bounded(int.from_bytes(head[:3], "little")))


def _mysql_send(writer: asyncio.StreamWriter, number: int, payload: bytes) -> None:
    writer.write(len(payload).to_bytes(3, "little") + bytes([number]) + payload)


def _mysql_error(packet: bytes) -> tuple[int, str]:
    """Return number and text of an ERR packet; 0 for what is none."""
    if packet[:1] != b"\xff":
        return 0, "something else"
    text = packet[9:] if packet[3:4] == b"#" else packet[3:]
    return int.from_bytes(packet[1:3], "little"), text.decode("utf-8", "replace")[:200]


def _bounded(length: int) -> int:
    if not 0 <= length <= _LARGEST:
        raise ValueError("a message of a length that no login has")
    return length


_Login = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str, str], Awaitable[str]]
_LOGINS: Mapping[str, _Login] = {"postgres": _postgres, "mysql": _mysql}
