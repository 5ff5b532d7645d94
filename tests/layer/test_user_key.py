"""``user_key`` gets a request, is called where a rule asks for it, and its mistakes are reported."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any, cast

import pytest

from roadworthy import Layer, RequestInfo, RouteRule, roadworthy
from roadworthy.patterns import idempotent
from roadworthy.types import Headers, Receive, Scope, Send
from tests.asgi_driver import Call, Driven, ask, websocket_scope

pytestmark = pytest.mark.anyio

SECRET = "hunter2-of-ada"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def _around(user_key: Any, limit: str = "2/hour") -> Layer:
    rule = RouteRule(rate_limit=limit, rate_key="user")
    return roadworthy(_app, routes={"/mine": rule, "/ws": rule}, user_key=user_key, env="production")


async def _ask(app: Layer, headers: Headers | None = None, path: str = "/mine") -> Driven:
    return await ask(app, path=path, headers=[(b"host", b"localhost"), *(headers or [])])


async def test_it_gets_the_request() -> None:
    """Fields in any case, cookies, address, method, path and query; only where a rule asks for it."""
    seen: list[RequestInfo] = []

    def user_key(request: RequestInfo) -> str | None:
        seen.append(request)
        return request.headers["Authorization"]

    app = _around(user_key)
    given = [
        (b"authorization", b"Bearer ada"),
        (b"cookie", b"a=1; b=x=y; a=1; broken"),
        (b"cookie", b"c=2;c=3"),
    ]
    await _ask(app, given, "/others")
    assert seen == []
    assert (
        await ask(app, path="/mine", query_string=b"x=1", headers=[(b"host", b"l"), *given])
    ).status == 200
    (request,) = seen
    assert request.headers.get("AUTHORIZATION") == "Bearer ada"
    assert "x-tenant" not in request.headers
    assert sorted(request.headers) == ["authorization", "cookie", "host"]
    assert dict(request.cookies) == {"a": "1", "b": "x=y"}, "what is there twice with two values is left out"
    assert (request.method, request.path, request.query) == ("GET", "/mine", "x=1")
    assert request.client


async def test_a_user_has_one_count() -> None:
    """Users are counted by their key, the unknown by address; the empty text is nobody's key."""
    app = _around(lambda request: request.cookies.get("user"))
    for who in (b"user=ada", b"user=ben", b"user="):
        answers = [(await _ask(app, [(b"cookie", who)])).status for _ in range(3)]
        assert answers == [200, 200, 429]
    assert (await _ask(app)).status == 429, "nobody is counted as the one with the empty key"


@pytest.mark.parametrize("given", [b"authorization", 7, None])
async def test_names_are_text(given: Any) -> None:
    """A name that is no text is a mistake of the function, and no missing field."""
    app = _around(lambda request: request.headers.get(given))
    assert (await _ask(app)).status == 500


def _raises(request: RequestInfo) -> str | None:
    raise LookupError("no such user")


async def _later() -> str:
    return SECRET


WRONG: dict[str, tuple[Any, str]] = {
    "raises": (_raises, "LookupError"),
    "bytes": (lambda request: SECRET.encode(), "user_key returned bytes; it has to return text"),
    "number": (lambda request: 7, "user_key returned int; it has to return text"),
    "coroutine": (lambda request: _later(), "user_key returned something to await"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_mistake_is_a_500_with_one_record(wrong: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The client gets the common shape with the id of the one record, which has the stack and no key."""
    function, message = WRONG[wrong]
    app = _around(function)
    await _ask(app, path="/others")
    app.pass_.logging.writer.flush()
    capfd.readouterr()
    answered = await _ask(app)
    app.pass_.logging.writer.flush()
    written = capfd.readouterr().out
    (record,) = [json.loads(line) for line in written.splitlines()]
    assert (answered.status, record["status"], record["level"]) == (500, 500, "error")
    assert answered.json()["request_id"] == record["request_id"] == answered.headers["x-request-id"]
    assert message in record["exception"]["stack"]
    assert SECRET not in written


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_mistake_refuses_a_handshake(wrong: str) -> None:
    """A WebSocket is not opened for somebody who is not known."""
    call = Call(_around(WRONG[wrong][0]), websocket_scope())
    call._inbox.put_nowait({"type": "websocket.connect"})
    (start, *_) = await call.until_sent(1)
    assert start["status"] == 500


class _Async:
    async def __call__(self, request: RequestInfo) -> str | None:
        return None


async def _async(request: RequestInfo) -> str | None:
    return None


NO_FUNCTIONS = {
    "async function": _async,
    "async object": _Async(),
    "text": "authorization",
    "two arguments": lambda scope, receive: None,
    "none": lambda: None,
}


@pytest.mark.parametrize("what", NO_FUNCTIONS)
@pytest.mark.parametrize("argument", ["user_key", "principal"])
def test_what_is_no_function_stops_the_start(argument: str, what: str) -> None:
    """The message names the argument and what it has to be, before any request."""
    given: Any = NO_FUNCTIONS[what]
    made: Any = roadworthy if argument == "user_key" else partial(cast("Any", idempotent), answers=None)
    with pytest.raises(TypeError, match=f"^{argument} (is|has)"):
        made(_app, **{argument: given})


async def test_never_a_key_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """Requests that carry credentials and never have a key are counted by address; one warning says so."""
    app = _around(lambda request: request.headers.get("x-tenant"), limit="10000/hour")
    with caplog.at_level(logging.WARNING, "roadworthy.rate_limiting"):
        for _ in range(150):
            await _ask(app)
        assert caplog.messages == []
        for _ in range(250):
            await _ask(app, [(b"authorization", SECRET.encode())])
    (message,) = caplog.messages
    assert message.startswith("user_key has returned None for the first 100 requests")
    assert SECRET not in message


async def test_one_key_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    """Where somebody was recognised the function works, and the others are unknown."""
    app = _around(lambda request: request.headers.get("x-tenant"), limit="10000/hour")
    with caplog.at_level(logging.WARNING, "roadworthy.rate_limiting"):
        await _ask(app, [(b"x-tenant", b"a")])
        for _ in range(150):
            await _ask(app, [(b"authorization", b"x")])
    assert caplog.messages == []
