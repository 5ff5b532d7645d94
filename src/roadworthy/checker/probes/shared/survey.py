"""A request for each route, method and class of status, for the items that are about every response."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...manifest.routes import Route
from ..shared import contract

__all__ = ("Ask", "asks")

Ask: TypeAlias = Callable[[dict[str, str]], Awaitable[Answer]]
"""Sends a request with these fields besides its own."""

_JSON = {"Content-Type": "application/json"}
_PAGE = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
_BROKEN, _EMPTY = b'{"a": ', b"{}"
_LONG = json.dumps({"unknown": "x" * 4096}).encode()
_READS = ("read", "child_list", "overview", "list", "large", "binary", "html")
_MOST_BYTES = 1 << 25


async def asks(bench: Bench) -> dict[str, Ask]:
    """Return the requests by the kind of response that each brings about, of what is declared."""
    created = ""
    with suppress(ControlFailed):
        created = (await bench.create()).id
    found = {**_of_health(bench), **_of_reads(bench, created), **_of_writes(bench, created)}
    return {**found, **_of_pages(bench), **_of_refusals(bench, created), **_of_failures(bench)}


def _of_health(bench: Bench) -> dict[str, Ask]:
    health = bench.manifest.health
    paths = {"live": health.live, "ready": health.ready, "document": bench.manifest.openapi}
    found: dict[str, Ask] = {kind: partial(bench.get, path) for kind, path in paths.items() if path}
    if health.live:
        found["HEAD live"] = partial(bench.request, "HEAD", health.live)
    return found


def _of_reads(bench: Bench, created: str) -> dict[str, Ask]:
    routes = bench.manifest.routes.by_role
    found: dict[str, Ask] = {}
    for role in _READS:
        route = routes.get(role)
        if route is not None and route.method == "GET" and (created or route.literal or not _has_id(route)):
            found[role] = partial(_call, bench, route, created)
    for role in ("list", "read"):
        if role in found:
            path = _path(routes[role], created)
            found[f"HEAD {role}"] = partial(bench.request, "HEAD", path)
            found[f"OPTIONS {role}"] = partial(bench.request, "OPTIONS", path)
            found[f"{role}, asked for a page"] = partial(_with, _PAGE, partial(bench.get, path))
    return found


def _of_writes(bench: Bench, created: str) -> dict[str, Ask]:
    routes = bench.manifest.routes.by_role
    found: dict[str, Ask] = {}
    if "create" in routes:
        found["create"] = partial(_call, bench, routes["create"], "")
    if "login" in routes:
        found["login"] = partial(_call, bench, routes["login"], "")
    if created:
        for role in ("update", "child_create"):
            if role in routes:
                found[role] = partial(_call, bench, routes[role], created)
        if "delete" in routes:
            found["delete"] = partial(_call_created, bench, routes["delete"])
    return found


def _of_pages(bench: Bench) -> dict[str, Ask]:
    return {f"page {path}": partial(_with, _PAGE, partial(bench.get, path)) for path in ("/", "/docs")}


def _of_refusals(bench: Bench, created: str) -> dict[str, Ask]:
    routes = bench.manifest.routes.by_role
    found: dict[str, Ask] = {
        "unknown path": partial(bench.get, bench.unknown_path()),
        "unknown path, asked for a page": partial(_with, _PAGE, partial(bench.get, bench.unknown_path())),
        "unknown path, POST": partial(_send, bench, "POST", bench.unknown_path(), _EMPTY),
        "unknown path, HEAD": partial(bench.request, "HEAD", bench.unknown_path()),
        "unknown path, query": partial(bench.get, f"{bench.unknown_path()}?page=1"),
    }
    for role, kind in (("read", "missing"), ("delete", "missing, delete")):
        route = routes.get(role)
        if route is not None and _has_id(route):
            found[kind] = partial(_call, bench, route, str(contract.missing("0")))
    if "list" in routes:
        found["wrong method"] = partial(_wrong_method, bench, routes["list"])
    for role in ("create", "update"):
        route = routes.get(role)
        if route is None or route.body is None:
            continue
        path, more = _path(route, created or "0"), "" if role == "create" else f", {role}"
        send = partial(_send, bench, route.method, path)
        found[f"malformed{more}"] = partial(send, _BROKEN)
        found[f"validation{more}"] = partial(send, _EMPTY)
        found[f"validation, long{more}"] = partial(send, _LONG)
        found[f"media type{more}"] = partial(_with, {"Content-Type": "text/plain"}, partial(send, b"a"))
    if (create := routes.get("create")) is not None and create.body is not None:
        # Sent again and again: where something in it is unique, all but the first are conflicts.
        again = json.dumps(bench.fresh(create.body)).encode()
        found["repeated"] = partial(_send, bench, create.method, create.path, again)
        limit = bench.manifest.limits.body
        if limit is not None and limit <= _MOST_BYTES:
            found["too large"] = partial(_send, bench, create.method, create.path, b" " * (limit + 1))
    return found


def _of_failures(bench: Bench) -> dict[str, Ask]:
    fails = bench.manifest.routes.by_role.get("fails")
    if fails is None:
        return {}
    call = partial(_call, bench, fails, "")
    return {"exception": call, "exception, asked for a page": partial(_with, _PAGE, call)}


def _has_id(route: Route) -> bool:
    return "{id}" in route.path


def _path(route: Route, created: str) -> str:
    return route.path.replace("{id}", route.literal or created)


async def _with(more: dict[str, str], ask: Ask, fields: dict[str, str]) -> Answer:
    return await ask({**fields, **more})


async def _call(bench: Bench, route: Route, identifier: str, fields: dict[str, str]) -> Answer:
    return await bench.call(route, identifier, headers=fields)


async def _send(bench: Bench, method: str, path: str, body: bytes, fields: dict[str, str]) -> Answer:
    return await bench.request(method, path, {**_JSON, **fields}, body)


async def _call_created(bench: Bench, route: Route, fields: dict[str, str]) -> Answer:
    with suppress(ControlFailed):
        return await bench.call(route, (await bench.create()).id, headers=fields)
    return await bench.call(route, headers=fields)


async def _wrong_method(bench: Bench, route: Route, fields: dict[str, str]) -> Answer:
    document = await bench.openapi()
    method = "PATCH" if "PATCH" not in document.methods(route.path) else "PROPPATCH"
    return await bench.request(method, route.path, fields)
