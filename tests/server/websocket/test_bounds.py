"""What WebSockets can make the process hold and do, one and all: each form of too much meets its bound."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import pytest

from roadworthy.server.http.limits import Limits
from roadworthy.server.websocket.connection import WebSocket
from roadworthy.types import Receive, Scope, Send
from tests.patience import DEADLINE, until

from ..wire import Client, Served, serving
from .frames import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Frame,
    close_code,
    frame,
    handshake,
    read_frame,
)  # fmt: skip

LIMIT = 100_000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class App:
    """Answers each message with its length; takes none at ``/deaf`` until the test says so."""

    def __init__(self) -> None:
        self.hears = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while scope["path"] == "/deaf" and not self.hears.is_set():
            await asyncio.sleep(0.005)
        while (message := await receive())["type"] == "websocket.receive":
            data = message["text"].encode() if message.get("text") is not None else message["bytes"]
            await send({"type": "websocket.send", "text": str(len(data))})


@contextmanager
def bounded(**limits: Any) -> Iterator[tuple[App, Served]]:
    """Serve the app with a small limit of messages."""
    app = App()
    with serving(app, Limits(**{"message_limit": LIMIT, **limits})) as served:
        try:
            yield app, served
        finally:
            app.hears.set()


@contextmanager
def opened(served: Served, path: str = "/echo", *more: bytes) -> Iterator[Client]:
    """Open a WebSocket."""
    with served.connect() as client:
        client.send(handshake(path, *more))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        yield client


def held(served: Served) -> int:
    """Return the bytes that all WebSockets hold."""
    return served.protocol.shared.crowd.held


def deflated(data: bytes) -> bytes:
    """Return the payload of a deflated message (RFC 7692 section 7.2.1)."""
    packer = zlib.compressobj(wbits=-12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def fragments(data: bytes, size: int) -> list[bytes]:
    """Return a message in fragments."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return [
        frame(BINARY if not number else CONT, part, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


def two_deflated(first: bytes, second: bytes) -> list[bytes]:
    """Return a message in two fragments, deflated as one."""
    packer = zlib.compressobj(wbits=-12)
    head = packer.compress(first) + packer.flush(zlib.Z_SYNC_FLUSH)
    tail = (packer.compress(second) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return [frame(BINARY, head, fin=False, deflated=True), frame(CONT, tail)]


FULL = bytes(LIMIT)
MORE = bytes(LIMIT + 1)


@pytest.mark.parametrize(
    ("pieces", "passes"),
    [
        pytest.param([frame(BINARY, FULL)], True, id="one frame"),
        pytest.param([frame(BINARY, MORE)], False, id="one frame and a byte more"),
        pytest.param([frame(BINARY, bytes(1 << 24))[:14]], False, id="a length of 16 MiB alone"),
        pytest.param(fragments(FULL, 999), True, id="fragments"),
        pytest.param(fragments(MORE, 999), False, id="fragments and a byte more"),
        pytest.param([frame(PING), *fragments(MORE, 999), frame(PING)], False, id="fragments and pings"),
        pytest.param(fragments(bytes(1 << 20), 1 << 12)[:-1], False, id="fragments without an end"),
        pytest.param([frame(BINARY, deflated(FULL), deflated=True)], True, id="deflated"),
        pytest.param([frame(BINARY, deflated(MORE), deflated=True)], False, id="deflated and a byte more"),
        pytest.param([frame(BINARY, deflated(bytes(50 << 20)), deflated=True)], False, id="a bomb"),
        pytest.param(two_deflated(FULL[1:], b"a"), True, id="deflated fragments"),
        pytest.param(two_deflated(FULL, b"a"), False, id="deflated fragments and a byte more"),
        pytest.param(two_deflated(FULL, bytes(50 << 20)), False, id="a bomb when nothing is left"),
        pytest.param(two_deflated(b"a", bytes(50 << 20)), False, id="a bomb in the second fragment"),
    ],
)  # fmt: skip
def test_a_message_has_a_limit_in_every_form(pieces: list[bytes], passes: bool) -> None:
    """RFC 6455 section 7.4.1: a message that is too big closes with 1009; one of exactly the limit passes."""
    with bounded() as (_, served):
        with opened(served, "/echo", DEFLATE) as client:
            for piece in pieces:
                client.send_some(piece)
            if passes:
                assert read_frame(client).opcode == TEXT
                client.send(frame(CLOSE, b"\x03\xe8"))
                assert close_code(client) == 1000
            else:
                assert close_code(client) == 1009
                assert client.rest() == b""
        until(lambda: served.connections == 0, "the connection ends")
        assert held(served) == 0


def test_a_bomb_is_never_inflated() -> None:
    """Four messages that would be 50 MiB each: the process grows by less than one of them."""
    bombs = [
        [frame(BINARY, deflated(bytes(50 << 20)), deflated=True)],
        two_deflated(FULL, bytes(50 << 20)),
    ] * 2
    before = _resident()
    with bounded() as (_, served):
        for bomb in bombs:
            with opened(served, "/echo", DEFLATE) as client:
                for piece in bomb:
                    client.send_some(piece)
                assert close_code(client) == 1009
        assert _resident() - before < 30 << 20


def _resident() -> int:
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, "é".encode()[:1], fin=False) + frame(CONT, b"a"), 1007),
        (frame(PING, bytes(126)), 1002),
        (frame(PING, bytes(90_000))[:14], 1002),
        (frame(PING, fin=False), 1002),
        (frame(CONT, b"a"), 1002),
        (frame(TEXT, fin=False) + frame(TEXT), 1002),
        (frame(3), 1002),
        (frame(TEXT, deflated=True), 1002),
        (b"\x81\x01a", 1002),
    ],
)
def test_what_is_not_a_message_closes_with_its_code(payload: bytes, code: int) -> None:
    """RFC 6455 section 7.4.1; with more behind it, the code still arrives."""
    with bounded() as (_, served), opened(served) as client:
        client.send_some(payload + frame(TEXT, b"a") * 1000)
        assert close_code(client) == code
        assert client.rest() == b""


