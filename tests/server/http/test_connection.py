"""Requests and responses as an ASGI app sees them, over real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Iterator
from typing import Any, Literal, cast

import pytest

from roadworthy.types import Message, Receive, Scope, Send
from tests.patience import DEADLINE, until

from ..wire import Client, Served, serving

HEAD = b"GET %b HTTP/1.1\r\nHost: example.com\r\n%b\r\n"
_variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class App:
    """Answers by path; what it saw is kept for the test."""

    def __init__(self) -> None:
        self.seen: list[Message] = []
        self.errors: list[BaseException] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].strip("/").partition("/")[0] or "echo"
        await cast("Any", getattr(self, f"on_{name}"))(scope, receive, send)

    async def body(self, receive: Receive) -> bytes:
        body: bytes = b""
        while True:
            message = await receive()
            self.seen.append(message)
            body += bytes(message.get("body", b""))
            if not message.get("more_body", False):
                return body

    async def answer(
        self, send: Send, body: bytes = b"ok", status: int = 200, headers: Any = (), **more: Any
    ) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, **more})

    async def on_echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self.body(receive)
        shown = {
            key: value for key, value in scope.items() if key not in ("state", "headers", "client", "asgi")
        }
        shown["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        shown["body"] = body.decode("latin-1")
        await self.answer(send, json.dumps(shown, default=lambda one: one.decode()).encode())

    async def on_unread(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(send)

    async def on_sent(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.sends:
            await send(message)

    sends: tuple[Message, ...] = ()

    async def on_context(self, scope: Scope, receive: Receive, send: Send) -> None:
        before = _variable.get()
        _variable.set("set by another request")
        task = asyncio.current_task()
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        await self.answer(send, f"{before} {type(task).__name__ != 'NoneType'}".encode())

    async def on_raise(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("told to")

    async def on_nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def on_wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.body(receive)
        self.seen.append(await receive())

    async def on_again(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(send)
        self.seen.append(await receive())
        try:
            await send({"type": "http.response.body", "body": b"more"})
        except RuntimeError as error:
            self.errors.append(error)

    async def on_wrong(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"x"})


@pytest.fixture(params=["asyncio", "uvloop"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[App, Served]]:
    """The app, served."""
    app = App()
    kind: Literal["asyncio", "uvloop"] = request.param
    with serving(app, loop=kind) as served:
        yield app, served


@pytest.fixture
def client(place: tuple[App, Served]) -> Iterator[Client]:
    """A connection to the app."""
    with place[1].connect() as one:
        yield one


def test_a_request_becomes_a_scope(client: Client) -> None:
    """Path decoded once, target kept raw, names in lower case, values without white space around them."""
    client.send(HEAD % (b"/echo/caf%C3%A9?a=1&b=%20", b"X-Thing:  one\ttwo \t\r\nEmpty:\r\n"))
    told = json.loads(client.response().body)
    assert told["path"] == "/echo/café"
    assert told["raw_path"] == "/echo/caf%C3%A9"
    assert told["query_string"] == "a=1&b=%20"
    assert (told["method"], told["scheme"], told["http_version"]) == ("GET", "http", "1.1")
    assert told["headers"] == [["host", "example.com"], ["x-thing", "one\ttwo"], ["empty", ""]]


@pytest.mark.parametrize(
    ("request_line", "path"),
    [
        (b"GET http://other.example:81/echo?x HTTP/1.1", "/echo"),
        (b"GET http://other.example:81 HTTP/1.1", "/"),
        (b"GET /echo#part HTTP/1.1", "/echo"),
        (b"GET //evil.example/x HTTP/1.1", "//evil.example/x"),
    ],
)
def test_targets_of_every_form(place: tuple[App, Served], request_line: bytes, path: str) -> None:
    """Absolute form names the host in place of Host (RFC 9112 section 3.2.2); fragments are dropped."""
    app, served = place
    app.on_evil = app.on_echo  # type: ignore[attr-defined]
    app.__dict__["on_evil.example"] = app.on_echo
    with served.connect() as client:
        client.send(request_line + b"\r\nHost: example.com\r\n\r\n")
        told = json.loads(client.response().body)
    assert told["path"] == path
    host = "other.example:81" if b"http:" in request_line else "example.com"
    assert told["headers"] == [["host", host]]


def test_options_may_ask_the_server_itself(place: tuple[App, Served]) -> None:
    """Asterisk form reaches the app as the path `*` (RFC 9112 section 3.2.4)."""
    app, served = place
    app.__dict__["on_*"] = app.on_echo
    with served.connect() as client:
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert json.loads(client.response().body)["path"] == "*"


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 11\r\n\r\nhello world",
        b'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b;c="d"\r\n world\r\n0\r\nX-After: 1\r\n\r\n',
    ],
)
def test_bodies_and_the_request_behind_them(client: Client, framed: bytes) -> None:
    """A body of either framing arrives whole, and the next request on the connection is understood."""
    for _ in range(2):
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + framed)
        told = json.loads(client.response().body)
        assert told["body"] == "hello world"
        assert "x-after" not in dict(told["headers"])


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    """A thousand requests in one write get a thousand responses in the order of the requests."""
    client.send(b"".join(HEAD % (b"/echo/%d" % number, b"") for number in range(1000)))
    paths = [json.loads(client.response().body)["path"] for _ in range(1000)]
    assert paths == [f"/echo/{number}" for number in range(1000)]


def test_pipelined_bodies_are_not_mixed_up(client: Client) -> None:
    """Bodies larger than every buffer, each behind a request that is not answered yet."""
    sizes = [200_000, 1, 0, 70_000, 300_000]
    for number, size in enumerate(sizes):
        client.send(
            b"POST /echo/%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (number, size)
            + bytes([65 + number]) * size
        )
    for number, size in enumerate(sizes):
        told = json.loads(client.response().body)
        assert told["path"] == f"/echo/{number}"
        assert told["body"] == chr(65 + number) * size


def test_http_1_0_is_answered_and_closed(client: Client) -> None:
    """HTTP/1.0 needs no Host, gets no chunks, and the connection closes."""
    client.send(b"GET /echo HTTP/1.0\r\n\r\n")
    response = client.response()
    assert json.loads(response.body)["http_version"] == "1.0"
    assert response.closes
    assert client.is_closed()


def start(status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> Message:
    """The first message of a response."""
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def piece(body: bytes = b"", more: bool = False) -> Message:
    """A body message of a response."""
    return {"type": "http.response.body", "body": body, "more_body": more}


LENGTH = (b"content-length", b"3")


@pytest.mark.parametrize(
    ("method", "sends", "status", "body", "framing"),
    [
        ("GET", (start(200, LENGTH), piece(b"abc")), 200, b"abc", {"content-length": "3"}),
        ("GET", (start(200), piece(b"abc")), 200, b"abc", {"content-length": "3"}),
        ("GET", (start(200), piece(b"a", True), piece(b"", True), piece(b"bc", True), piece()), 200, b"abc",
         {"transfer-encoding": "chunked"}),
        ("GET", (start(200, LENGTH), piece(b"a", True), piece(b"bc")), 200, b"abc", {"content-length": "3"}),
        ("GET", (start(200, LENGTH, (b"transfer-encoding", b"chunked")), piece(b"abc")), 200, b"abc",
         {"content-length": "3"}),
        ("HEAD", (start(200, LENGTH), piece(b"abc")), 200, b"", {"content-length": "3"}),
        ("HEAD", (start(200), piece(b"a", True), piece(b"bc")), 200, b"", {}),
        ("GET", (start(204, (b"content-length", b"0")), piece()), 204, b"", {}),
        ("GET", (start(204), piece(b"abc")), 204, b"", {}),
        ("GET", (start(304, LENGTH), piece()), 304, b"", {"content-length": "3"}),
        ("GET", (start(418), piece(b"")), 418, b"", {"content-length": "0"}),
        ("GET", (start(299), piece(b"x" * 100_000)), 299, b"x" * 100_000, {"content-length": "100000"}),
    ],
)  # fmt: skip
def test_framing_follows_the_rules(
    place: tuple[App, Served],
    method: str,
    sends: tuple[Message, ...],
    status: int,
    body: bytes,
    framing: dict[str, str],
) -> None:
    """RFC 9110 section 8.6 and RFC 9112 section 6; the request that follows shows that framing is intact."""
    app, served = place
    app.sends = sends
    with served.connect() as client:
        for _ in range(2):
            client.send(method.encode() + b" /sent HTTP/1.1\r\nHost: x\r\n\r\n")
            response = client.response(to=method)
            assert (response.status, response.body) == (status, body)
            framed = {"content-length", "transfer-encoding"} & response.headers.keys()
            assert {name: response.headers[name] for name in framed} == framing
            assert "date" in response.headers


def test_a_stream_to_http_1_0_ends_with_the_connection(place: tuple[App, Served]) -> None:
    """HTTP/1.0 knows no chunks: the end of the connection is the end of the body."""
    app, served = place
    app.sends = (start(), piece(b"a", True), piece(b"b"))
    with served.connect() as client:
        client.send(b"GET /sent HTTP/1.0\r\n\r\n")
        response = client.response()
        assert (response.body, response.closes) == (b"ab", True)
        assert "transfer-encoding" not in response.headers


def test_the_apps_own_date_is_the_only_one(place: tuple[App, Served]) -> None:
    """A response has one Date (RFC 9110 section 6.6.1)."""
    app, served = place
    app.sends = (start(200, (b"Date", b"Tue, 15 Nov 1994 08:12:31 GMT")), piece())
    with served.connect() as client:
        client.send(HEAD % (b"/sent", b""))
        assert client.response().headers["date"] == "Tue, 15 Nov 1994 08:12:31 GMT"


def test_the_app_may_ask_to_close(place: tuple[App, Served]) -> None:
    """`Connection: close` of the app is sent and kept; what is pipelined behind it is not served."""
    app, served = place
    app.sends = (start(200, (b"Connection", b"close")), piece(b"last"))
    with served.connect() as client:
        client.send(HEAD % (b"/sent", b"") + HEAD % (b"/echo", b""))
        response = client.response()
        assert response.closes
        assert client.is_closed()


def test_a_client_may_ask_to_close(client: Client) -> None:
    """The response says so, too, and further requests are not looked at (RFC 9112 section 9.6)."""
    client.send(HEAD % (b"/echo", b"Connection: close\r\n") + HEAD % (b"/echo/2", b""))
    assert client.response().closes
    assert client.is_closed()


def test_trailers_for_a_client_that_takes_them(place: tuple[App, Served]) -> None:
    """The extension is offered with `TE: trailers` only, and a trailer comes after the last chunk."""
    app, served = place
    app.sends = (
        start(200, trailers=True), piece(b"abc"),
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"6")], "more_trailers": False},
    )  # fmt: skip
    with served.connect() as client:
        client.send(HEAD % (b"/sent", b"TE: trailers\r\nConnection: TE\r\n"))
        response = client.response()
        assert (response.body, response.trailers) == (b"abc", [("x-sum", "6")])
        client.send(HEAD % (b"/echo", b"TE: trailers\r\n"))
        assert "http.response.trailers" in json.loads(client.response().body)["extensions"]
        client.send(HEAD % (b"/echo", b""))
        assert "extensions" not in json.loads(client.response().body)


# -- Expect: 100-continue


EXPECT = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"


def test_continue_is_said_when_the_app_wants_the_body(client: Client) -> None:
    """100 comes once, before the body (RFC 9110 section 10.1.1)."""
    client.send(EXPECT % b"/echo")
    assert client.response().status == 100
    client.send(b"abc")
    assert json.loads(client.response().body)["body"] == "abc"


def test_continue_is_not_said_when_the_app_does_not_want_the_body(client: Client) -> None:
    """The final response comes at once and closes: nobody knows whether the body will still come."""
    client.send(EXPECT % b"/unread")
    response = client.response()
    assert (response.status, response.closes) == (200, True)
    assert client.is_closed()


def test_continue_is_not_said_when_the_body_is_there(client: Client) -> None:
    """A client that did not wait gets the final response only."""
    client.send(EXPECT % b"/echo" + b"abc")
    assert client.response().status == 200


def test_http_1_0_gets_no_100(client: Client) -> None:
    """An expectation in HTTP/1.0 is ignored (RFC 9110 section 10.1.1)."""
    client.send((EXPECT % b"/echo").replace(b"HTTP/1.1", b"HTTP/1.0"))
    client.send(b"abc")
    assert client.response().status == 200


# -- tasks and contexts


def test_requests_do_not_see_each_others_context_variables(client: Client) -> None:
    """Each runs in a task and a context of its own, also when it was pipelined behind another."""
    client.send(HEAD % (b"/context", b"") * 3)
    assert [client.response().body for _ in range(3)] == [b"unset True"] * 3


# -- leaving clients


def test_receive_tells_that_the_client_has_left(place: tuple[App, Served]) -> None:
    """After the body, receive waits for the end of the connection."""
    app, served = place
    with served.connect() as client:
        client.send(HEAD % (b"/wait", b""))
        until(lambda: len(app.seen) == 1, "the request arrives")
    until(lambda: len(app.seen) == 2, "the app is told")
    assert app.seen[-1] == {"type": "http.disconnect"}


def test_receive_tells_that_a_body_will_not_be_complete(place: tuple[App, Served]) -> None:
    """A client that leaves within its body is a disconnect, not the end of the body."""
    app, served = place
    with served.connect() as client:
        client.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        until(lambda: len(app.seen) == 1, "the request arrives")
        assert app.seen[0]["more_body"]
    until(lambda: len(app.seen) == 3, "the app is told")
    assert app.seen[1] == app.seen[2] == {"type": "http.disconnect"}


def test_a_client_that_sends_no_more_gets_its_answers(client: Client) -> None:
    """Half-closing, as `printf … | nc` does, loses none of the responses to what was sent before."""
    client.send(HEAD % (b"/echo/1", b"") + HEAD % (b"/echo/2", b""))
    client.finish()
    assert [json.loads(one.body)["path"] for one in client.all_responses()] == ["/echo/1", "/echo/2"]


def test_after_the_response_receive_says_disconnect(place: tuple[App, Served]) -> None:
    """What the app sends after its response is its mistake, which does not reach the client."""
    app, served = place
    with served.connect() as client:
        client.send(HEAD % (b"/again", b"") + HEAD % (b"/echo", b""))
        assert client.response().body == b"ok"
        assert client.response().status == 200
    assert app.seen[0] == {"type": "http.disconnect"}
    assert "after its response was complete" in str(app.errors[0])


# -- apps that fail


@pytest.mark.parametrize("path", [b"/raise", b"/nothing", b"/wrong"])
def test_an_app_that_fails_before_its_response_is_a_500(
    client: Client, path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Problem details, one record with the stack, and a connection that lives on (Kludex/uvicorn#2375)."""
    client.send(HEAD % (path, b""))
    response = client.response()
    assert response.status == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert b"told to" not in response.body
    [record] = [one for one in caplog.records if one.name == "roadworthy.server"]
    assert record.exc_info is not None
    # It was not said that the connection closes, so it does not.
    assert not response.closes
    client.send(HEAD % (b"/echo", b""))
    assert client.response().status == 200


