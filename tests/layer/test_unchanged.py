"""The settings that give back what an app had without the layer, each beside the app as it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from roadworthy import roadworthy
from tests.asgi_driver import Driven, ask

pytestmark = pytest.mark.anyio
HOST = (b"host", b"localhost")
AS_IT_WAS: dict[str, Any] = {
    "error_format": "framework",
    "http_strict": False,
    "json_strict": False,
    "security_headers": False,
    "request_id_header": False,
    "rate_limit": "off",
    "compression": False,
    "tracing": False,
}


class Item(BaseModel):
    """What is posted."""

    name: str
    price: float


def make() -> FastAPI:
    """Return an app with a route for each kind of answer."""
    api = FastAPI()

    @api.post("/items")
    def add(item: Item) -> Item:
        return item

    @api.get("/fails")
    def fails() -> None:
        raise ZeroDivisionError

    @api.get("/stream")
    def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"%d" % (1 // len(api.openapi_tags or ()))

        return StreamingResponse(pieces(), media_type="text/html")

    api.mount("/files", StaticFiles(directory="."))
    return api


async def seen(app: Any, *request: Any) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Return what a client sees; what comes out of the app besides is the server's to record."""
    messages: list[Any] = []

    asked = False

    async def receive() -> Any:
        nonlocal asked
        if asked:
            await asyncio.get_running_loop().create_future()
        asked = True
        return {"type": "http.request", "body": request[3] if len(request) > 3 else b""}

    async def send(message: Any) -> None:
        messages.append(message)

    method, path, headers = request[:3]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": headers,
        "query_string": b"",
        "root_path": "",
    }
    with contextlib.suppress(Exception):
        await app(scope, receive, send)
    got = Driven(messages)
    return got.status, got.body, sorted(messages[0]["headers"])


JSON = [HOST, (b"content-type", b"application/json")]
REQUESTS: list[tuple[Any, ...]] = [
    ("GET", "/nowhere", [HOST]),
    ("PUT", "/items", [HOST]),
    ("POST", "/items", JSON, b'{"name": 1, "price": "high"}'),
    ("POST", "/items", JSON, b"{"),
    ("POST", "/items", JSON, b'{"name": "a", "price": 1}'),
    ("GET", "/fails", [HOST]),
    ("GET", "/stream", [HOST]),
    ("POST", "/files/x", [HOST]),
    ("GET", "/docs", [HOST]),
    ("GET", "/openapi.json", [HOST]),
    ("GET", "/nowhere", []),
    ("GET", "/nowhere", [(b"host", b"a/b")]),
    ("GET", "/nowhere", [HOST, HOST]),
    ("POST", "/items", [*JSON, (b"content-length", b"one")], b'{"name": "a", "price": 1}'),
]


@pytest.mark.parametrize("request_", REQUESTS)
async def test_with_all_of_them_the_answer_is_the_apps(request_: tuple[Any, ...]) -> None:
    """Status, body and fields, whoever refuses."""
    assert await seen(roadworthy(make(), **AS_IT_WAS), *request_) == await seen(make(), *request_)


@pytest.mark.parametrize(
    ("setting", "request_", "differs"),
    [
        ("error_format", REQUESTS[2], lambda got: b"problem+json" in dict(got[2])[b"content-type"]),
        ("error_format", REQUESTS[6], lambda got: got[0] == 500),
        ("error_format", REQUESTS[9], lambda got: b"problem+json" in got[1]),
        ("http_strict", REQUESTS[10], lambda got: got[0] == 400),
        ("http_strict", REQUESTS[11], lambda got: got[0] == 400),
        ("http_strict", REQUESTS[12], lambda got: got[0] == 400),
        ("http_strict", REQUESTS[13], lambda got: got[0] == 400),
        ("security_headers", REQUESTS[0], lambda got: b"x-content-type-options" in dict(got[2])),
        ("request_id_header", REQUESTS[0], lambda got: b"x-request-id" in dict(got[2])),
    ],
)
async def test_each_of_them_is_needed(
    setting: str, request_: tuple[Any, ...], differs: Callable[[Any], bool]
) -> None:
    """Without it the layer does its work."""
    others = {name: value for name, value in AS_IT_WAS.items() if name != setting}
    assert differs(await seen(roadworthy(make(), **others), *request_))


async def test_a_list_of_hosts_holds_without_strictness() -> None:
    """What is no host name is none of those that are allowed."""
    layer = roadworthy(make(), http_strict=False, allowed_hosts="api.example")
    for headers in ([], [HOST], [(b"host", b"a/b")]):
        assert (await ask(layer, path="/docs", headers=headers)).status in (400, 421)
    assert (await ask(layer, path="/docs", headers=[(b"host", b"api.example")])).status == 200


async def test_a_folder_of_files_says_itself_what_is_allowed() -> None:
    """A mounted app takes any method as far as the layer knows, and its own 405 names two."""
    got = await ask(roadworthy(make()), "POST", "/files/x")
    assert (got.status, got.headers["content-type"]) == (405, "application/problem+json")
    assert got.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("tracing", [True, False])
async def test_spans_are_made_unless_the_app_makes_them(
    tracing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server span for a request, or none of the layer's."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await ask(roadworthy(app, tracing=tracing))
    assert len(exporter.get_finished_spans()) == int(tracing)
    provider.shutdown()


async def test_what_a_test_puts_in_the_place_of_json_is_for_the_app_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The start, and the look at an error of the app, neither call it nor fail with it."""
    layer = roadworthy(make())

    def broken(*_: object, **__: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr(json, "loads", broken)
    got = await ask(layer, path="/nowhere", headers=[HOST])
    monkeypatch.undo()
    assert (got.status, got.json()["code"]) == (404, "NOT_FOUND")
