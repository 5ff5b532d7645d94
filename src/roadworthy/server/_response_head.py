"""The head of a response as bytes: checked, with framing left to whoever knows the body."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple, NoReturn, cast

__all__ = ("STATUS_LINES", "Head", "InvalidResponseError", "default_fields", "encode")

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
# Fields that have few values in one service: their lines are made and checked once.
_OF_FEW_VALUES = frozenset(
    (
        b"access-control-allow-credentials: ",
        b"access-control-expose-headers: ",
        b"cache-control: ",
        b"content-encoding: ",
        b"content-security-policy: ",
        b"content-type: ",
        b"cross-origin-opener-policy: ",
        b"cross-origin-resource-policy: ",
        b"ratelimit-policy: ",
        b"referrer-policy: ",
        b"strict-transport-security: ",
        b"vary: ",
        b"x-content-type-options: ",
        b"x-frame-options: ",
    )
)
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
_lines: dict[tuple[bytes, bytes], bytes] = {}


class InvalidResponseError(RuntimeError):
    """Raised when an app's response cannot be sent as HTTP; says what is wrong, never the value."""


class Head(NamedTuple):
    """The fields of a response, and what they say about its framing.

    Parameters:
        fields: the field lines, each with its CRLF; without those that concern the connection.
        length: the value of ``Content-Length``; its line is not among ``fields``.
        close: the app asked for the connection to be closed.
        dated: the app gave its own ``Date``.
    """

    fields: bytes
    length: int | None
    close: bool
    dated: bool


def encode(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Encode the fields that an app gave.

    ``Connection``, ``Transfer-Encoding`` and ``Content-Length`` are taken out: how the message is framed is
    said by the connection (RFC 9110 §7.6.1, RFC 9112 §6).

    Raises:
        InvalidResponseError: a name is not a token, a value has control bytes, or ``Content-Length`` is no
            number or is there twice with different numbers.
    """
    if not isinstance(headers, list):
        headers = list(headers)
    parts: list[bytes | None]
    try:
        parts = list(map(_lines.get, headers))
    except TypeError:
        parts = [None] * len(headers)  # a list or a bytearray among them: ASGI allows any pair
    values: list[bytes] = []
    length: int | None = None
    close = dated = False
    unknown = parts.count(None)
    at = -1
    while unknown:
        unknown -= 1
        at = parts.index(None, at + 1)
        name, value = headers[at]
        prefix, kind = _names.get(name, _NONE) if type(name) is bytes else _NONE
        if not prefix:
            prefix, kind = _learn(name)
        parts[at] = b""
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
        try:
            parts[at] = b"%b%b\r\n" % (prefix, value)
        except TypeError:
            raise InvalidResponseError("a value of a response field is not bytes") from None
        values.append(value)
        if prefix in _OF_FEW_VALUES:
            _remember(name, value, prefix)
    # Control bytes are looked for in one go; then again slowly to tell where.
    together = b"".join(values)
    if len(together) != len(together.translate(None, _CONTROL)):
        _blame(headers)
    return Head(b"".join(cast("list[bytes]", parts)), length, close, dated)


def _remember(name: bytes, value: object, prefix: bytes) -> None:
    if type(value) is bytes and len(_lines) < _REMEMBERED and value == value.translate(None, _CONTROL):
        _lines[name, value] = prefix + value + b"\r\n"


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


def _blame(headers: Iterable[tuple[bytes, bytes]]) -> NoReturn:
    for name, value in headers:
        if value != value.translate(None, _CONTROL):
            raise InvalidResponseError(
                f"the value of the response field {name.lower().decode('ascii')} has control bytes "
                "(CR, LF, NUL or the like)"
            )
    raise InvalidResponseError("the value of a response field has control bytes (CR, LF, NUL or the like)")


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
