"""Shutdown, WebSockets, the layer around the app, and what uvicorn's configuration says."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from roadworthy.errors import APIError, ConflictError
from roadworthy.layer import Layer
from roadworthy.layer.asgi.refusal import Refusals
from roadworthy.server.http.limits import Limits
from roadworthy.settings import Settings
from roadworthy.types import Receive, Scope, Send
from tests.patience import DEADLINE, until

from ..wire import Served, serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Answers at once, or when the test says so; echoes over WebSockets."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.websocket(receive, send)
            return
        self.begun += 1
        if scope["path"] == "/wait":
            await self._opened()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await self._opened()
        await send({"type": "http.response.body", "body": b"z"})

    async def _opened(self) -> None:
        while not self.open.is_set():
            await asyncio.sleep(0.005)

    async def websocket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})


@contextmanager
def app_served(limits: Limits | None = None, **config: object) -> Iterator[tuple[App, Served]]:
    """Serve the app; whatever waits in it is let go at the end."""
    app = App()
    with serving(app, limits, **config) as served:  # type: ignore[arg-type]
        yield app, served
        app.open.set()


# -- one request and the next


async def _failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer inside of an except block, as error middleware does, or let the exception out."""
    while (await receive()).get("more_body"):
        continue
    if scope["path"] == "/fine":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    try:
        raise ConflictError("the matter of another request")
    except ConflictError:
        if scope["path"] == "/raises":
            raise
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        (b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", "The request is not well-formed HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n\r\n", "The Host field is missing"),
    ],
    ids=["parser", "head"],
)
@pytest.mark.parametrize(("path", "status"), [("/handles", 204), ("/raises", 500)])
def test_what_is_wrong_behind_a_failed_request_is_not_its_failure(
    path: str, status: int, broken: bytes, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception of one request is neither told to, nor recorded for, the next on the connection."""
    first = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()
    # More than is parsed at once, so that the rest waits until the first is answered.
    second = b"POST /fine HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
    with serving(_failing) as served, served.connect() as client:
        client.send(first + second + broken)
        answers = client.all_responses()
    assert [one.status for one in answers] == [status, 204, 400]
    assert json.loads(answers[-1].body)["detail"] == detail
    recorded = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(recorded) == (path == "/raises")


@pytest.mark.parametrize("then", ["junk", "flood", "silence", "eof"])
def test_what_cannot_be_read_is_refused_in_its_turn(then: str) -> None:
    """The request before it is answered first, whatever the client does and however long that takes."""
    limits = Limits(header_timeout=0.2, body_timeout=0.2, keep_alive=0.2)
    with app_served(limits) as (app, served), served.connect() as client:
        client.send(WAIT + b"BAD\r\n\r\n")
        until(lambda: app.begun == 1, "the request begins")
        if then == "junk":
            client.send(GET * 1000)
        elif then == "flood":
            client.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                client.send(b"x" * (64 << 20))
            client.socket.settimeout(DEADLINE)
        elif then == "eof":
            client.finish()
        end = time.monotonic() + 0.6
        until(lambda: time.monotonic() > end, "every deadline passes")
        app.open.set()
        first, second = client.response(), client.response()
        assert (first.status, first.closes) == (200, False)
        assert (second.status, second.closes) == (400, True)
        client.finish()
        assert client.is_closed()
        assert app.begun == 1


def test_what_cannot_be_read_is_not_answered_during_a_shutdown() -> None:
    """The request before it is the last one, and its response says so."""
    with app_served() as (app, served), served.connect() as client:
        client.send(WAIT + b"BAD\r\n\r\n")
        until(lambda: app.begun == 1, "the request begins")
        served.close()
        until(lambda: not served.server.servers[0].is_serving(), "the listener closes")
        app.open.set()
        response = client.response()
        assert (response.status, response.closes) == (200, True)
        assert client.is_closed()


# -- shutdown


def test_an_idle_connection_is_closed_at_once() -> None:
    """Nothing is in progress there."""
    with app_served() as (_, served), served.connect() as client:
        client.send(GET)
        assert client.response().status == 200
        served.close()
        assert client.is_closed()


def test_a_request_in_progress_is_finished_and_says_close() -> None:
    """Its client learns that the next connection has to be another one."""
    with app_served() as (app, served), served.connect() as client:
        client.send(WAIT)
        until(lambda: app.begun == 1, "the request begins")
        served.close()
        until(lambda: not served.server.servers[0].is_serving(), "the listener closes")
        app.open.set()
        response = client.response()
        assert (response.body, response.closes) == (b"z", True)
        assert client.is_closed()


def test_a_stream_that_has_begun_is_finished_and_closed() -> None:
    """Its head is gone already; the connection ends behind the body, and what is pipelined is told so."""
    with app_served() as (app, served), served.connect() as client:
        client.send(STREAM)
        client.read_until(b"\r\n\r\n")
        client.send(GET)
        served.close()
        until(lambda: not served.server.servers[0].is_serving(), "the listener closes")
        app.open.set()
        assert client.read_until(b"0\r\n\r\n") == b"1\r\na\r\n1\r\nz\r\n0\r\n\r\n"
        response = client.response()
        assert (response.status, response.closes) == (503, True)
        assert client.is_closed()
        assert app.begun == 1


@pytest.mark.parametrize("path", [b"/", b"/stream"])
def test_nothing_is_begun_behind_a_body_that_outlives_its_response(path: bytes) -> None:
    """When the server shuts down: a request that comes behind the body is a new one."""
    with app_served() as (app, served), served.connect() as client:
        client.send(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        if path == b"/":
            assert not client.response().closes
        else:
            client.read_until(b"\r\n\r\n")
        served.close()
        until(lambda: not served.server.servers[0].is_serving(), "the listener closes")
        if path == b"/stream":
            app.open.set()
            client.read_until(b"0\r\n\r\n")
        client.send_some(b"hello" + GET)
        assert client.is_closed()
        assert app.begun == 1


def test_a_connection_without_a_request_gets_a_moment_for_its_first() -> None:
    """It was accepted before the listener closed; its request is on its way."""
    with app_served() as (_, served), served.connect() as client, served.connect() as silent:
        until(lambda: served.connections == 2, "they are accepted")
        served.close()
        until(lambda: not served.server.servers[0].is_serving(), "the listener closes")
        client.send(GET)
        response = client.response()
        assert (response.status, response.closes) == (200, True)
        assert client.is_closed()
        assert silent.is_closed()


def test_a_request_beyond_the_grace_is_answered_before_it_is_cut() -> None:
    """uvicorn cancels it; the client of a response that has not begun gets 503 instead of nothing."""
    with app_served() as (app, served), served.connect() as client:
        served.config.timeout_graceful_shutdown = 1
        client.send(WAIT)
        until(lambda: app.begun == 1, "the request begins")
        served.close()
        response = client.response()
        assert (response.status, response.closes) == (503, True)


# -- WebSockets


def test_a_websocket_is_handed_over() -> None:
    """The connection is a WebSocket's from then on, and ends in order."""
    with app_served() as (_, served):
        with connect(f"ws://127.0.0.1:{served.port}/chat") as socket:
            socket.send("hello")
            assert socket.recv() == "HELLO"
        until(lambda: served.connections == 0, "the connection ends")


def test_deadlines_of_requests_do_not_end_a_websocket() -> None:
    """After the handshake it is no request any more."""
    quick = Limits(header_timeout=0.1, body_timeout=0.1, keep_alive=0.1)
    with app_served(quick) as (_, served), connect(f"ws://127.0.0.1:{served.port}/chat") as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.6)
        socket.send("still here")
        assert socket.recv() == "STILL HERE"


