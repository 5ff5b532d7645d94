"""What the server refuses looks like what the layer refuses, and leaves the same record and count."""

from __future__ import annotations

import asyncio
import json

import pytest

from roadworthy.errors import APIError, BadRequestError, RequestTimeoutError
from roadworthy.layer import Layer
from roadworthy.layer.asgi.refusal import Refusals
from roadworthy.settings import Settings
from roadworthy.types import Message, Receive, Scope, Send
from tests.asgi_driver import ask


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def _layer(**settings: object) -> Layer:
    return Layer(_hello, Settings(_env_file=None, **settings))


def _refusals(layer: Layer) -> Refusals:
    return Refusals(lambda: layer.pass_)


def _count(layer: Layer, status: int) -> float:
    text = layer.pass_.metrics.exposition().body.decode()
    wanted = [
        line for line in text.splitlines()
        if line.startswith("http_requests_total{") and f'status="{status}"' in line
    ]  # fmt: skip
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def test_a_refusal_has_the_shape_and_the_fields_of_every_error() -> None:
    """Problem details with code and request id, the id also as a field, and the security fields."""
    reply = _refusals(_layer()).refused(BadRequestError("The Host field is missing"), "192.0.2.7")
    fields = dict(reply.headers)
    document = json.loads(reply.body)
    assert reply.status == document["status"] == 400
    assert fields[b"content-type"] == b"application/problem+json"
    assert document["code"] == "BAD_REQUEST"
    assert document["detail"] == "The Host field is missing"
    assert document["request_id"].encode() == fields[b"x-request-id"]
    assert fields[b"x-content-type-options"] == b"nosniff"


def test_a_refusal_follows_the_setting_of_the_shape() -> None:
    """With `envelope` the server's own refusals are envelopes, too."""
    reply = _refusals(_layer(error_format="envelope")).refused(BadRequestError(), "")
    assert json.loads(reply.body) == {"error": {"code": "BAD_REQUEST", "message": "Bad request"}}


def test_a_refusal_is_counted_once() -> None:
    """One refusal is one request with its status."""
    layer = _layer()
    _refusals(layer).refused(BadRequestError(), "192.0.2.7")
    assert _count(layer, 400) == 1


async def _overruled(error: APIError, exception: BaseException | None) -> tuple[Layer, bytes]:
    layer: Layer
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        done = asyncio.Event()

        def overrule() -> None:
            bodies.append(_refusals(layer).overruled(error, scope, exception).body)
            if exception is not None:
                done.set()

        asyncio.get_running_loop().call_soon(overrule)
        await done.wait()

    layer = Layer(app, Settings(_env_file=None))
    told = await ask(layer, headers=[(b"x-request-id", b"given-id")])
    # The server has answered itself; the exchange says nothing after it.
    assert told.messages == []
    return layer, bodies[0]


@pytest.mark.anyio
async def test_an_overruled_exchange_keeps_its_id_and_is_counted_once() -> None:
    """The answer has the id of the exchange that runs, and its one record has the answer's status."""
    layer, body = await _overruled(APIError(), RuntimeError("boom"))
    assert json.loads(body)["request_id"] == "given-id"
    assert _count(layer, 500) == 1
    assert _count(layer, 200) == 0


@pytest.mark.anyio
async def test_a_late_body_ends_the_handler() -> None:
    """After 408 the handler is cancelled, as at the layer's own deadline, and 408 is what is counted."""
    layer, _ = await _overruled(RequestTimeoutError(), None)
    assert _count(layer, 408) == 1


def test_a_scope_without_an_exchange_is_a_refusal() -> None:
    """A server may answer in place of an app that the layer has not seen the request of."""
    layer = _layer()
    message: Message = {"client": ("192.0.2.7", 5)}
    assert _refusals(layer).overruled(BadRequestError(), message, None).status == 400
    assert _count(layer, 400) == 1
