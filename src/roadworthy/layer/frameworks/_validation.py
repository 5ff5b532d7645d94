"""From pydantic's list of refused values to one :class:`FieldError` each, without what the client sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic_core.core_schema import ErrorType

from ...errors import FieldError

__all__ = ("MAX_ERRORS", "field_errors", "pointer_of")

# More would only help someone who probes; the first hundred are enough to mend a form.
MAX_ERRORS = 100
"""Errors of one refusal that are reported."""
_MAX_POINTER = 200

# Messages of these types carry what a validator's author wrote or a part of the value itself; all other
# built-in messages are made from the schema alone (pydantic_core's table of them, read for 2.10 to 2.14).
_REPLACED = {
    "assertion_error": "Invalid value",
    "get_attribute_error": "Invalid value",
    "iteration_error": "Invalid value",
    "json_invalid": "Invalid JSON",
    "mapping_type": "Input should be a valid mapping",
    "timezone_offset": "Input should have another timezone offset",
    "union_tag_invalid": "The tag is not one of those expected",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
    "uuid_parsing": "Input should be a valid UUID",
    "value_error": "Invalid value",
}
_KNOWN = frozenset(get_args(ErrorType))


def _text(part: object) -> str:
    # A lone surrogate in a member's name must not make the answer impossible to encode.
    text = str(part)[:_MAX_POINTER].encode("utf-8", "replace").decode()
    return text.replace("~", "~0").replace("/", "~1")


def pointer_of(location: Iterable[object]) -> str:
    """Return ``("body", "a", 0)`` as ``/a/0`` (RFC 6901) and ``("query", "limit")`` as ``query/limit``."""
    parts = list(location)
    if not parts:
        return ""
    head, rest = parts[0], parts[1:]
    if head == "body":
        made = "".join(f"/{_text(part)}" for part in rest)
    elif head in ("query", "path", "header", "cookie"):
        made = "/".join([str(head), *(_text(part) for part in rest)])
    else:
        made = "".join(f"/{_text(part)}" for part in parts)
    return made[:_MAX_POINTER]


def field_errors(errors: Iterable[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """Return one entry per error of ``errors()``; what a validator's author wrote is left out."""
    made: list[FieldError] = []
    for error in errors:
        if len(made) == MAX_ERRORS:
            break
        kind = str(error.get("type", "invalid"))
        message = _REPLACED.get(kind)
        if message is None:
            message = str(error.get("msg", "Invalid value")) if kind in _KNOWN else "Invalid value"
        made.append(FieldError(pointer_of(error.get("loc", ())), message, kind[:64]))
    return tuple(made)
