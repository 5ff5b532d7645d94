"""What values of a manifest must not say together, judged on the raw tables: no mistake hides another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .values import is_table

__all__ = ("contradictions",)

_NEEDS_ID = ("read", "update", "delete")
_CREATES = ("create", "child_create")


def contradictions(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dotted path of each contradiction, and what would be right."""
    start, cors, routes = _table(data, "start"), _table(data, "cors"), _table(data, "routes")
    if start.get("url") and start.get("command"):
        yield "start.url", "and start.command exclude each other"
    yield from _of_cors(cors)
    port, ports = _table(data, "metrics").get("port_env"), _table(data, "listen").get("ports", [])
    if port and isinstance(ports, list) and port not in ports:
        yield "metrics.port_env", f"{port} is not one of listen.ports"
    for role, route in routes.items():
        if is_table(route):
            yield from _of_route(role, route)


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if is_table(value) else {}


def _of_cors(cors: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    policy, origins = cors.get("policy"), cors.get("origins")
    if policy in {"none", "public"} and origins:
        yield "cors.policy", f"{policy} and a list of origins exclude each other"
    if policy == "origins" and not origins:
        yield "cors.origins", "is missing"


def _of_route(role: str, route: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    path, identifier = route.get("path"), route.get("id")
    if "role" in route:
        yield f"routes.{role}.role", "unknown key: the name of the table is the role"
    if role in _NEEDS_ID and isinstance(path, str) and path.startswith("/") and "{id}" not in path:
        yield f"routes.{role}.path", "has to have {id} where the id goes"
    if role in _CREATES and isinstance(identifier, str | int) and not str(identifier).startswith("$"):
        yield (
            f"routes.{role}.id",
            "of a route that creates is where the new id stands in the answer, such as $.id",
        )
