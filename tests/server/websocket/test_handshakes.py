"""Hand-overs to another protocol, each with bytes before, behind and in the middle: a table of all cells."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Literal

import pytest

from roadworthy.types import Receive, Scope, Send
from tests.patience import until

from ..drain import ROOT
from ..service import running
from ..wire import Client, serving
from .frames import CLOSE, KEY, TEXT, Frame, close_code, frame, handshake, read_frame

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO = frame(TEXT, b"hello")
Cell = Callable[[Client], None]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo bodies over HTTP; over a WebSocket do what the path says."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    if scope["type"] == "http":
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["method"].encode() + b" " + body})
        return
    assert (await receive())["type"] == "websocket.connect"
    match scope["path"]:
        case "/echo":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"].upper()})
        case "/refuse":
            await send({"type": "websocket.close"})
        case "/answer":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"pot"})
        case "/raise":
            raise RuntimeError("the app fails")
        case "/raise-open":
            await send({"type": "websocket.accept"})
            raise RuntimeError("the app fails")
        case "/return-open":
            await send({"type": "websocket.accept"})
        case "/silent":
            assert (await receive())["type"] == "websocket.disconnect"
            await send({"type": "websocket.close"})
        case _:
            assert scope["path"] == "/return"


def _opens(client: Client) -> None:
    head = client.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    # RFC 6455 section 1.3: the answer to this key.
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head


def _echoes(client: Client) -> None:
    assert read_frame(client) == Frame(TEXT, b"HELLO")
    client.send(frame(CLOSE, b"\x03\xe8"))
    assert close_code(client) == 1000
    assert client.is_closed()


def talks(*pieces: bytes, one_by_one: bool = False) -> Cell:
    """The pieces open a WebSocket; the last one is a frame with hello, whole or its end."""

    def run(client: Client) -> None:
        for piece in pieces[:-1] or pieces:
            (client.send_one_by_one if one_by_one else client.send)(piece)
        _opens(client)
        if len(pieces) > 1:
            client.send(pieces[-1])
        _echoes(client)

    return run


def is_answered(
    *statuses: int, sends: bytes, bodies: tuple[bytes, ...] = (), one_by_one: bool = False
) -> Cell:
    """What is sent gets these responses and nothing more; the last one closes the connection."""

    def run(client: Client) -> None:
        (client.send_one_by_one if one_by_one else client.send_some)(sends)
        found = client.all_responses()
        assert tuple(one.status for one in found) == statuses
        assert found[-1].closes
        if bodies:
            assert tuple(one.body for one in found) == bodies

    return run


def is_ignored(sends: bytes, body: bytes) -> Cell:
    """The upgrade is ignored: the request is answered, and the one behind it as well."""

    def run(client: Client) -> None:
        client.send(sends)
        response = client.response()
        assert (response.status, response.body) == (200, body)
        if not response.closes:
            client.send(GET)
            assert client.response().body == b"GET "

    return run


def another_version(client: Client) -> None:
    """RFC 6455 section 4.4: 426 names the version that is spoken; RFC 9110 section 15.5.22 wants Upgrade."""
    client.send(handshake(version=b"8"))
    [response] = client.all_responses()
    assert response.status == 426
    for field in [
        ("sec-websocket-version", "13"), ("upgrade", "websocket"),
        ("connection", "upgrade"), ("connection", "close"),
    ]:  # fmt: skip
        assert field in response.fields


def ends(path: str, code: int) -> Cell:
    """The app ends an open WebSocket."""

    def run(client: Client) -> None:
        client.send(handshake(path))
        _opens(client)
        assert close_code(client) == code

    return run


def leaves(*pieces: bytes, opened: bool = False, reset: bool = False) -> Cell:
    """The client sends some and leaves."""

    def run(client: Client) -> None:
        for piece in pieces:
            client.send(piece)
        if opened:
            _opens(client)
        if reset:
            client.reset()

    return run


CELLS: dict[str, Cell] = {
    # Bytes before, behind and in the middle
    "whole": talks(handshake(), HELLO),
    "byte by byte": talks(handshake(), HELLO, one_by_one=True),
    "frame behind": talks(handshake() + HELLO),
    "half a frame behind": talks(handshake() + HELLO[:4], HELLO[4:]),
    "behind an empty line": talks(b"\r\n" + handshake(), HELLO),
    "behind a request": is_answered(200, 400, sends=GET + handshake()),
    "behind a request, with a frame behind": is_answered(200, 400, sends=GET + handshake() + HELLO),
    "in front of a request": is_answered(403, sends=handshake("/refuse") + GET),
    # Malformed handshakes, each with a frame behind
    "no key": is_answered(400, sends=handshake(key=b"")),
    "no key, byte by byte": is_answered(400, sends=handshake(key=b""), one_by_one=True),
    "no key, a frame behind": is_answered(400, sends=handshake(key=b"") + HELLO),
    "no key, a request behind": is_answered(400, sends=handshake(key=b"") + GET),
    "no key, much behind": is_answered(400, sends=handshake(key=b"") + bytes(200_000)),
    "empty key": is_answered(400, sends=handshake(key=b"Sec-WebSocket-Key:\r\n") + HELLO),
    "short key": is_answered(400, sends=handshake(key=b"Sec-WebSocket-Key: c2hvcnQ=\r\n") + HELLO),
    "key not base64": is_answered(
        400, sends=handshake(key=b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n") + HELLO
    ),
    "key with a bit too many": is_answered(
        400, sends=handshake(key=b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n") + HELLO
    ),
    "two keys": is_answered(400, sends=handshake(key=KEY + KEY) + HELLO),
    "no version": is_answered(400, sends=handshake(version=b"") + HELLO),
    "two versions": is_answered(400, sends=handshake("/echo", b"Sec-WebSocket-Version: 13\r\n") + HELLO),
    "another version": another_version,
    "malformed extensions": is_answered(
        400, sends=handshake("/echo", b"Sec-WebSocket-Extensions: ;;=\r\n") + HELLO
    ),
    "a body": is_answered(400, sends=handshake("/echo", b"Content-Length: 5\r\n") + b"hello"),
    "a chunked body": is_answered(
        400, sends=handshake("/echo", b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n"
    ),
    # What is no handshake
    "POST": is_ignored(
        handshake("/echo", b"Content-Length: 5\r\n").replace(b"GET", b"POST", 1) + b"hello", b"POST hello"
    ),
    "HTTP/1.0": is_ignored(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), b"GET "),
    "no Connection": is_ignored(handshake().replace(b"Connection: Upgrade\r\n", b""), b"GET "),
    "h2c": is_ignored(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk\r\n\r\n", b"GET ",
    ),
    "h2c with a body": is_ignored(
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n"
        b"hello",
        b"POST hello",
    ),
    "h2c with a chunked body": is_ignored(
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n5\r\nhello\r\n0\r\n\r\n", b"POST hello",
    ),
    "content-length 0": talks(handshake("/echo", b"Content-Length: 0\r\n"), HELLO),
    "among others": talks(handshake().replace(b"Upgrade: w", b"Upgrade: h2c, W"), HELLO),
    "two Connection lines": talks(handshake("/echo", b"Connection: keep-alive\r\n"), HELLO),
    # What the app does
    "refused": is_answered(403, sends=handshake("/refuse")),
    "refused, with a frame behind": is_answered(403, sends=handshake("/refuse") + HELLO),
    "refused, with much behind": is_answered(403, sends=handshake("/refuse") + bytes(200_000)),
    "answered": is_answered(418, sends=handshake("/answer") + HELLO, bodies=(b"teapot",)),
    "the app raises": is_answered(500, sends=handshake("/raise")),
    "the app raises, with a frame behind": is_answered(500, sends=handshake("/raise") + HELLO),
    "the app returns": is_answered(500, sends=handshake("/return") + HELLO),
    "the app raises when it is open": ends("/raise-open", 1011),
    "the app returns when it is open": ends("/return-open", 1000),
    # The client leaves
    "left in the handshake": leaves(handshake()[:60]),
    "left behind the handshake": leaves(handshake("/silent")),
    "left with a frame behind": leaves(handshake("/silent") + HELLO),
    "reset behind the handshake": leaves(handshake("/silent") + HELLO, reset=True),
    "left when it is open": leaves(handshake(), opened=True),
    "left in a frame": leaves(handshake() + HELLO[:4], opened=True),
    "reset in a frame": leaves(handshake() + HELLO[:4], opened=True, reset=True),
}  # fmt: skip


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", CELLS)
def test_a_hand_over_leaves_nothing_behind(name: str, loop: Literal["asyncio", "uvloop"]) -> None:
    """The client sees what the cell says; then no connection and no task is left, and requests are served."""
    with serving(app, loop=loop) as served:
        with served.connect() as client:
            CELLS[name](client)
        until(lambda: served.connections == served.tasks == 0, "everything ends")
        assert served.protocol.shared.crowd.held == 0
        with served.connect() as client:
            client.send(GET)
            assert client.response().status == 200
        assert served.problems == []


def test_no_hand_over_ends_the_process(tmp_path: Path) -> None:
    """With EXIT_ON_UNHANDLED every cell meets one process, which then serves, and ends quickly."""
    env = {"PYTHONPATH": str(ROOT), "ROADWORTHY_EXIT_ON_UNHANDLED": "1", "ROADWORTHY_RATE_LIMIT": "off"}
    flags = ("--port", "0", "--ops-port", "0", "--drain-delay", "0")
    with running(
        "run", "tests.server.websocket.test_handshakes:app", *flags, cwd=tmp_path, env=env
    ) as process:
        port = int(str(process.record("listening")["url"]).rpartition(":")[2])
        for name, cell in CELLS.items():
            with Client(port) as client:
                cell(client)
            assert process.process.poll() is None, name
        with Client(port) as client:
            client.send(GET)
            assert client.response().status == 200
        began = time.monotonic()
        process.signal(SIGTERM)
        assert process.exit_code() == 0
        finished = process.record_of("requests finished")
        # Far below the grace of 20 s, which a connection that is left over would take.
        assert finished["seconds"] < 5.0 < 20.0
        assert time.monotonic() - began < 20.0


def test_a_handshake_that_the_app_never_answers_has_a_deadline(tmp_path: Path) -> None:
    """It is a request: 504 after `REQUEST_TIMEOUT`, and an open WebSocket has none."""
    (tmp_path / "main.py").write_text(
        "import asyncio\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'websocket':\n"
        "        await receive()\n"
        "        if scope['path'] == '/open':\n"
        "            await send({'type': 'websocket.accept'})\n"
        "        await asyncio.sleep(1000)\n"
    )
    flags = ("--port", "0", "--ops-port", "0", "--drain-delay", "0")
    env = {"ROADWORTHY_REQUEST_TIMEOUT": "0.5s", "ROADWORTHY_STREAM_GRACE": "0.2s"}
    with running("run", "main:app", *flags, cwd=tmp_path, env=env) as process:
        port = int(str(process.record("listening")["url"]).rpartition(":")[2])
        with Client(port) as opened, Client(port) as client:
            opened.send(handshake("/open"))
            _opens(opened)
            client.send(handshake("/silent") + HELLO)
            [response] = client.all_responses()
            assert (response.status, json.loads(response.body)["status"]) == (504, 504)
            with Client(port) as late:
                late.send(handshake("/silent"))
                process.signal(SIGTERM)
                # The process is about to close, or the deadline comes first on a busy machine.
                [response] = late.all_responses()
                assert response.status in (503, 504)
            assert close_code(opened) == 1012
        assert process.exit_code() == 0


def test_a_handshake_in_progress_is_answered_when_the_grace_is_over() -> None:
    """Without the layer it is the server that cancels, and the client gets 503."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(1000)

    with serving(silent) as served, served.connect() as client:
        served.config.timeout_graceful_shutdown = 1
        client.send(handshake("/"))
        until(lambda: served.tasks == 1, "the handshake begins")
        served.close()
        response = client.response()
        assert (response.status, response.closes) == (503, True)


def test_a_handshake_counts_towards_the_limit_of_connections() -> None:
    """A handshake beyond uvicorn's `limit_concurrency` is refused, and the app never hears of it."""
    with serving(app, limit_concurrency=2) as served, served.connect(), served.connect() as client:
        until(lambda: served.connections == 2, "both are there")
        client.send(handshake("/echo"))
        response = client.response()
        assert (response.status, response.closes) == (503, True)
        assert served.tasks == 0
