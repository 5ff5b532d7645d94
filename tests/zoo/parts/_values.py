"""Reading what a request holds, and refusing it."""

from __future__ import annotations

import json
from typing import Any

from ..http import Request
from ..service import Problem, faulty


def read_json(request: Request) -> dict[str, Any]:
    """Return the object in a request's body."""
    if request.fields.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "the body has to be JSON")
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Problem(422 if faulty("ctl-4-one-status") else 400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(422, "the body has to be an object")
    return value


def refuse(pointers: dict[str, str]) -> Problem:
    """Return the refusal with one entry for each wrong field."""
    errors = [
        {"pointer": pointer, "message": message, "code": "wrong"} for pointer, message in pointers.items()
    ]
    if faulty("ctl-4-first-only"):
        errors = errors[:1]
    if faulty("ecl-2-drops"):
        return Problem(422, "the values are not valid", errors=[{"message": "wrong"}] * len(errors))
    # Only what is deep can be flattened.
    if any(entry["pointer"].count("/") > 1 for entry in errors) and faulty("ecl-2-flattens"):
        for entry in errors:
            entry["pointer"] = "/" + entry["pointer"].split("/")[1]
    return Problem(422, "the values are not valid", errors=errors)