def test_a_websocket_after_a_request_on_the_same_connection() -> None:
    """A handshake may be the second request of a connection."""
    handshake = (
        b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with app_served() as (_, served), served.connect() as client:
        client.send(GET)
        assert client.response().status == 200
        client.send_one_by_one(handshake)
        head = client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        # RFC 6455 section 1.3: the answer to this key.
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head


def test_a_websocket_behind_an_unanswered_request_is_refused() -> None:
    """A client must not pipeline a handshake (RFC 6455 section 4.1 has it wait); bytes would be mixed up."""
    handshake = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with app_served() as (_, served), served.connect() as client:
        client.send(GET + handshake)
        assert client.response().status == 200
        response = client.response()
        assert (response.status, response.closes) == (400, True)


def test_without_a_websocket_implementation_a_handshake_is_a_request() -> None:
    """`ws="none"` serves it like any GET."""
    handshake = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with app_served(ws="none") as (_, served), served.connect() as client:
        client.send(handshake * 2)
        assert [client.response().status for _ in range(2)] == [200, 200]


# -- uvicorn's configuration


def test_the_ceiling_of_connections_is_503() -> None:
    """`limit_concurrency` is kept; the refusal has the shape of every other."""
    with app_served(limit_concurrency=2) as (_, served), served.connect() as client, served.connect():
        until(lambda: served.connections == 2, "both are there")
        client.send(GET)
        response = client.response()
        assert response.status == json.loads(response.body)["status"] == 503
        assert response.headers["retry-after"] == "1"


def test_default_fields_and_root_path() -> None:
    """`headers` come with every response, refusals included; `root_path` is before the path."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    with (
        serving(app, headers=[("X-Served-By", "us")], root_path="/api") as served,
        served.connect() as client,
    ):
        client.send(GET + b"nonsense\r\n\r\n")
        assert [client.response().headers["x-served-by"] for _ in range(2)] == ["us", "us"]
    assert (seen[0]["root_path"], seen[0]["path"], seen[0]["raw_path"]) == ("/api", "/api/", b"/api/")
    host, port = seen[0]["client"]
    assert (host, type(port)) == ("127.0.0.1", int)
    assert seen[0]["asgi"] == {"version": "3.0", "spec_version": "2.3"}


def test_over_tls(tls: tuple[Path, Path]) -> None:
    """The scheme is https; early answers and pipelines work where writing cannot be shut down by itself."""
    certificate, key = tls
    app = App()
    config = {"ssl_certfile": certificate, "ssl_keyfile": key}
    with serving(app, **config) as served, served.connect() as client:  # type: ignore[arg-type]
        context = ssl.create_default_context(cafile=certificate)
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        client.send(GET * 3)
        assert [client.response().status for _ in range(3)] == [200] * 3
        client.send(b"nonsense\r\n\r\n")
        assert client.response().status == 400


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_websocket_and_a_refused_one_over_tls(tls: tuple[Path, Path], loop: str) -> None:
    """With frames behind the handshake; nothing is left of either."""
    certificate, key = tls
    handshake = (
        b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n%b\r\n\x81\x82\0\0\0\0hi"
    )
    with serving(App(), loop=loop, ssl_certfile=certificate, ssl_keyfile=key) as served:  # type: ignore[arg-type]
        context = ssl.create_default_context(cafile=certificate)
        for line, status in ((b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"101"), (b"", b"400")):
            with served.connect() as client:
                client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
                client.send(handshake % line)
                assert client.read_until(b"\r\n\r\n")[9:12] == status
                if status == b"101":
                    assert client.read(4) == b"\x81\x02HI"
            until(lambda: served.connections == served.tasks == 0, "it ends")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


# -- the layer


@contextmanager
def layered(app: object, **settings: object) -> Iterator[tuple[Layer, Served]]:
    """Serve an app with the layer around it, the way a process does."""
    values = Settings(_env_file=None, **settings)
    layer = Layer(app, values)  # type: ignore[arg-type]
    layer.chain_sigterm = False
    with serving(layer, Limits.of(values), Refusals(lambda: layer.pass_)) as served:
        yield layer, served


def _status_counts(layer: Layer) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in layer.pass_.metrics.exposition().body.decode().splitlines():
        if line.startswith("http_requests_total{"):
            status = line.partition('status="')[2].partition('"')[0]
            counts[status] = counts.get(status, 0) + int(float(line.rpartition(" ")[2]))
    return counts


def test_refusals_are_told_and_counted_by_the_layer() -> None:
    """A malformed request gets the layer's shape and fields, and counts as one request."""
    with layered(App(), error_format="envelope") as (layer, served), served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        response = client.response()
        assert response.status == 400
        assert json.loads(response.body)["error"]["code"] == "BAD_REQUEST"
        assert len(response.headers["x-request-id"]) == 32
        assert response.headers["x-content-type-options"] == "nosniff"
        assert _status_counts(layer) == {"400": 1}


def test_a_forbidden_byte_in_a_response_field_is_one_500_under_the_layer() -> None:
    """The client gets a body with the request's id, and the request is counted once, as 500."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        evil = [(b"location", b"/\r\nset-cookie: session=stolen")]
        await send({"type": "http.response.start", "status": 302, "headers": evil})
        await send({"type": "http.response.body", "body": b""})

    with layered(app) as (layer, served), served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: abc\r\n\r\n")
        response = client.response()
        assert response.status == 500
        assert "set-cookie" not in response.headers
        document = json.loads(response.body)
        assert (document["status"], document["request_id"]) == (500, "abc")
        until(lambda: _status_counts(layer) == {"500": 1}, "it is counted once")


def test_a_body_that_stalls_is_one_408_under_the_layer() -> None:
    """Whichever of the two deadlines comes first: one answer, one count, and the handler ends."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with layered(app, body_timeout="200ms") as (layer, served), served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")
        [response] = client.all_responses()
        assert (response.status, response.closes) == (408, True)
        assert json.loads(response.body)["code"] == "REQUEST_TIMEOUT"
        until(lambda: _status_counts(layer) == {"408": 1}, "it is counted once")


