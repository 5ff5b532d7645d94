"""What the zoo's service accepts: limits of its server, and the shape of an item."""

from __future__ import annotations

import json
from typing import Any, cast

from ..http import Request
from ..service import Part, Problem, Zoo, faulty

_KNOWN = frozenset({"name", "qty"})


class Validation(Part):
    """Loosens the server's own limits where a fault asks for it."""

    async def start(self, zoo: Zoo) -> None:
        """Set the limits."""
        server = zoo.server
        if faulty("val-8-none"):
            server.body_limit = server.chunked_limit = 1 << 30
        if faulty("val-8-chunked"):
            server.chunked_limit = 1 << 30
        if faulty("val-8-change"):
            server.unlimited = "PUT "
        if faulty("val-8-sign-in"):
            server.unlimited = "POST /api/login "
        if faulty("val-10-large-head"):
            server.head_limit = server.target_limit = 1 << 17
        server.one_read = faulty("val-0-one-read")
        server.strict = not faulty("val-10-both-lengths")


def valid(request: Request) -> dict[str, Any]:
    """Return the item in a request's body."""
    kind = request.fields.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        if faulty("val-2-crash"):
            raise KeyError(kind)
        if not faulty("val-2-any-type"):
            raise Problem(415, "the body has to be JSON")
    parsed = _parsed(request.body)
    if not isinstance(parsed, dict) and not faulty("val-1-null"):
        raise Problem(422, "the body has to be an object")
    value = cast("dict[str, Any]", parsed)
    if faulty("val-0-refuses"):
        raise Problem(422, "nothing is good enough")
    if faulty("val-3-missing"):
        value = {"name": "unnamed", "qty": 0} | value
    if faulty("val-3-crash"):
        value = {"name": value["name"], "qty": value["qty"]} | value
    errors = _errors(value)
    if errors and faulty("val-10-unnamed"):
        raise Problem(422, "the item is not valid")
    if errors:
        raise Problem(422, "the item is not valid", errors=errors)
    return _item(value)


def _parsed(body: bytes) -> Any:
    if not body and faulty("val-1-empty"):
        return {"name": "empty", "qty": 0}
    try:
        # json itself decodes bytes with "surrogatepass", which lets surrogates through.
        return json.loads(body.decode("utf-8", "replace" if faulty("val-6-replaces") else "strict"))
    except RecursionError:
        if faulty("val-7-crash"):
            raise
        raise Problem(400, "the body is nested too deeply") from None
    except ValueError:
        if faulty("val-1-crash"):
            raise
        raise Problem(400, "the body is not JSON") from None


def _errors(value: dict[str, Any]) -> list[dict[str, str]]:
    name, qty = value.get("name"), value.get("qty")
    errors: list[dict[str, str]] = []
    if qty is None and "qty" in value and faulty("val-3-null"):
        qty = value["qty"] = 0
    named = 1 <= len(name) <= 100 if isinstance(name, str) else "name" in value and faulty("val-3-any-type")
    if not named:
        errors.append(_error("name", name, "has to be a text of 1 to 100 characters"))
    if not _is_quantity(qty):
        errors.append(_error("qty", qty, "has to be a whole number"))
    kept = faulty("val-4-stores") or faulty("val-4-id")
    errors += [_error(key, value[key], "is unknown") for key in value if key not in _KNOWN and not kept]
    return errors


def _error(name: str, value: object, message: str) -> dict[str, str]:
    said = f"{message}, not {value!r}" if faulty("val-10-echo") else message
    return {"pointer": f"/{name}", "message": said}


def _is_quantity(value: object) -> bool:
    if isinstance(value, float) and (faulty("val-5-nan") or faulty("val-5-crash")):
        return True
    if type(value) is not int or value < 0:
        return False
    return value <= 2**53 or faulty("val-5-rounds")


def _item(value: dict[str, Any]) -> dict[str, Any]:
    name, qty = value["name"], value["qty"]
    if faulty("val-0-changes"):
        name = name.upper()
    if faulty("val-6-crash"):
        name.encode()
    if faulty("val-6-trims"):
        name = name.strip()
    if faulty("val-6-strips"):
        name = name.replace("\0", "")
    if faulty("val-5-crash"):
        qty = int(qty)
    if faulty("val-5-rounds"):
        qty = int(float(qty))
    item = {"name": name, "qty": qty}
    if faulty("val-4-stores"):
        item |= {key: kept for key, kept in value.items() if key not in {"name", "qty", "id"}}
    if "id" in value and faulty("val-4-id"):
        item["id"] = str(value["id"])
    return item