@pytest.mark.parametrize("one_by_one", [False, True])
def test_frames_in_pieces_are_the_same_frames(one_by_one: bool) -> None:
    """Text split within a character, empty messages, and pings between fragments arrive as they are."""
    euro = "€".encode()
    data = b"".join(
        (
            frame(TEXT, euro[:1], fin=False), frame(PING, b"p"), frame(CONT, euro[1:]),
            frame(TEXT), frame(BINARY, bytes(126)), frame(BINARY, bytes(70_000)), frame(PONG, b"x"),
            frame(TEXT, b"z"),
        )
    )  # fmt: skip
    with bounded() as (_, served), opened(served) as client:
        if one_by_one:
            at = data.index(b"\xff" + (70_000).to_bytes(8, "big"))
            client.send_one_by_one(data[: at + 40])
            client.send(data[at + 40 : -20])
            client.send_one_by_one(data[-20:])
        else:
            client.send(data)
        found = [read_frame(client) for _ in range(6)]
        assert Frame(PONG, b"p") in found
        assert [one.data for one in found if one.opcode == TEXT] == [b"3", b"0", b"126", b"70000", b"1"]


def test_an_app_that_takes_nothing_makes_its_client_wait() -> None:
    """20 MB of small messages for it: the process holds less than a megabyte of them."""
    with bounded(buffer_limit=1 << 30) as (app, served), opened(served, "/deaf") as client:
        data = frame(TEXT, b"x" * 100) * 1000
        client.socket.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError):
            while sent < 20_000_000:
                sent += client.socket.send(data[sent % len(data) :])
        assert 0 < held(served) < 1 << 20
        client.socket.settimeout(DEADLINE)
        app.hears.set()
        client.send_some(data[sent % len(data) :])
        whole = -(-sent // (len(data) // 1000))
        for _ in range(whole):
            assert read_frame(client) == Frame(TEXT, b"100")


@pytest.mark.parametrize("patience", [60.0, 1.0])
def test_a_client_that_does_not_read_is_not_answered_without_end(patience: float) -> None:
    """Pongs for it wait up to asyncio's high-water mark; then its pings wait, and then it is cut."""
    with bounded(write_timeout=patience) as (_, served), opened(served) as client:
        client.socket.settimeout(0.5)
        data = frame(PING, bytes(125)) * 1000
        with suppress(TimeoutError, ConnectionError):
            for _ in range(300):
                client.socket.sendall(data)
        assert held(served) < 1 << 20
        connections = cast("set[WebSocket]", served.server.server_state.connections.copy())
        unsent = [one.stream.transport.get_write_buffer_size() for one in connections]
        assert all(size < 256 << 10 for size in unsent), unsent
        if patience > 1.0:
            assert len(unsent) == 1
        else:
            until(lambda: served.connections == 0, "it is cut")


def test_together_they_hold_no_more_than_their_limit() -> None:
    """The one that holds the most is closed with 1013, and the others are served."""
    with bounded(message_limit=1 << 20, buffer_limit=4 << 20) as (_, served):
        clients: list[Client] = []
        with opened(served) as small:
            small.send(frame(BINARY, bytes(1000), fin=False))
            for _ in range(12):
                client = served.connect()
                clients.append(client)
                client.send(handshake())
                client.read_until(b"\r\n\r\n")
                client.send_some(frame(BINARY, bytes(900_000), fin=False))
            until(lambda: served.connections <= 5, "some are closed")
            assert held(served) <= 4 << 20
            small.send(frame(CONT))
            assert read_frame(small) == Frame(TEXT, b"1000")
            closed = 0
            for client in clients:
                client.socket.settimeout(0.2)
                with suppress(TimeoutError):
                    assert close_code(client) == 1013
                    closed += 1
                client.socket.close()
            assert closed >= 8
        until(lambda: served.connections == 0, "they leave")
        assert held(served) == 0


def test_a_message_has_a_deadline_as_a_body_has() -> None:
    """An unfinished one is closed with 1008; one that is silent between messages is left alone."""
    with bounded(body_timeout=0.5, body_rate=1e9) as (_, served), opened(served) as idle:
        for begun in (frame(TEXT, b"abc", fin=False), frame(BINARY, bytes(1000))[:500]):
            with opened(served) as slow:
                slow.send(begun)
                assert close_code(slow) == 1008
        idle.send(frame(TEXT, b"abc"))
        assert read_frame(idle) == Frame(TEXT, b"3")


def test_a_silent_client_is_asked_and_then_closed() -> None:
    """One that answers the ping stays; the clock is the server's, moved by the test."""
    with bounded() as (_, served), opened(served) as client:

        def look(seconds: float) -> None:
            [one] = cast("set[WebSocket]", served.server.server_state.connections)
            one.expire(asyncio.get_running_loop().time() + seconds)

        loop = served.loop
        assert loop is not None
        loop.call_soon_threadsafe(look, 30.0)
        ping = read_frame(client)
        assert ping.opcode == PING
        client.send(frame(PONG, ping.data) + frame(TEXT, b"a"))
        assert read_frame(client) == Frame(TEXT, b"1")
        loop.call_soon_threadsafe(look, 60.0)
        loop.call_soon_threadsafe(look, 90.0)
        assert read_frame(client).opcode == PING
        loop.call_soon_threadsafe(look, 120.0)
        assert close_code(client) == 1011


# -- work per turn


TINY: dict[str, tuple[bytes, bytes]] = {
    "messages": (b"", frame(TEXT, b"a")),
    "empty messages": (b"", frame(BINARY)),
    "pings": (b"", frame(PING)),
    "pongs": (b"", frame(PONG)),
    "fragments": (frame(TEXT, fin=False), frame(CONT, fin=False)),
    "deflated": (b"", frame(BINARY, deflated(bytes(90_000)), deflated=True)),
}


@pytest.mark.parametrize("kind", TINY)
def test_a_flood_leaves_turns_for_others(kind: str) -> None:
    """Under floods no step of the loop takes the CPU time of more than a few dozen messages handled alone."""
    first, one = TINY[kind]
    with bounded() as (_, served):
        alone = _cost_of_one(served)
        stop = threading.Event()
        floods = [threading.Thread(target=_flood, args=(served, first, one, stop)) for _ in range(4)]
        for flood in floods:
            flood.start()
        try:
            until(lambda: served.connections >= len(floods) and held(served) > 0, "the floods begin")
            steps = _steps(served, 0.5)
            with served.connect() as client:
                client.send(GET)
                assert client.response().status == 200
        finally:
            stop.set()
            for flood in floods:
                flood.join()
        steps.sort()
        assert steps[-3] < 100 * alone, (alone, steps[-5:])


def _on_loop(served: Served, call: Callable[[], Any]) -> None:
    assert served.loop is not None
    served.loop.call_soon_threadsafe(call)


def _cost_of_one(served: Served) -> float:
    """Return the CPU seconds of one message and its answer, in the loop's thread."""
    clock: list[float] = []
    with opened(served) as client:
        for count in (50, 200):
            _on_loop(served, lambda: clock.append(time.thread_time()))
            for _ in range(count):
                client.send(frame(TEXT, b"a"))
                read_frame(client)
            _on_loop(served, lambda: clock.append(time.thread_time()))
    until(lambda: len(clock) == 4, "the clock was read")
    return (clock[3] - clock[2]) / 200


def _steps(served: Served, seconds: float) -> list[float]:
    """Return the CPU seconds of each step of the loop, for so many of them together."""
    steps: list[float] = []
    done = threading.Event()
    left = seconds

    def tick(before: float) -> None:
        nonlocal left
        now = time.thread_time()
        steps.append(now - before)
        left -= now - before
        if left < 0:
            done.set()
        else:
            asyncio.get_running_loop().call_soon(tick, now)

    _on_loop(served, lambda: tick(time.thread_time()))
    assert done.wait(120)
    return steps[1:]


def _flood(served: Served, first: bytes, one: bytes, stop: threading.Event) -> None:
    with suppress(OSError), opened(served, "/echo", DEFLATE) as client:
        data = one * max(1, (1 << 18) // len(one))
        client.socket.sendall(first)
        client.socket.setblocking(False)
        at = 0
        while not stop.is_set():
            try:
                at = (at + client.socket.send(data[at:])) % len(data)
            except BlockingIOError:
                stop.wait(0.001)
            with suppress(BlockingIOError):
                while client.socket.recv(1 << 16):
                    pass
