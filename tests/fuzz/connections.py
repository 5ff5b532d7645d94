"""Targets for connections: any bytes in any pieces, to our protocol class, alone and around the layer."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import h11
import uvicorn
from uvicorn.server import ServerState

from roadworthy.layer import Layer
from roadworthy.server.http.factory import http_protocol
from roadworthy.server.http.limits import Limits
from roadworthy.settings import load_settings
from roadworthy.types import ASGIApp, Receive, Scope, Send

from ..request_body import request_body
from .memory_transport import MemoryTransport, converse
from .target import Pieces, Target

__all__ = ("TARGETS",)

_LIMITS = Limits(header_limit=1000, url_limit=200)
_ONE_BY_ONE = 200
"""Bytes that are also sent one by one: several requests, and few enough for many inputs a second."""
_REFUSALS = {400, 413, 414, 417, 421, 426, 431, 501, 505}
"""What a server may answer to bytes alone (RFC 9110 §15, RFC 9112): of the class 5xx, what the client asked
for and no server has to know."""

Seen = tuple[str, str, bytes]
"""Method, target and body of a request."""


class _Problems(logging.Handler):
    """Keeps what the server reports of itself: nothing that a client sends is a reason to."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@dataclass(slots=True)
class _Service:
    """An app on our protocol class, without a listener."""

    app: ASGIApp
    ws: Any = "none"
    limits: Limits = _LIMITS
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    problems: _Problems = field(default_factory=_Problems)
    config: uvicorn.Config = field(init=False)

    def __post_init__(self) -> None:
        self.loop.set_exception_handler(lambda _, context: self.problems.found.append(str(context)))
        refusals = self.app.refusals if isinstance(self.app, Layer) else None
        self.config = uvicorn.Config(
            self.app, http=http_protocol(self.limits, refusals), ws=self.ws, lifespan="off", log_config=None
        )
        self.config.load()

    def hear(self, pieces: Sequence[bytes], turns: int = 1) -> MemoryTransport:
        """Let a client say this; nothing may be left of it, and nothing be reported."""
        self.problems.found.clear()
        state = ServerState()
        logger = logging.getLogger("roadworthy.server")
        logger.addHandler(self.problems)
        try:
            transport = self.loop.run_until_complete(self._converse(state, pieces, turns))
        finally:
            logger.removeHandler(self.problems)
        assert self.problems.found == []
        assert state.connections == set()
        assert state.tasks == set()
        return transport

    async def _converse(self, state: ServerState, pieces: Sequence[bytes], turns: int) -> MemoryTransport:
        made: Any = self.config.http_protocol_class
        protocol = made(config=self.config, server_state=state, app_state={}, _loop=self.loop)
        return await converse(protocol, pieces, turns, state.tasks)


