"""From pydantic's list of refused values to one :class:`FieldError` each, without what the client sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

from pydantic_core.core_schema import ErrorType

from ...errors import FieldError

__all__ = ("INVALID", "MAX_ERRORS", "field_errors", "pointer_of", "replaced")

INVALID = "Invalid value"
"""What is reported where nothing else may be."""

# More would only help someone who probes; the first hundred are enough to mend a form.
MAX_ERRORS = 100
"""Errors of one refusal that are reported."""
_MAX_POINTER = 200
_MAX_MESSAGE = 500

# Messages of these types carry what a validator's author wrote or a part of the value itself; all other
# built-in messages are made from the schema alone (pydantic_core's table of them, read for 2.10 to 2.14).
_REPLACED = {
    "assertion_error": INVALID,
    "bytes_invalid_encoding": "Data should be validly encoded",
    "datetime_object_invalid": "Input should be a valid datetime",
    "get_attribute_error": INVALID,
    "iteration_error": INVALID,
    "json_invalid": "Invalid JSON",
    "mapping_type": "Input should be a valid mapping",
    "no_such_attribute": "Object has no such attribute",
    "timezone_offset": "Input should have another timezone offset",
    "union_tag_invalid": "The tag is not one of those expected",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
    "uuid_parsing": "Input should be a valid UUID",
    "value_error": INVALID,
    # Of pydantic's own types in Python, whose texts it may change, and may put the value into.
    "base64_decode": "Input should be base64",
    "byte_size": "Input should be a size with its unit, such as 10MiB",
    "byte_size_unit": "Input should be a size with a known unit, such as 10MiB",
    "color_error": "Input should be a valid color",
    "ip_any_address": "Input should be an IP address",
    "ip_any_interface": "Input should be an IP interface, such as 192.0.2.1/24",
    "ip_any_network": "Input should be an IP network, such as 192.0.2.0/24",
    "ip_v4_address": "Input should be an IPv4 address",
    "ip_v6_address": "Input should be an IPv6 address",
    "path_exists": "The path exists already",
    "path_not_directory": "Input should be the path of a directory",
    "path_not_file": "Input should be the path of a file",
    "payment_card_number_brand": "Input should be a valid card number",
    "payment_card_number_digits": "Input should be a valid card number",
    "payment_card_number_luhn": "Input should be a valid card number",
}
_BEGINNINGS = (
    ("value is not a valid email address", "Input should be an e-mail address"),
    ("value is not a valid phone number", "Input should be a phone number"),
)
"""Beginnings of texts of validators that are in everyone's hands, and what is reported of them."""
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
        made.append(FieldError(pointer_of(error.get("loc", ())), _message(kind, error), kind[:64]))
    return tuple(made)


def replaced(message: str) -> str | None:
    """Return what is reported in place of a validator's text that may repeat the value, None if unknown."""
    return next((known for beginning, known in _BEGINNINGS if message.startswith(beginning)), None)


def _message(kind: str, error: Mapping[str, Any]) -> str:
    message = str(error.get("msg") or INVALID)[:_MAX_MESSAGE]
    if kind not in _REPLACED:
        return message if kind in _KNOWN else replaced(message) or INVALID
    context = error.get("ctx")
    found: dict[str, Any] = cast("dict[str, Any]", context) if isinstance(context, dict) else {}
    if kind == "union_tag_invalid" and isinstance(found.get("expected_tags"), str):
        return f"The tag should be one of {found['expected_tags']}"[:_MAX_MESSAGE]
    return _written(found.get("error")) or replaced(message) or _REPLACED[kind]


def _written(error: object) -> str | None:
    """Return the text of a validator's exception if it stands in the code that raised it.

    What is written in the code is the same for every value. Any other text may have been made of the value.
    """
    if not isinstance(error, Exception):
        return None
    trace, text = error.__traceback__, str(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    written = trace is not None and text and text in trace.tb_frame.f_code.co_consts
    return text[:_MAX_MESSAGE] if written else None
