"""The head of a response as bytes: checked, with framing left to whoever knows the body."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TypeAlias

from ...layer.exchange import InvalidResponseError

__all__ = ("STATUS_LINES", "Head", "default_fields", "encode")

_ORDINARY, _LENGTH, _CODING, _CONNECTION, _DATE = range(5)
_KINDS = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
}

# RFC 9110 §5.6.2: tchar.
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# RFC 9110 §5.5: a field value has visible characters, obs-text, space and tab.
_CONTROL = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_REMEMBERED = 1024
_NONE: tuple[bytes, int] = (b"", _ORDINARY)


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}
"""Of every final status (RFC 9110 §15)."""

_names: dict[bytes, tuple[bytes, int]] = {}


Head: TypeAlias = tuple[bytes, int | None, bool, bool]
"""The fields of a response, and what they say about its framing:

- the field lines, each with its CRLF; without those that concern the connection;
- the value of ``Content-Length``, whose line is not among them;
- whether the app asked for the connection to be closed;
- whether the app gave its own ``Date``.
"""


def encode(headers: Iterable[tuple[bytes, bytes]], ready: bytes = b"") -> Head:
    """Encode the fields that an app gave, behind lines that are ready as they are.

    ``Connection``, ``Transfer-Encoding`` and ``Content-Length`` are taken out: the connection decides how
    the message is framed (RFC 9110 §7.6.1, RFC 9112 §6).

    Raises:
        InvalidResponseError: a name is not a token, a value has control bytes, or ``Content-Length`` is not
            a number, or is there twice with different numbers.
    """
    parts: list[bytes] = []
    lines = 0
    length: int | None = None
    close = dated = False
    for name, value in headers:
        prefix, kind = _names.get(name, _NONE) if type(name) is bytes else _NONE
        if not prefix:
            prefix, kind = _learn(name)
        if kind:
            if kind == _LENGTH:
                length = _length(value, length)
                continue
            if kind == _CONNECTION:
                close = close or b"close" in value.lower()
                continue
            if kind == _CODING:
                continue
            dated = True
        parts += (prefix, value, b"\r\n")
        lines += 1
    try:
        fields = b"".join(parts)
    except TypeError:
        raise InvalidResponseError("a value of a response field is not bytes") from None
    # Control bytes beyond the line ends, found in one go; then again slowly to find where.
    if len(fields) - len(fields.translate(None, _CONTROL)) != 2 * lines:
        _blame(parts)
    return ready + fields, length, close, dated


def _learn(name: object) -> tuple[bytes, int]:
    if isinstance(name, bytearray):
        name = bytes(name)
    if not isinstance(name, bytes):
        raise InvalidResponseError("the name of a response field is not bytes")
    lower = name.lower()
    if not name or name.translate(None, _TOKEN):
        raise InvalidResponseError("the name of a response field is not a token (RFC 9110 section 5.6.2)")
    known = (lower + b": ", _KINDS.get(lower, _ORDINARY))
    if len(_names) < _REMEMBERED:
        _names[name] = known
    return known


def _length(value: bytes, before: int | None) -> int:
    if not value.isdigit():
        raise InvalidResponseError("the response's Content-Length is not a number")
    length = int(value)
    if before is not None and before != length:
        raise InvalidResponseError("the response has two different Content-Length fields")
    return length


def _blame(parts: list[bytes]) -> None:
    for prefix, value in zip(parts[::3], parts[1::3], strict=True):
        if value != value.translate(None, _CONTROL):
            name = prefix[:-2].decode("ascii")
            raise InvalidResponseError(
                f"the value of the response field {name} has control bytes (CR, LF, NUL or the like)"
            )


_made: tuple[list[tuple[bytes, bytes]] | None, bytes, bytes] = (None, b"", b"")


def default_fields(headers: list[tuple[bytes, bytes]], dated: bool) -> bytes:
    """Encode uvicorn's default fields (the date, and what its configuration adds).

    It makes a new list every second, and so each is encoded once.

    Parameters:
        headers: the list.
        dated: the response has a date already.
    """
    global _made
    made = _made
    if made[0] is not headers:
        lines = [(name, b"%b: %b\r\n" % (name, value)) for name, value in headers]
        undated = b"".join(line for name, line in lines if name != b"date")
        made = _made = (headers, b"".join(line for _, line in lines), undated)
    return made[2] if dated else made[1]
