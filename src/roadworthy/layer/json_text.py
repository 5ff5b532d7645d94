"""Judging a JSON text (RFC 8259) in one pass of a parser in C, whatever the client made of it.

The cost of a verdict follows the weight of the text: Python code looks at no element of it. What the parser
itself does not refuse is found by scans of the bytes, and the place of what is refused from the half of the
text before it.
"""

from __future__ import annotations

import gc
import json
import marshal
import re
from typing import Any, Literal, cast

from pydantic_core import from_json

from ..errors import APIError, BadRequestError, FieldError, ValidationError

__all__ = ("refusal_of",)

# CPython 3.11 collects garbage while it makes lists, again and again and in vain: a MB of brackets takes
# 1.6 s with it and 0.07 s without. Below this size it does not matter.
_LARGE = 16 << 10

# A double ends at about 1.8e308. So a number beyond it has an exponent of three digits or more, or at least
# 210 digits before one of two (10^209 × 10^99), which three of every 64th byte in a row are part of.
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_STRIDE = 64
# The last two bytes of an infinite double as marshal writes it, and six zeros in front: only numbers and
# texts beyond ASCII have the byte F0 at all, so that the search is short.
_INFINITE = re.compile(rb"\xf0(?<=\x00{6}\xf0)[\x7f\xff]")

_ERROR_AT = re.compile(r"line (\d+) column (\d+)$")
# Beginnings of the hexadecimal digits of a low surrogate, U+DC00 to U+DFFF.
_LOW = (b"dc", b"dd", b"de", b"df")
# Put at the end of what stands before a place, to see which string it belongs to.
_LONGEST_POINTER = 200
_MARK = "\N{BULLET}here"


def refusal_of(body: bytes) -> APIError | None:
    """Return why a body is not JSON that any handler and any database can carry, or None.

    Refused are, besides what is no JSON: NaN and Infinity, numbers beyond a double (RFC 7493 §2.2), lone
    surrogates (RFC 7493 §2.1), NUL, which no text column holds, and nesting deeper than the parser's 200
    levels.
    """
    if len(body) < _LARGE or not gc.isenabled():
        return _refusal(body)
    gc.disable()
    try:
        return _refusal(body)
    finally:
        gc.enable()


def _refusal(body: bytes) -> APIError | None:
    if b"\\u0000" in body:
        # Backslashes count from the left in pairs; the replacement keeps every other place where it is.
        at = body.replace(b"\\\\", b"__").find(b"\\u0000")
        # What is wrong before it is found below.
        if at >= 0 and (
            refused := _refused_text(body[:at], "contains NUL, which no text column holds", "string_nul")
        ):
            return refused
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        return _malformed(body, str(error))
    if _has_infinite(value, body):
        return BadRequestError("The body has a number beyond the range of a double")
    return None


def _has_infinite(value: Any, body: bytes) -> bool:
    # Without its sign an exponent is one text to search for.
    exponent = (b"e" in body or b"E" in body) and b"e000" in body.translate(_DIGITS, b"+")
    if not exponent and b"000" not in body[::_STRIDE].translate(_DIGITS):
        return False
    if not _marshals_infinite(value):
        return False
    # Of what marshal writes, only an integer above 2^60 can hold the eight bytes of an infinite double too.
    long_integer = b"0" * 19 in body.translate(_DIGITS)
    return not long_integer or _marshals_infinite(json.loads(body, parse_int=bool))


def _marshals_infinite(value: Any) -> bool:
    return _INFINITE.search(marshal.dumps(value)) is not None


def _malformed(body: bytes, reason: str) -> APIError:
    if "recursion limit" in reason:
        return BadRequestError("The body is nested too deeply")
    if "hex escape" in reason and (found := _ERROR_AT.search(reason)):
        end = _line_start(body, int(found[1])) + int(found[2])
        at = body.rfind(b"\\u", 0, end)
        if "lone" in reason and body[at + 2 : at + 4].lower() not in _LOW:
            at -= 6  # the half before this escape is the lone one
        refused = _refused_text(body[:at], "contains half of a surrogate pair", "string_unicode")
        if refused is not None:
            return refused
    return BadRequestError("The body is not valid JSON")


def _line_start(body: bytes, line: int) -> int:
    """Return where the n-th line begins, counted from 1; a body can be one million empty lines."""
    start, end, missing = 0, len(body), line - 1
    if not missing:
        return 0
    while end - start > 1:
        middle = (start + end) // 2
        count = body.count(b"\n", start, middle)
        if count < missing:
            start, missing = middle, missing - count
        else:
            end = middle
    return end


def _refused_text(before: bytes, message: str, code: str) -> APIError | None:
    """Refuse the string, or the name of a member, in whose middle ``before`` ends; None is no beginning."""
    mark = _MARK.encode()
    try:
        pointer, last = _last(_begun(before + mark))
        if not _is_marked(last):
            # Then it is a name. A client may hold half of it, so its object is reported.
            pointer, last = _last(_begun(before + mark + b'":"' + mark))
            pointer = pointer.rpartition("/")[0] if _is_marked(last) else ""
    except ValueError:
        return None
    return ValidationError(errors=[FieldError(pointer[:_LONGEST_POINTER], f"A string that {message}", code)])


def _begun(text: bytes) -> Any:
    partial: Literal["trailing-strings"] = "trailing-strings"
    return from_json(text, allow_inf_nan=False, cache_strings="keys", allow_partial=partial)


def _is_marked(value: object) -> bool:
    return isinstance(value, str) and value.endswith(_MARK)


def _last(value: Any) -> tuple[str, Any]:
    """Return the JSON pointer (RFC 6901) of what was read last in a text that broke off, and its value."""
    parts: list[str] = []
    while value:
        name: Any
        if isinstance(value, dict):
            name = next(reversed(cast("dict[str, Any]", value)))
        elif isinstance(value, list):
            name = len(value) - 1  # pyright: ignore[reportUnknownArgumentType]
        else:
            break
        value = cast("Any", value)[name]
        parts.append(str(name).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts), value