_seen: list[Seen] = []
_without_host: list[Scope] = []
"""Requests of HTTP/1.1 with none or several, which RFC 9112 §3.2 has answered with 400."""


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body, note the request, and answer without a body."""
    if scope["type"] == "websocket":
        await _echo(receive, send)
        return
    body = await request_body(receive)
    if body is None:
        return
    if scope["http_version"] == "1.1" and [name for name, _ in scope["headers"]].count(b"host") != 1:
        _without_host.append(scope)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    _seen.append((scope["method"], target.decode("latin-1"), body))
    try:
        raise LookupError("handled by the app")
    except LookupError:
        # As error middleware does: what comes next on the connection is then read inside of this block.
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text") or ""})


def _statuses(sent: bytes) -> list[int]:
    """Read what the server has sent, framing and all: 204 and 100 have no body, what refuses is the last."""
    found: list[int] = []
    while sent:
        head, end, sent = sent.partition(b"\r\n\r\n")
        assert end, "a head without its end"
        line, *fields = head.split(b"\r\n")
        assert line.startswith(b"HTTP/1.1 ")
        found.append(int(line[9:12]))
        if found[-1] not in (100, 204):
            values = {name.lower(): value for name, _, value in (one.partition(b": ") for one in fields)}
            assert values[b"connection"] == b"close"
            assert len(sent) in (0, int(values[b"content-length"]))
            return found
    return found


def _by_h11(data: bytes) -> list[Seen]:
    """Return the requests that h11 reads before it meets its first mistake or the end."""
    found: list[Seen] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    method, target, body = "", "", b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found
        if isinstance(event, h11.Request):
            method, target, body = event.method.decode(), event.target.decode("latin-1"), b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            found.append((method, target, body))
            status = 501 if method == "CONNECT" else 204
            connection.send(
                h11.Response(status_code=status, headers=[("content-length", "0")] * (status > 204))
            )
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return found
            connection.start_next_cycle()
        else:
            return found


_bare = _Service(_app)


def _cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(one % (len(data) + 1) for one in at), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


def connection(data: bytes) -> None:
    """The same requests are seen however the bytes are cut, as h11 sees them; all else is refused, once."""
    pieces = Pieces(data)
    turns = pieces.number(3)
    cuts = [pieces.number(256) * pieces.number(8) for _ in range(3)]
    stream = pieces.rest()
    heard: list[list[Seen]] = []
    for parts in (_cut(stream, ()), _cut(stream, cuts), _cut(stream, range(min(len(stream), _ONE_BY_ONE)))):
        _seen.clear()
        transport = _bare.hear(parts, turns)
        statuses = [status for status in _statuses(bytes(transport.written)) if status != 100]
        assert statuses.count(204) == len(_seen)
        assert set(statuses) <= {204} | _REFUSALS
        heard.append(list(_seen))
    assert heard[0] == heard[1] == heard[2], "what is seen depends on how the bytes are cut"
    assert len(heard[0]) <= stream.count(b" HTTP/1."), (
        "something is taken for a request that has no version of ours"
    )
    assert _without_host == []
    assert "CONNECT" not in [seen[0] for seen in heard[0]], (
        "2xx makes the connection a tunnel (RFC 9110 §9.3.6)"
    )
    for ours, reference in zip(heard[0], _by_h11(stream), strict=False):
        assert (ours[0], ours[2]) == (reference[0], reference[2])
        if reference[1].startswith("/"):
            path, _, query = reference[1].partition("#")[0].partition("?")
            # An empty query is none in ASGI.
            assert ours[1] == (f"{path}?{query}" if query else path)


_sockets: list[_Service] = []


def upgrade(data: bytes) -> None:
    """Whatever stands before, in and behind a request to change the protocol, nothing of it is left."""
    if not _sockets:
        _sockets.append(_Service(_app, ws="websockets-sansio"))
    pieces = Pieces(data)
    turns = pieces.number(3)
    cuts = [pieces.number(256) * pieces.number(4) for _ in range(2)]
    stream = pieces.rest()
    for parts in (_cut(stream, ()), _cut(stream, cuts)):
        sent = bytes(_sockets[0].hear(parts, turns).written)
        if sent:
            status = int(sent.removeprefix(b"HTTP/1.1 ")[:3])
            assert status in {100, 101, 204} | _REFUSALS
            # RFC 6455 §4.2.2: no change of protocol without a proof of the key.
            assert status != 101 or b"sec-websocket-accept: " in sent.lower()


async def _json(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body and answer with enough JSON to be compressed."""
    if await request_body(receive) is None:
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    )
    await send({"type": "http.response.body", "body": b'{"padding": "%s"}' % (b"x" * 600)})


_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n.*?\r\n\r\n", re.DOTALL)
_layered: list[_Service] = []


