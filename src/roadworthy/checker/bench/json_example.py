"""A value that a JSON schema accepts, new each time where it has ``{unique}`` or ``{number}``."""

from __future__ import annotations

from typing import Any

from ..read.openapi import OpenApi
from ..read.shapes import elements, members

__all__ = ("example",)

_DEEPEST = 6
_FORMATS = {
    "email": "{unique}@example.com",
    "uuid": "3f2b8c1e-5a4d-4e6f-9b7a-1c2d3e4f5a6b",
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "uri": "https://example.com/{unique}",
    "ipv4": "192.0.2.1",
    "password": "correct horse {unique}",
}
# What {unique} is replaced by has about this many characters.
_UNIQUE = 16
# A document that asks for more asks for nothing that a service takes.
_MOST_ITEMS = 16
_LONGEST_TEXT = 64 << 10
_MOST_OPTIONS = 32


def example(document: OpenApi, schema: Any, name: str = "", depth: int = 0) -> Any:
    """Return an example for a schema: its own where it has one, else made from its types.

    Parameters:
        name: what the member is called; an ``id`` that the client chooses has to be new each time.
    """
    found: dict[str, Any] = document.resolve(schema)
    options = [document.resolve(each) for key in ("anyOf", "oneOf") for each in elements(found.get(key))]
    if options and depth <= _MOST_OPTIONS:
        return example(document, next(filter(_is_value, options), options[0]), name, depth + 1)
    parts = [document.resolve(each) for each in elements(found.get("allOf"))]
    for part in (found, *parts) if parts else ():
        properties = {**members(found.get("properties")), **members(part.get("properties"))}
        required = [*elements(found.get("required")), *elements(part.get("required"))]
        merged: dict[str, Any] = {"properties": properties, "required": required, "type": "object"}
        found = found | merged
    given = elements(found.get("examples")) or ([found["example"]] if "example" in found else [])
    if "const" in found or "enum" in found:
        return found.get("const", (elements(found.get("enum")) or [None])[0])
    kinds = elements(found.get("type")) or [found.get("type")]
    kind = next((each for each in kinds if each != "null"), "null")
    match kind:
        case "integer" | "number":
            return "{number}" if name == "id" else _number(found, given)
        case "boolean":
            return True
        case "array":
            count = min(_whole(found.get("minItems"), 0), _MOST_ITEMS) if depth < _DEEPEST else 0
            # One for all: nested arrays would multiply.
            return [example(document, found.get("items"), name, depth + 1)] * count if count else []
        case "string":
            return _text(found, name, given)
        case _:
            return _object(document, found, depth)


def _object(document: OpenApi, schema: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    properties = members(schema.get("properties"))
    required = [name for name in elements(schema.get("required")) if name in properties]
    return {name: example(document, properties[name], name, depth + 1) for name in required}


def _number(schema: dict[str, Any], given: list[Any]) -> Any:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    most = schema.get("maximum")
    value = given[0] if given else least + 1
    return min(value, most) if most is not None else value


def _text(schema: dict[str, Any], name: str, given: list[Any]) -> str:
    most = _whole(schema.get("maxLength"), 1_000)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if "pattern" in schema and given:
        return str(given[0])
    label = "".join(char for char in name if char.isalpha()) or "text"
    text = f"{label} {{unique}}" if most >= len(label) + _UNIQUE + 4 else "a"
    if "email" in name.lower():
        text = "{unique}@example.com"
    return text.ljust(min(_whole(schema.get("minLength"), 0), _LONGEST_TEXT), "a")


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _is_value(schema: dict[str, Any]) -> bool:
    return schema.get("type") != "null"
