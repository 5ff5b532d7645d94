"""Targets for what is written about a request: no secret of a known name, no second line, no control byte."""

from __future__ import annotations

import json
from typing import Any

from roadworthy.layer.logs.redaction import Redactor
from roadworthy.layer.logs.text import console, json_line, quote
from roadworthy.layer.logs.writer import LINE_LIMIT

from .target import Pieces, Target

__all__ = ("TARGETS",)

# No word of it is a name or a hint, and nothing but a copy of it looks like it.
_SECRET = "Zq7Xw9Lm4Kv2Tn8R"
_NAMES = (
    "password",
    "api_key",
    "Authorization",
    "cookie",
    "access-token",
    "clientSecret",
    "dsn",
    "X-API-Key",
)
_PLANTED = (
    "{name}={secret}",
    "{name}: {secret}",
    "{name} = '{secret}'",
    '"{name}": "{secret}"',
    "'{name}': b'{secret}'",
    "(b'{name}', b'{secret}')",
    '\\"{name}\\": \\"{secret}\\"',
    "{name}=Bearer {secret}",
    "https://user:{secret}@db.example/x",
    "Bearer {secret}",
)
_redactor = Redactor()


def _planted(pieces: Pieces) -> str:
    form = _PLANTED[pieces.number(len(_PLANTED))]
    return form.format(name=_NAMES[pieces.number(len(_NAMES))], secret=_SECRET)


def redacted_text(data: bytes) -> None:
    """A secret behind a known name is masked, whatever stands before and behind it."""
    pieces = Pieces(data)
    planted = _planted(pieces)
    before, after = (pieces.until(b"\0").decode("utf-8", "surrogateescape"), pieces.rest().decode("latin-1"))
    # A quote that is open would end at the secret's own: then the secret stands outside, and has no name.
    before = before.translate(dict.fromkeys(map(ord, "\"'\\")))
    shown = _redactor.text(f"{before}\n{planted} {after}")
    assert _SECRET not in shown
    shown.encode()


def _halves(data: bytes) -> str:
    """Read UTF-16, in which any two bytes are a character or half of a surrogate pair."""
    return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")


def _value(pieces: Pieces, depth: int) -> Any:
    """Make a value such as code passes to a logger: texts of any characters, numbers, nested or not."""
    match pieces.number(9):
        case 0:
            return pieces.until(b"\0").decode("utf-8", "surrogateescape")
        case 1:
            return _halves(pieces.until(b"\0"))
        case 2:
            return pieces.until(b"\0")
        case 3:
            return (-1) ** pieces.number(2) * 10 ** pieces.number(256)
        case 4:
            return (float("nan"), float("-inf"), 1e308, None, True)[pieces.number(5)]
        case 5 if depth:
            return {
                str(_value(pieces, depth - 1)): _value(pieces, depth - 1) for _ in range(pieces.number(70))
            }
        case 6 if depth:
            return [_value(pieces, depth - 1) for _ in range(pieces.number(70))]
        case 7 if depth:
            return (pieces.until(b"\0").decode("latin-1"), _value(pieces, depth - 1))
        case _:
            return pieces.until(b"\0").decode("latin-1") * 40


def redacted_value(data: bytes) -> None:
    """A value under a secret name is masked at any depth, and what is shown is JSON of real characters."""
    pieces = Pieces(data)
    name = _NAMES[pieces.number(len(_NAMES))]
    secret, other = f"{_SECRET}{_value(pieces, 1)}", _value(pieces, 3)
    # A mapping, a header field as text and as bytes, and what a header dump looks like.
    value: Any = (
        {name: secret, "other": other},
        [(name, secret), other],
        [other, (name.encode(), secret.encode("utf-8", "surrogatepass"))],
        {name.encode(): secret, "other": other},
        [other, {"in": {name: [secret]}}],
    )[pieces.number(5)]
    for _ in range(pieces.number(4)):
        value = [value, {"in": value}][pieces.number(2)]
    shown = _redactor.value(value)
    line = json.dumps(shown, allow_nan=False, ensure_ascii=False)
    assert _SECRET not in line
    line.encode()


