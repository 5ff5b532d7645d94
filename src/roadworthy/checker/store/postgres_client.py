"""Asks a PostgreSQL server one question, without a driver: what its limits are, who is connected.

Source: PostgreSQL documentation, "Frontend/Backend Protocol"; SCRAM-SHA-256 is RFC 5802 and RFC 7677.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import struct
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ("AskFailed", "ask")

_PROTOCOL = 196_608
_CLEAR, _MD5, _SASL, _SASL_GOES_ON, _SASL_ENDS = 3, 5, 10, 11, 12


class AskFailed(Exception):
    """Raised when the server could not be asked; the text is the reason, without a password."""


async def ask(url: str, statement: str, seconds: float = 5.0) -> list[list[str | None]]:
    """Return the rows of a statement, as text.

    Parameters:
        url: ``postgresql://user:password@host:port/database``.
        seconds: how long all of it may take.

    Raises:
        AskFailed: nobody answers, the sign-in fails, or the statement does.
    """
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(parts.hostname or "127.0.0.1", parts.port or 5432)
            try:
                return await _ask(_Talk(reader, writer), parts, statement)
            finally:
                writer.close()
    except (OSError, EOFError, struct.error) as error:
        raise AskFailed(str(error) or type(error).__name__) from None


class _Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, kind: bytes, payload: bytes) -> None:
        self._writer.write(kind + struct.pack("!i", len(payload) + 4) + payload)

    async def hear(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!ci", await self._reader.readexactly(5))
        payload = await self._reader.readexactly(length - 4)
        if kind == b"E":
            fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in payload.split(b"\0")}
            raise AskFailed(f"{fields.get(b'C', '')} {fields.get(b'M', '')}".strip())
        return kind, payload


async def _ask(talk: _Talk, parts: SplitResult, statement: str) -> list[list[str | None]]:
    user = unquote(parts.username or "postgres")
    options = ("user", user, "database", unquote(parts.path).lstrip("/") or user)
    talk.say(b"", struct.pack("!i", _PROTOCOL) + _texts(*options, "application_name", "roadworthy-check", ""))
    await _sign_in(talk, user, unquote(parts.password or ""))
    rows: list[list[str | None]] = []
    talk.say(b"Q", _texts(statement))
    while True:
        kind, payload = await talk.hear()
        if kind == b"D":
            rows.append(_row(payload))
        elif kind == b"Z":
            talk.say(b"X", b"")
            return rows


async def _sign_in(talk: _Talk, user: str, password: str) -> None:
    ready = False
    while not ready:
        kind, payload = await talk.hear()
        ready = kind == b"Z"
        if kind != b"R":
            continue
        (how,) = struct.unpack_from("!i", payload)
        if how == _CLEAR:
            talk.say(b"p", _texts(password))
        elif how == _MD5:
            inner = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + payload[4:8], usedforsecurity=False).hexdigest()
            talk.say(b"p", _texts(f"md5{outer}"))
        elif how == _SASL:
            await _scram(talk, password)
        elif how:
            raise AskFailed(f"the server wants a sign-in of kind {how}")


async def _scram(talk: _Talk, password: str) -> None:
    nonce = base64.b64encode(secrets.token_bytes(18)).decode()
    first = f"n=,r={nonce}"
    talk.say(b"p", _texts("SCRAM-SHA-256") + struct.pack("!i", len(first) + 3) + f"n,,{first}".encode())
    server = await _challenge(talk, _SASL_GOES_ON)
    said = dict(part.split("=", 1) for part in server.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(said["s"]), int(said["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    last = f"c=biws,r={said['r']}"
    signed = hmac.digest(hashlib.sha256(key).digest(), f"{first},{server},{last}".encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signed, strict=True))).decode()
    talk.say(b"p", f"{last},p={proof}".encode())
    await _challenge(talk, _SASL_ENDS)


async def _challenge(talk: _Talk, wanted: int) -> str:
    kind, payload = await talk.hear()
    if kind != b"R" or struct.unpack_from("!i", payload)[0] != wanted:
        raise AskFailed("the server breaks off the sign-in")
    return payload[4:].decode()


def _texts(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def _row(payload: bytes) -> list[str | None]:
    (count,) = struct.unpack_from("!h", payload)
    found: list[str | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", payload, at)
        at += 4
        found.append(None if length < 0 else payload[at : at + length].decode("utf-8", "replace"))
        at += max(length, 0)
    return found
