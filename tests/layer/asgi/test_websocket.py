"""WebSockets: admitted like requests, told to go when the process closes."""

import asyncio
from math import inf
from typing import Any

import pytest

from roadworthy import Layer, roadworthy
from roadworthy.patterns._request import time_left
from roadworthy.types import Headers, Message, Receive, Scope, Send
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept and send back what comes."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


class Socket:
    """One WebSocket from the client's side."""

    def __init__(self, app: Layer, headers: Headers | None = None, **more: Any) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.outbox: asyncio.Queue[Message] = asyncio.Queue()
        scope: Scope = {
            "type": "websocket",
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/ws",
            "query_string": b"",
            "headers": [(b"host", b"shop.example"), *(headers or [])],
            "client": ("127.0.0.1", 1),
            "subprotocols": [],
            "extensions": {},
            **more,
        }
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(app(scope, self.inbox.get, self.outbox.put))

    async def next(self) -> Message:
        async with asyncio.timeout(DEADLINE):
            return await self.outbox.get()


async def test_a_websocket_passes() -> None:
    """Messages go through in both directions."""
    socket = Socket(roadworthy(echo))
    assert (await socket.next())["type"] == "websocket.accept"
    socket.inbox.put_nowait({"type": "websocket.receive", "text": "hi"})
    assert (await socket.next())["text"] == "hi"
    socket.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(DEADLINE):
        await socket.task


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        (b"http://shop.example", True),
        (b"https://app.example", True),
        (b"https://evil.example", False),
        (b"null", False),
    ],
)
async def test_a_page_of_another_origin_may_not_open_one(origin: bytes, passes: bool) -> None:
    """A browser sends its cookies with any handshake, so the Origin decides (RFC 6455 §10.2)."""
    socket = Socket(roadworthy(echo, cors_origins="https://app.example"), [(b"origin", origin)])
    first = await socket.next()
    assert first["type"] == ("websocket.accept" if passes else "websocket.close")
    socket.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(DEADLINE):
        await socket.task


async def test_a_refusal_is_a_response_where_the_server_can_send_one() -> None:
    """With the extension the handshake is answered with the error's own status and shape."""
    app = roadworthy(echo, allowed_hosts="api.example")
    socket = Socket(app, extensions={"websocket.http.response": {}})
    assert (await socket.next())["status"] == 421
    assert b"MISDIRECTED_REQUEST" in (await socket.next())["body"]


async def test_handshakes_count_against_the_limit() -> None:
    """Opening WebSockets is use of the service as much as requests are."""
    app = roadworthy(echo, rate_limit="1/hour")
    first = Socket(app)
    assert (await first.next())["type"] == "websocket.accept"
    assert (await Socket(app).next())["type"] == "websocket.close"
    first.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(DEADLINE):
        await first.task


async def test_closing_ends_it_with_1012() -> None:
    """At closing the client is told, and a deaf handler is cut (micronaut-core#10656)."""
    app = roadworthy(echo, stream_grace=0.05)
    socket = Socket(app)
    await socket.next()
    app.begin_drain()
    app.begin_close()
    assert await socket.next() == {"type": "websocket.close", "code": 1012}
    async with asyncio.timeout(DEADLINE):
        await socket.task


async def test_a_failing_handler_closes_with_1011_and_is_recorded_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The client is told of a failure and not of its text; the one record has the stack."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            raise RuntimeError("canary-9")

    app = roadworthy(fail)
    socket = Socket(app)
    assert (await socket.next())["type"] == "websocket.accept"
    assert await socket.next() == {"type": "websocket.close", "code": 1011}
    async with asyncio.timeout(DEADLINE):
        await socket.task
    assert app.pass_.logging.writer.flush(5)
    records = [line for line in capfd.readouterr().out.splitlines() if "canary-9" in line]
    assert len(records) == 1
    assert '"status":101' in records[0]


async def test_a_handler_that_fails_in_the_handshake_is_a_500() -> None:
    """Nothing is open yet: the client gets a response in the common shape."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            raise RuntimeError("canary-10")

    app = roadworthy(fail)
    socket = Socket(app, extensions={"websocket.http.response": {}})
    assert (await socket.next())["status"] == 500
    assert b"canary-10" not in (await socket.next())["body"]
    async with asyncio.timeout(DEADLINE):
        await socket.task
    assert (await Socket(app).next())["type"] == "websocket.close"


@pytest.mark.parametrize("closing", [False, True])
async def test_a_handshake_that_is_not_answered_ends(closing: bool) -> None:
    """At its deadline with 504; with 503 when the process closes, for its WebSocket would close at once."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await asyncio.sleep(1000)

    app = roadworthy(silent, request_timeout=60 if closing else 0.05)
    socket = Socket(app, extensions={"websocket.http.response": {}})
    if closing:
        while not app.pass_.live:
            await asyncio.sleep(0)
        app.begin_drain()
        app.begin_close()
    assert (await socket.next())["status"] == (503 if closing else 504)
    async with asyncio.timeout(DEADLINE):
        await socket.task
    assert not app.pass_.live


async def test_an_open_websocket_outlives_the_deadline_of_requests() -> None:
    """The deadline is that of the handshake."""
    socket = Socket(roadworthy(echo, request_timeout=0.1))
    assert (await socket.next())["type"] == "websocket.accept"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(socket.task), 0.5)
    socket.inbox.put_nowait({"type": "websocket.receive", "text": "hi"})
    assert (await socket.next())["text"] == "hi"
    socket.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
    async with asyncio.timeout(DEADLINE):
        await socket.task


async def test_what_works_for_an_open_websocket_has_no_deadline() -> None:
    """Until a handler accepts, what it starts has the deadline of the handshake; afterwards it has none."""
    seen: list[float] = []

    async def asking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            seen.append(time_left())
            await send({"type": "websocket.accept"})
            seen.append(time_left())

    socket = Socket(roadworthy(asking, request_timeout=60))
    async with asyncio.timeout(5):
        await socket.task
    assert 0 < seen[0] <= 60
    assert seen[1] == inf