def _service() -> _Service:
    """Return the app with the layer, started with the first request; its records go to standard output."""
    if not _layered:
        settings = load_settings(
            _env_file=None, rate_limit="off", cors_origins="https://app.example", drain_delay=0, port=0
        )
        _layered.append(_Service(Layer(_json, settings)))
        _layered[0].hear([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
    return _layered[0]


def service(data: bytes) -> None:
    """With the layer around the app no bytes are answered with an error of the server's own."""
    pieces = Pieces(data)
    turns = pieces.number(3)
    stream = pieces.rest()
    transport = _service().hear(_cut(stream, (pieces.number(256), pieces.number(256))), turns)
    for head in _HEAD.finditer(bytes(transport.written)):
        status = int(head[1])
        assert status < 500 or status in _REFUSALS, head
        assert status == 100 or b"\r\nx-request-id: " in head[0].lower()


_FIELDS = (
    *(b"Host: x\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"gzip", b"Connection: "),
    *(b"close", b"keep-alive", b"Upgrade", b"Upgrade: ", b"h2c", b"websocket", b"Expect: 100-continue\r\n"),
    *(b"TE: trailers\r\n", b"Trailer: x\r\n", b"X: y\r\n", b" folded\r\n", b"\r\n", b"\n", b"\r", b"\t"),
)
_LINES = (
    *(
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST /a?b HTTP/1.1\r\nHost: x\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n",
    ),
    *(
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
    ),
    *(
        b"GET http://y/z HTTP/1.1\r\nHost: x\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/1.1\r\n",
        b" RTSP/1.0\r\n",
        b"GET /",
    ),
)
_BODIES = (
    *(b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"),
    *(b";x=y", b"0\r\nX: y\r\n\r\n", b"ffffffffffffffff", b"0" * 20, b"00003", b"+3", b"-1", b"3 "),
)
_JSON = (
    *(
        b"Content-Type: application/json\r\n",
        b"Accept-Encoding: gzip, br\r\n",
        b"Origin: https://app.example\r\n",
    ),
    *(b"Accept: text/html\r\n", b"If-None-Match: ", b"Range: bytes=0-1\r\n", b"Content-Encoding: gzip\r\n"),
    *(
        b"Access-Control-Request-Method: PUT\r\n",
        b"X-Forwarded-For: 1.2.3.4\r\n",
        b"X-Request-Id: ",
        b"{",
        b'"',
    ),
    *(
        b"Cookie: a=b\r\n",
        b"Traceparent: 00-",
        b"GET /livez",
        b"GET /readyz",
        b"GET /metrics",
        b"%00",
        b"%2e%2e/",
    ),
)
_SOCKETS = (
    *(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
    ),
    *(
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Sec-WebSocket-Version: 99\r\n",
        b"Sec-WebSocket-Key: ",
    ),
    *(b"Sec-WebSocket-Protocol: a, b\r\n", b"\x8a\x80\0\0\0\0"),
    *(
        b"\x81\x82\0\0\0\0hi",
        b"\x88\x80\0\0\0\0",
        b"\x89\x80\0\0\0\0",
        b"\x01\x81\0\0\0\0x",
        b"\x80\x81\0\0\0\0y",
    ),
    *(
        b"\x82\xfe\xff\xff",
        b"\x81\xff\0\0\0\0\xff\xff\xff\xff",
        b"\xc1\x80\0\0\0\0",
        b"\x81\x02hi",
        b"\x83\x80",
    ),
)
_LARGE = b"POST /l HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"0123456789" * 500
"""More than is parsed at once."""
_HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
_CHUNKED = b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n"
_UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"

_SHORT = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
_OPENING = _SHORT[:-2] + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
_FRAMES = b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0\x88\x80\0\0\0\0"
_TYPED = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_PREFLIGHT = (
    b"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n"
    b"Access-Control-Request-Method: PUT\r\n\r\n"
)

TARGETS = (
    Target(
        "connection",
        connection,
        [
            b"\1\5\1\x21\1\2\1" + one
            for one in (
                _HELLO * 3,
                _POST + _CHUNKED,
                _UPGRADE + _HELLO,
                b"\r\n" + _POST,
                _HELLO + _LARGE + _POST,
            )
        ],
        (*_LINES, *_FIELDS, *_BODIES, _LARGE),
        longest=256,
    ),
    Target(
        "upgrade",
        upgrade,
        [b"\1\x90\1\xa0\1" + one for one in (_OPENING + _FRAMES, _UPGRADE + _HELLO, _SHORT, _SHORT + _HELLO)],
        (*_SOCKETS, *_FIELDS, *_BODIES),
        longest=256,
    ),
    Target(
        "service",
        service,
        [b"\1\5\x21" + one for one in (_HELLO, _TYPED + _CHUNKED, _PREFLIGHT)],
        (*_LINES, *_FIELDS, *_BODIES, *_JSON),
        longest=512,
    ),
)
