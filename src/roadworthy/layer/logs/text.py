"""Turns what a record holds into one line: JSON for machines, a coloured line for a person at a terminal.

No character of a value reaches the line raw unless it is printable ASCII (JSON) or printable (console): a
line break, an escape sequence or a Unicode line separator in a path can neither start a record nor drive a
terminal (CWE-117, OWASP ASVS 16.4.1).
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from .writer import LINE_LIMIT

if TYPE_CHECKING:
    from .redaction import JsonValue, Redactor

__all__ = ("Clock", "Fields", "Render", "console", "describe", "json_line", "quote")

Fields: TypeAlias = "dict[str, JsonValue]"
Render: TypeAlias = Callable[[Fields], bytes]

_FRAMES = 64
_KNOWN_ESCAPES = 4096
_OWN = ("time", "level", "logger", "message")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


class Clock:
    """Tells the time as RFC 3339 in UTC with milliseconds; a text is made once a millisecond at most."""

    __slots__ = ("_millisecond", "_second")

    def __init__(self) -> None:
        # Moment and text in one tuple, so that no thread sees the one with another's other.
        self._millisecond = (-1, "")
        self._second = (-1, "")

    def at(self, moment: int) -> str:
        """Return the text of a moment given in whole milliseconds since 1970."""
        known, text = self._millisecond
        if known != moment:
            seconds, rest = divmod(moment, 1000)
            second, prefix = self._second
            if second != seconds:
                prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
                self._second = (seconds, prefix)
            text = f"{prefix}{rest:03d}Z"
            self._millisecond = (moment, text)
        return text


class _Escapes(dict[int, str]):
    """What stands for a character at a terminal; learnt as they come, for a text may hold 8,000 of them."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        shown = letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        if len(self) < _KNOWN_ESCAPES:
            self[code] = shown
        return shown


_escapes = _Escapes()


def quote(text: str) -> str:
    """Return the text as a JSON string of printable ASCII."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return _escape(text)


def _escape(text: str) -> str:
    if not text.isascii():
        # A lone surrogate has no UTF-8 form, and strict JSON readers refuse its escape.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _encode(text)


def describe(exception: BaseException, redactor: Redactor) -> Fields:
    """Return the type and the stack of an exception, without local variables.

    Source lines are shown as they are, for they hold no data; messages and notes are masked.
    """
    found = traceback.TracebackException(
        type(exception), exception, exception.__traceback__, limit=-_FRAMES, compact=True
    )
    stack = "".join(
        chunk if chunk.lstrip(" |").startswith('File "') else redactor.text(chunk) for chunk in found.format()
    )
    kind = type(exception)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {"type": name, "stack": stack.rstrip("\n")}


def json_line(fields: Fields) -> bytes:
    """Return the fields as one line of at most ``LINE_LIMIT`` bytes, cut in the middle of what is longest."""
    line = _line(fields)
    # Each round takes all that is too much from the longest string; escapes make some rounds fall short.
    for _ in range(6):
        over = len(line) - LINE_LIMIT
        if over <= 0:
            return line
        _cut_longest(fields, over)
        line = _line(fields)
    if len(line) > LINE_LIMIT:
        kept = (*_OWN, "request_id", "trace_id")
        short: Fields = {
            name: _shorten(value, 256) for name in kept if (value := fields.get(name)) is not None
        }
        line = _line({**short, "fields_cut": len(fields) - len(short)})
    return line


def _line(fields: Fields) -> bytes:
    return f"{_encode(fields)}\n".encode("ascii")


def _cut_longest(fields: Fields, over: int) -> None:
    """Cut the longest string at any depth by about ``over`` encoded bytes, in place."""
    longest = 0
    holder: dict[str, JsonValue] | list[JsonValue] = fields
    at: str | int = ""
    todo: list[dict[str, JsonValue] | list[JsonValue]] = [fields]
    while todo:
        inside = todo.pop()
        for key, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            if isinstance(value, str):
                size = len(_encode(value))
                if size > longest:
                    longest, holder, at = size, inside, key
            elif isinstance(value, (dict, list)):
                todo.append(value)
    if longest:
        text = cast("dict[str | int, str]", holder)[at]
        cast("dict[str | int, str]", holder)[at] = cast("str", _shorten(text, max(64, longest - over - 48)))


def _shorten(value: JsonValue, limit: int) -> JsonValue:
    """Cut a string to about ``limit`` encoded bytes: a third of them from its head, the rest from its tail.

    The tail is longer because a stack ends with the innermost frames and the message.
    """
    if not isinstance(value, str) or len(encoded := _encode(value)) <= limit:
        return value
    keep = limit * len(value) // len(encoded)
    head = keep // 3
    tail = keep - head
    return f"{value[:head]} [… {len(value) - keep} characters cut …] {value[len(value) - tail :]}"


def console(colour: bool) -> Render:
    """Return the renderer for a person: one line per record, its stack indented below."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    def render(fields: Fields) -> bytes:
        level = str(fields["level"])
        line = f"{paint(str(fields['time'])[11:-1], '2')} {paint(f'{level:<8}', _COLOURS.get(level, '35'))} "
        stacks: list[str] = []
        shown: tuple[str, ...] = _OWN
        if "status" in fields and "path" in fields:
            line += f"{_plain(fields.get('method'))} {_plain(fields['path'])} {_plain(fields['status'])} "
            line += f"{_plain(fields.get('duration_ms'))} ms"
            shown = (*_OWN, "method", "path", "status", "duration_ms")
        else:
            line += paint(_plain(fields["message"]), "1")
        for name, value in fields.items():
            if name == "exception" and isinstance(value, dict):
                stacks.append(str(value["stack"]))
            elif name == "stack":
                stacks.append(str(value))
            elif name not in shown and value not in (None, ""):
                line += f" {paint(_plain(name), '36')}={_plain(value)}"
        for stack in stacks:
            line += "".join(f"\n    {_plain(part)}" for part in stack.split("\n"))
        return (line + "\n").encode()

    return render


def _plain(value: JsonValue) -> str:
    text = value if isinstance(value, str) else _encode(value)
    return text if text.isprintable() else text.translate(_escapes)