@pytest.mark.parametrize(
    "header",
    [
        (b"x-evil", b"a\r\nx-injected: 1"), (b"x-evil", b"a\nb"), (b"x-evil", b"a\rb"), (b"x-evil", b"a\0b"),
        (b"x-evil", b"a\x7fb"), (b"x evil", b"a"), (b"x-evil\r\nx", b"a"), (b"", b"a"), (b"x-\xff", b"a"),
        ("x-text", "a"), (b"x-text", "a"), (b"content-length", b"+3"), (b"content-length", b"3\r\nx: y"),
    ],
)  # fmt: skip
def test_a_response_head_that_is_no_head_is_a_500(
    place: tuple[App, Served], caplog: pytest.LogCaptureFixture, header: Any
) -> None:
    """Nothing is injected, the client gets a body, and the record says which field it was."""
    app, served = place
    app.sends = (start(200, header), piece(b"abc"))
    with served.connect() as client:
        client.send(HEAD % (b"/sent", b"") + HEAD % (b"/echo", b""))
        response = client.response()
        assert response.status == json.loads(response.body)["status"] == 500
        assert "x-injected" not in response.headers
        assert client.response().status == 200
    records = [one for one in caplog.records if one.name == "roadworthy.server"]
    assert len(records) == 1
    assert "response" in records[0].getMessage()


