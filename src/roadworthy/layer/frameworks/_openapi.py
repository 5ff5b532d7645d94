"""The OpenAPI document of an app whose default error bodies the layer rewrites."""

from __future__ import annotations

import json
from typing import Any, cast

from ._protocol import ErrorFormat

__all__ = ("patch_document",)

_DEFAULT = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
_FIELDS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["pointer", "message", "code"],
        "properties": {name: {"type": "string"} for name in ("pointer", "message", "code")},
    },
}
_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": _FIELDS,
        "details": {"type": "object"},
    },
}
_ENVELOPE: dict[str, Any] = {
    "title": "ErrorEnvelope",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object", "properties": {"errors": _FIELDS}},
            },
        }
    },
}


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    paths = cast("dict[str, dict[str, Any]]", document.get("paths", {}))
    return [
        cast("dict[str, Any]", operation)
        for item in paths.values()
        for operation in item.values()
        if isinstance(operation, dict) and "responses" in operation
    ]


def patch_document(document: dict[str, Any], error_format: ErrorFormat) -> dict[str, Any]:
    """Replace FastAPI's default 422 response in ``document`` by the shape that is sent.

    Returns the same document: FastAPI keeps it and hands it out again, so a second call changes nothing.
    """
    if error_format in ("app", "framework"):
        return document
    refused = [
        responses["422"]
        for operation in _operations(document)
        if (responses := operation["responses"]).get("422", {}).get("content") == _DEFAULT
    ]
    if not refused:
        return document
    made = _PROBLEM if error_format == "problem" else _ENVELOPE
    kind = "application/problem+json" if error_format == "problem" else "application/json"
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    # A model of the app may have taken the name.
    name = made["title"] if schemas.get(made["title"], made) == made else f"Roadworthy{made['title']}"
    schemas[name] = made
    for response in refused:
        response["content"] = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    for unused in ("HTTPValidationError", "ValidationError"):
        if f'"#/components/schemas/{unused}"' not in json.dumps(document):
            schemas.pop(unused, None)
    return document