def test_a_body_above_the_limit_is_413_while_it_is_still_sent() -> None:
    """The client sends all of it before it reads, and can read the answer (encode/starlette#2350)."""
    with layered(App(), body_limit="1KiB") as (_, served), served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n")
        client.send(b"x" * 4_000_000)
        response = client.response()
        assert (response.status, response.closes) == (413, True)
        assert client.is_closed()


def test_a_server_with_wider_limits_does_not_widen_those_of_the_layer() -> None:
    """The layer counts fields itself unless the server took its limits from the same settings."""
    layer = Layer(App(), Settings(_env_file=None, header_count=4))
    layer.chain_sigterm = False
    with serving(layer, Limits()) as served, served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\nB: c\r\nC: d\r\nD: e\r\n\r\n")
        assert client.response().status == 431


def test_an_app_that_raises_under_the_layer_keeps_the_connection() -> None:
    """The layer answers 500 itself; nothing is said or done about closing (Kludex/uvicorn#2375)."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("told to")

    with layered(app) as (layer, served), served.connect() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = client.response()
            assert (response.status, response.closes) == (500, False)
        until(lambda: _status_counts(layer) == {"500": 2}, "both are counted once")


@pytest.mark.parametrize("when", ["before the response", "within it"])
@pytest.mark.parametrize("way", ["half", "whole"])
def test_an_app_that_ends_because_its_client_has_left_is_no_failure(
    when: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One record, 499 at info: also when the client's end is seen as one of its sending alone."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if when == "within it":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    with layered(app) as (layer, served), served.connect() as client:
        hosting = layer.hosting  # built here, and not in two threads at once
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: hosting.busy, "the request is there")
        if way == "half":
            client.finish()
            client.rest()
        else:
            client.reset()
        until(lambda: _status_counts(layer) == {"499": 1}, "it is counted once")
        until(lambda: not served.connections, "the connection is over")
    assert [record.message for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


def test_a_forbidden_byte_in_an_errors_own_field_is_one_500_under_the_layer() -> None:
    """Also when it is the layer that sends the field, for an error that the app raised."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise APIError(status=409, headers={"X-Reason": "a\r\nb"})

    with layered(app) as (layer, served), served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.response().status == 500
        until(lambda: _status_counts(layer) == {"500": 1}, "it is counted once")
