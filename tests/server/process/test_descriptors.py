"""Few descriptors and many who hold one: requests that are answered late, WebSockets, silent connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.patience import until

from ..service import Running, get, running
from ..slow import LIMITED
from ..websocket.frames import TEXT, Frame, frame, handshake, read_frame
from ..wire import Client, Response

LIMIT = 96
PLACES = LIMIT - LIMIT // 8
"""Descriptors that clients may take, less what the process itself has open."""
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"

APP = """
import asyncio

hold = asyncio.Event()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    if scope["path"] == "/go":
        hold.set()
    if scope["path"] == "/files":
        # What the app opens for itself, such as a pool, when clients have taken all that they may.
        files = [open("/dev/null") for _ in range(4)]
        for file in files:
            file.close()
    if scope["path"] == "/slow":
        await hold.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


@contextmanager
def limited(folder: Path) -> Iterator[tuple[Running, int, str]]:
    """Serve with few descriptors; gives the process, the public port and the operations URL."""
    (folder / "main.py").write_text(APP)
    env = {"ROADWORTHY_RATE_LIMIT": "off", "ROADWORTHY_REQUEST_TIMEOUT": "60s"}
    flags = ("run", "main:app", "--port", "0", "--ops-port", "0", "--drain-delay", "0")
    with running(*flags, cwd=folder, env=env, program=["-c", LIMITED, str(LIMIT)]) as process:
        found = process.record("listening")
        yield process, int(str(found["url"]).rpartition(":")[2]), str(found["operations_url"])


def ask(port: int, request: bytes = GET) -> Response:
    """Send a request on a connection of its own."""
    with Client(port) as client:
        client.send_some(request)
        return client.response()


@contextmanager
def crowd() -> Iterator[list[Client]]:
    """Give a list of clients, who leave at the end."""
    clients: list[Client] = []
    try:
        yield clients
    finally:
        leave(clients)


def open_websocket(port: int) -> tuple[Client, int]:
    """Open a WebSocket; return it and the status."""
    client = Client(port)
    client.send_some(handshake("/echo"))
    return client, int(client.read_until(b"\r\n\r\n").split(b" ", 2)[1])


def leave(clients: list[Client]) -> None:
    """Close them."""
    for client in clients:
        client.socket.close()


def test_requests_in_progress_leave_a_reserve(tmp_path: Path) -> None:
    """A further client is refused with 503 at once; probes are answered, and all is well when they end."""
    with limited(tmp_path) as (process, port, operations), crowd() as clients:
        # Enough for every place, whatever else the process has open; those without one are refused.
        for _ in range(LIMIT):
            client = Client(port)
            client.send_some(SLOW)
            clients.append(client)
        for _ in range(5):
            refused = ask(port)
            assert (refused.status, refused.closes) == (503, True)
            assert json.loads(refused.body)["code"] == "UNAVAILABLE"
            assert "retry-after" in dict(refused.fields)
            assert get(operations, "/livez")[0] == 200
            assert get(operations, "/metrics")[0] == 200
        assert process.process.poll() is None
        # One who had a place may still ask for more than its connection: the reserve is there for the app.
        leave(clients)
        until(lambda: ask(port).status == 200, "others are served again")
        assert ask(port, GET.replace(b"/ ", b"/files ")).status == 200
        assert ask(port, GET.replace(b"/ ", b"/go ")).status == 200
        process.signal(SIGTERM)
        assert process.exit_code() == 0


def test_websockets_leave_places_for_requests(tmp_path: Path) -> None:
    """A further WebSocket is refused with 503, requests and probes are answered, and open ones are kept."""
    with limited(tmp_path) as (process, port, operations), crowd() as clients:
        while True:
            client, status = open_websocket(port)
            if status != 101:
                client.socket.close()
                break
            clients.append(client)
        assert status == 503
        assert PLACES // 4 < len(clients) <= PLACES - PLACES // 4
        for _ in range(5):
            assert ask(port).status == 200
            assert ask(port, GET.replace(b"/ ", b"/files ")).status == 200
            assert get(operations, "/livez")[0] == 200
        for client in clients:
            client.send(frame(TEXT, b"still here"))
            assert read_frame(client) == Frame(TEXT, b"still here")
        leave(clients)

        def opens() -> bool:
            client, status = open_websocket(port)
            client.socket.close()
            return status == 101

        until(opens, "there are places again")
        process.signal(SIGTERM)
        assert process.exit_code() == 0


@pytest.mark.parametrize(
    "begun", [b"", GET[:20], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na"]
)
def test_connections_without_a_request_give_way(tmp_path: Path, begun: bytes) -> None:
    """Twice as many as there are descriptors, silent, with half a head or half a body: others are served."""
    with limited(tmp_path) as (_, port, operations), crowd() as clients:
        for _ in range(2 * LIMIT):
            client = Client(port)
            client.send_some(begun)
            clients.append(client)
            if len(clients) % 16 == 0:
                assert get(operations, "/livez")[0] == 200
        until(lambda: ask(port).status == 200, "a request is served")
