"""A scope has what the ASGI specification requires, and of the rest what its server likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from roadworthy import RouteRule, roadworthy
from roadworthy.types import Message, Receive, Scope, Send
from tests.asgi_driver import http_scope

pytestmark = pytest.mark.anyio

OPTIONAL = {
    "http": ("scheme", "raw_path", "query_string", "root_path", "client", "server", "state", "extensions"),
    "websocket": (
        *("http_version", "scheme", "raw_path", "query_string", "root_path", "client", "server", "state"),
        *("subprotocols", "extensions"),
    ),
}
"""Keys with a default (www specification 2.5); where it allows None instead, both are tried."""

HEADERS: dict[str, Callable[[list[tuple[bytes, bytes]]], Any]] = {
    "a generator": iter,
    "a tuple": tuple,
    "lists": lambda fields: [list(pair) for pair in fields],
}
FIELDS = [(b"host", b"localhost"), (b"x-seen", b"1")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the scope still says of the request's fields."""
    assert [tuple(pair) for pair in scope["headers"]] == FIELDS
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def _served(scope: Scope) -> list[Message]:
    sent: list[Message] = []
    inbox: list[Message] = [
        {"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request"}
    ]

    async def receive() -> Message:
        return inbox.pop(0) if inbox else {"type": f"{scope['type']}.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)

    layer = roadworthy(app, routes={"/x": RouteRule(rate_limit="9/minute")}, cors_origins=["https://a.b"])
    await layer(scope, receive, send)
    return sent


def _scope(kind: str) -> Scope:
    scope = {**http_scope(path="/x", headers=list(FIELDS)), "type": kind, "state": {}, "extensions": {}}
    if kind == "websocket":
        del scope["method"]
        scope |= {"scheme": "ws", "subprotocols": []}
    return scope


@pytest.mark.parametrize(
    ("kind", "key", "given"),
    [
        (kind, key, given)
        for kind, keys in OPTIONAL.items()
        for key in keys
        for given in ("left out", "None")
        if given == "left out" or key in ("query_string", "raw_path", "client", "server")
    ],
)
async def test_an_optional_key_may_be_missing(kind: str, key: str, given: str) -> None:
    """Each is left out alone, and None where that is allowed: the request is served as with it."""
    scope = _scope(kind)
    if given == "None":
        scope[key] = None
    else:
        scope.pop(key, None)
    sent = await _served(scope)
    assert (sent[0]["type"], sent[0].get("status")) in [
        ("http.response.start", 204),
        ("websocket.accept", None),
    ]


@pytest.mark.parametrize("kind", sorted(OPTIONAL))
async def test_all_of_them_may_be_missing(kind: str) -> None:
    """What the specification requires is enough."""
    scope = {key: value for key, value in _scope(kind).items() if key not in OPTIONAL[kind]}
    assert (await _served(scope))[0].get("status", 204) == 204


@pytest.mark.parametrize("kind", sorted(OPTIONAL))
@pytest.mark.parametrize("form", HEADERS)
async def test_fields_come_as_any_iterable(kind: str, form: str) -> None:
    """One that can be read once is read by the layer and by the app."""
    scope = _scope(kind)
    scope["headers"] = HEADERS[form](scope["headers"])
    assert (await _served(scope))[0].get("status", 204) == 204