@pytest.mark.parametrize(
    "sends",
    [
        (start(200, LENGTH), piece(b"abcd")),
        (start(200, LENGTH), piece(b"ab")),
        (start(200, LENGTH, (b"content-length", b"4")), piece(b"abc")),
        (start(101), piece()),
        (start(42), piece()),
    ],
)
def test_a_response_that_contradicts_itself_is_a_500(
    place: tuple[App, Served], sends: tuple[Message, ...]
) -> None:
    """As long as nothing is sent, a wrong length or status is an error, not broken framing."""
    app, served = place
    app.sends = sends
    with served.connect() as client:
        client.send(HEAD % (b"/sent", b""))
        assert client.response().status == 500
        client.send(HEAD % (b"/echo", b""))
        assert client.response().status == 200


@pytest.mark.parametrize(
    "sends",
    [
        (start(200, LENGTH), piece(b"a", True), piece(b"bcd")),
        (start(200, LENGTH), piece(b"a", True), piece(b"b")),
        (start(200), piece(b"a", True)),
    ],
)
def test_a_response_that_breaks_off_looks_broken_off(
    place: tuple[App, Served], sends: tuple[Message, ...]
) -> None:
    """The connection ends without the last chunk or byte, which is the one sign that a client can see."""
    app, served = place
    app.sends = sends
    with served.connect() as client:
        client.send(HEAD % (b"/sent", b""))
        data = client.rest()
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert not data.endswith((b"0\r\n\r\n", b"abc"))


def test_a_response_to_http_1_0_that_breaks_off_is_reset(place: tuple[App, Served]) -> None:
    """Where the end of the connection is the end of the body, an orderly end would be a lie."""
    app, served = place
    app.sends = (start(200), piece(b"a", True))
    with served.connect() as client:
        client.send(b"GET /sent HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.read_until(b"what never comes")