def log_line(data: bytes) -> None:
    """A record is one line of printable ASCII within the limit, and reads back as what was written."""
    pieces = Pieces(data)
    fields: dict[str, Any] = {
        "time": "2026-01-01T00:00:00.000Z",
        "level": "info",
        "logger": "shop",
        "message": _redactor.value(_value(pieces, 0)),
    }
    for number in range(pieces.number(6)):
        fields[f"field{number}"] = _redactor.value(_value(pieces, 3))
    whole = json.dumps(fields)
    line = json_line(fields)
    assert line.endswith(b"\n")
    assert len(line) <= LINE_LIMIT
    assert all(32 <= byte < 127 for byte in line[:-1])
    read = json.loads(line)
    assert read["level"] == "info"
    if len(whole) < LINE_LIMIT - 100:
        assert read == json.loads(whole)


def quoted_text(data: bytes) -> None:
    """A quoted text is printable ASCII and reads back as the text, but for halves of surrogate pairs."""
    text = data.decode() if data.isascii() else _halves(data)
    quoted = quote(text)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert json.loads(quoted) == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_render = console(colour=False)


def console_line(data: bytes) -> None:
    """A record for people drives no terminal and starts no other record."""
    pieces = Pieces(data)
    fields: dict[str, Any] = {
        "time": "2026-01-01T00:00:00.000Z",
        "level": "error",
        "logger": "shop",
        "message": str(_redactor.value(_value(pieces, 0))),
        "exception": {"type": "E", "stack": str(_redactor.value(_value(pieces, 0)))},
    }
    if pieces.number(2):
        fields |= {"method": _redactor.value(_value(pieces, 0)), "path": _redactor.value(_value(pieces, 0))}
        fields |= {"status": 200, "duration_ms": 1.5}
    fields["more"] = _redactor.value(_value(pieces, 3))
    text = _render(fields).decode()
    first, *others = text.removesuffix("\n").split("\n")
    assert text.endswith("\n")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in others)


_TEXTS = (
    *(
        b"password",
        b"token",
        b"secret",
        b"cookie",
        b"authorization",
        b"Bearer ",
        b"basic ",
        b"=",
        b": ",
        b'"',
    ),
    *(b"'", b"\\", b'\\"', b"://", b"@", b"eyJhbGciOi", b".", b",", b" ", b"\n", b"[parameters: ", b"]"),
    *(
        b"input_value=",
        b", input_type=",
        b"[redacted]",
        b"session",
        b"key",
        b"_",
        b"-",
        b"&",
        b";",
        b"a" * 60,
    ),
)
_VALUES = (
    *(b"\0", b"\x1b[31m", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\r\n", b"\xff", b"\xc2\x85", b"\\u0000", b'"'),
    *(b"\x05", b"\x06", b"\x46", b"a" * 100, b"\xf0\x9f\x98\x80" * 30, b"password", b"\x7f", b"\xe2\x80\xae"),
)

TARGETS = (
    Target(
        "redacted-text",
        redacted_text,
        (b"\0\0GET /\0 HTTP/1.1", b"\x03\x02a\0}", b"\x06\x03{\0}"),
        _TEXTS,
    ),
    Target(
        "redacted-value",
        redacted_value,
        (b"\0\0a\0\x05\x02b\0c\0", b"\x03\x05\x06\x03\0\0\0"),
        _VALUES,
        512,
    ),
    Target("log-line", log_line, (b"\0a\0\x03\0b\0\x02c\0\x04\0", b"\x08" + b"\xff\x22" * 50), _VALUES, 512),
    Target("quoted-text", quoted_text, (b"plain", b'a"\\\n', "é\u2028😀".encode("utf-16-le"), b"\0\xd8")),
    Target(
        "console-line", console_line, (b"\0a\0\0b\nc\0\x01\0GET\0\0/\0", b"\0\x1b[2J\0\0\0"), _VALUES, 512
    ),
)
