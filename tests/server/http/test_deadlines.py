"""Slow clients, idle ones and ones that do not read: each is let go at its deadline, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, cast

import pytest

from roadworthy.errors import APIError
from roadworthy.layer.exchange import Reply
from roadworthy.server.http.connection import HttpProtocol
from roadworthy.server.http.cycle import Cycle
from roadworthy.server.http.limits import Limits
from roadworthy.server.http.refusals import PlainRefusals
from roadworthy.server.http.states import STATES, State
from roadworthy.server.http.sweep import Sweep
from roadworthy.server.process.descriptors import Room
from roadworthy.types import Receive, Scope, Send
from tests.patience import DEADLINE, until

from ..wire import Client, Served, serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
QUICK = Limits(header_timeout=0.3, body_timeout=0.3, body_rate=1e6, write_timeout=0.3, keep_alive=0.3)
FAR = 600.0


class Trickle:
    """Sends a byte every few milliseconds until the server has had enough."""

    def __init__(self, client: Client, byte: bytes) -> None:
        self._client, self._byte = client, byte
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._client.socket.sendall(self._byte)
                time.sleep(0.01)
        except OSError:
            return


class Gate:
    """An app that waits for the test, wherever its path says."""

    def __init__(self) -> None:
        self.received = 0
        self.ended = 0
        self.open = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        try:
            if path == "/wait":
                while not self.open.is_set():
                    await asyncio.sleep(0.005)
            if path == "/large":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for _ in range(1000):
                    await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return
            if path == "/whole":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"x" * (64 << 20)})
                return
            if path != "/unread":
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return
                    self.received += len(message["body"])
                    if not message["more_body"]:
                        break
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
        finally:
            self.ended += 1


@contextmanager
def gate(limits: Limits) -> Iterator[tuple[Gate, Served]]:
    """Serve the app; whatever waits in it is let go at the end."""
    app = Gate()
    with serving(app, limits) as served:
        yield app, served
        app.open.set()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_connection_that_says_nothing_is_closed(loop: str) -> None:
    """Without an answer: it has asked nothing."""
    with serving(Gate(), QUICK, loop=loop) as served, served.connect() as client:  # type: ignore[arg-type]
        assert client.is_closed()


def test_a_head_that_stalls_is_408() -> None:
    """The client is told, and the connection closes."""
    with gate(QUICK) as (_, served), served.connect() as client:
        client.send(GET[:20])
        response = client.response()
        assert (response.status, response.closes) == (408, True)
        assert client.is_closed()


def test_a_head_that_trickles_is_408(caplog: pytest.LogCaptureFixture) -> None:
    """Each byte does not begin the deadline anew (Kludex/uvicorn#160)."""
    with gate(QUICK) as (_, served), served.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nX: ")
        Trickle(client, b"a")
        assert client.response().status == 408


def test_empty_lines_do_not_keep_a_connection() -> None:
    """White space before a request is no request."""
    with gate(QUICK) as (_, served), served.connect() as client:
        client.send(b"\r\n")
        assert client.is_closed()


def test_a_body_that_stalls_is_408() -> None:
    """The app is told that the client is gone, and its own answer does not come second."""
    with gate(QUICK) as (app, served), served.connect() as client:
        client.send(POST % 10 + b"abc")
        [response] = client.all_responses()
        assert (response.status, response.closes) == (408, True)
        until(lambda: app.ended == 1, "the app ends")


def test_a_body_that_trickles_is_408() -> None:
    """A byte now and then is below the minimum rate (yesodweb/wai#418)."""
    with gate(QUICK) as (_, served), served.connect() as client:
        client.send(POST % 100_000)
        Trickle(client, b"a")
        assert client.response().status == 408


def test_a_body_that_keeps_the_rate_may_take_longer() -> None:
    """The deadline is extended by what arrives: ten times the body's time, at ten times the least rate."""
    limits = Limits(body_timeout=0.1, body_rate=100.0)
    with gate(limits) as (app, served), served.connect() as client:
        client.send(POST % 1000)
        begun = time.monotonic()
        for at in range(100):
            client.send(b"x" * 10)
            until(lambda at=at: app.received >= 10 * (at + 1), "the piece arrives")  # type: ignore[misc]
            if time.monotonic() - begun < 1.0:
                time.sleep(0.005)
        assert client.response().status == 200
        assert time.monotonic() - begun > 0.3


def test_a_client_is_not_blamed_for_an_app_that_does_not_read() -> None:
    """While reading is paused for the app's sake, the body's clock stands still."""
    limits = Limits(body_timeout=0.3, body_rate=1e9)
    with gate(limits) as (app, served), served.connect() as client:
        size = 8 << 20
        client.send((POST % size).replace(b"POST / ", b"POST /wait "))
        sender = threading.Thread(target=client.send, args=(b"x" * size,), daemon=True)
        sender.start()
        until(lambda: served.tasks == 1, "the request begins")
        end = time.monotonic() + 1.0
        until(lambda: time.monotonic() > end, "several deadlines pass")
        app.open.set()
        assert client.response().status == 200
        assert app.received == size


def test_a_body_that_nobody_reads_stays_with_the_client() -> None:
    """Back-pressure: some buffers fill, and then sending blocks (kernel buffers included, under 16 MiB)."""
    with gate(Limits()) as (app, served), served.connect() as client:
        client.send((POST % (1 << 30)).replace(b"POST / ", b"POST /wait "))
        client.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += client.socket.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 16 << 20
        [connection] = served.server.server_state.connections
        assert isinstance(connection, HttpProtocol)
        cycle = connection.responses.current
        assert isinstance(cycle, Cycle)
        assert cycle.buffered < 1 << 20
        client.reset()
        app.open.set()


def test_an_idle_connection_is_closed() -> None:
    """After keep_alive seconds without a request, without a word."""
    with gate(Limits(keep_alive=0.2)) as (_, served), served.connect() as client:
        client.send(GET)
        assert client.response().status == 200
        assert client.is_closed()


def test_a_request_in_progress_has_no_deadline_here() -> None:
    """How long an app may take is not the protocol's matter; the client's part is complete."""
    with gate(QUICK) as (app, served), served.connect() as client:
        client.send(GET.replace(b" / ", b" /wait "))
        end = time.monotonic() + 0.8
        until(lambda: time.monotonic() > end, "every deadline passes")
        app.open.set()
        assert client.response().status == 200


def test_requests_that_wait_behind_others_have_no_deadline() -> None:
    """All were sent at once; that their turn comes late is not the client's fault."""
    with gate(QUICK) as (app, served), served.connect() as client:
        client.send(GET.replace(b" / ", b" /wait ") + GET * 1000)
        until(lambda: served.tasks == 1, "the first begins")
        end = time.monotonic() + 0.8
        until(lambda: time.monotonic() > end, "every deadline passes")
        app.open.set()
        assert [client.response().status for _ in range(1001)] == [200] * 1001


@pytest.mark.parametrize("path", [b"/large", b"/whole"])
def test_a_client_that_does_not_read_is_cut(path: bytes) -> None:
    """The app waits in send instead of filling memory, and ends when the connection does."""
    with gate(QUICK) as (app, served), served.connect(receive_buffer=4096) as client:
        client.send(GET.replace(b" / ", b" " + path + b" "))
        until(lambda: app.ended == 1 and served.connections == 0, "the connection is cut")


def test_a_client_that_reads_slowly_but_steadily_is_not_cut() -> None:
    """What counts is that it takes something, not that it takes all of it in time."""
    limits = Limits(write_timeout=0.2, write_rate=1000.0)
    with gate(limits) as (_, served), served.connect(receive_buffer=65536) as client:
        client.send(GET.replace(b" / ", b" /large "))
        begun = time.monotonic()
        got = 0
        while data := client.socket.recv(1 << 20):
            got += len(data)
            if data.endswith(b"0\r\n\r\n"):
                break
            if time.monotonic() - begun < 1.0:
                time.sleep(0.02)
        assert got > 1000 * 65536


def test_many_slow_connections_do_not_keep_a_good_one_out() -> None:
    """Three hundred stalled heads and bodies: good requests are answered, and the slow ones go."""
    with gate(QUICK) as (_, served), ExitStack() as clients:
        # On a slow machine the last one connects long before it sends.
        served.protocol.shared.seconds["fresh"] = FAR
        slow = [clients.enter_context(served.connect()) for _ in range(300)]
        for number, client in enumerate(slow):
            client.send(GET[:10] if number % 2 else POST % 10)
        for _ in range(20):
            with served.connect() as good:
                good.send(GET)
                assert good.response().status == 200
        until(lambda: served.connections == 0, "the slow ones are gone")
        for client in slow:
            assert client.response().status == 408


class HeldUp(PlainRefusals):
    """Holds the event loop up, within a refusal, until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.end = threading.Event()

    def refused(self, error: APIError, peer: str) -> Reply:
        """Hold it up the first time."""
        if not self.begun.is_set():
            self.begun.set()
            self.end.wait(DEADLINE)
        return super().refused(error, peer)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("before", "state", "after"),
    [
        (b"", "fresh", GET),
        (GET[:20], "head", GET[20:]),
        (POST % 3 + b"a", "body", b"bc"),
        (GET, "idle", GET),
    ],
)
def test_a_loop_that_was_held_up_does_not_count_against_its_clients(
    loop: Literal["asyncio", "uvloop"], before: bytes, state: State, after: bytes
) -> None:
    """What arrived while nobody read arrived in time: it is answered, not refused and not reset."""
    holding = HeldUp()
    with serving(Gate(), QUICK, holding, loop=loop) as served:
        served.protocol.shared.seconds = dict.fromkeys(STATES, FAR)
        with served.connect() as good, served.connect() as bad:
            until(lambda: served.connections == 2, "both are there")
            good.send(before)
            if before == GET:
                assert good.response().status == 200
            until(lambda: _in_state(served, state) == (2 if state == "fresh" else 1), "it has come so far")
            bad.send(b"BAD\r\n\r\n")
            assert holding.begun.wait(DEADLINE)
            good.send(after)
            end = time.monotonic() + 2 * QUICK.body_timeout
            until(lambda: time.monotonic() > end, "the deadline of the body passes")
            for one in served.server.server_state.connections:
                cast(HttpProtocol, one).read_deadline = 0.0
            holding.end.set()
            assert good.response().status == 200


def _in_state(served: Served, state: State) -> int:
    connections = list(served.server.server_state.connections)
    return sum(isinstance(one, HttpProtocol) and one.state == state for one in connections)


def test_a_new_connection_takes_the_place_of_the_one_that_waited_longest() -> None:
    """Where there is no room for one more; a request in progress and a later connection are left alone."""
    with gate(Limits()) as (app, served):
        served.protocol.shared.sweep = Sweep(Limits(), Room(connections=3))
        with served.connect() as busy, served.connect() as first, served.connect() as second:
            busy.send(GET.replace(b" / ", b" /wait "))
            until(lambda: served.tasks == 1, "the request begins")
            for count, client in enumerate((first, second), 1):
                client.send(GET[:10])
                until(lambda count=count: _in_state(served, "head") == count, "the head begins")  # type: ignore[misc]
            with served.connect() as fresh:
                fresh.send(GET)
                assert fresh.response().status == 200
            assert [one.status for one in first.all_responses()] == [408]
            second.send(GET[10:])
            assert second.response().status == 200
            app.open.set()
            assert busy.response().status == 200


# -- responses that must arrive although the client is still sending


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n", b"POST /unread HTTP/1.1\r\nHost: x\r\n"]
)
def test_an_early_answer_is_readable_behind_a_large_body(head: bytes, loop: str) -> None:
    """A client that sends all before it reads gets the answer, not a reset (RFC 9112 section 9.6)."""
    with serving(Gate(), Limits(), loop=loop) as served, served.connect() as client:  # type: ignore[arg-type]
        client.send(head + b"Content-Length: %d\r\n\r\n" % (8 << 20))
        client.send(b"x" * (8 << 20))
        response = client.response()
        assert response.status == (200 if b"unread" in head else 400)
        assert response.closes
        assert client.is_closed()


def test_a_body_without_end_is_not_read_for_ever() -> None:
    """Lingering is bounded in bytes; a client that goes on gets a reset."""
    with gate(Limits()) as (_, served), served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.send(b"x" * (64 << 20))
        until(lambda: served.connections == 0, "the connection is gone")


def test_a_small_body_that_was_not_read_does_not_cost_the_connection() -> None:
    """What is left of it is thrown away, and the next request is understood."""
    with gate(Limits()) as (_, served), served.connect() as client:
        for _ in range(3):
            client.send((POST % 100_000).replace(b"/ ", b"/unread ", 1))
            response = client.response()
            assert not response.closes
            client.send(b"x" * 100_000)


# -- nothing is left


def test_nothing_outlives_its_connection() -> None:
    """Connections and cycles go without the collector: no reference cycle survives, no timer holds one."""
    with gate(Limits(keep_alive=FAR)) as (_, served), ExitStack() as opened:
        clients = [opened.enter_context(served.connect()) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send((GET, GET * 3, POST % 10 + b"ab", GET[:10], b"")[number % 5])
        until(lambda: served.connections == 20, "all are there")
        gone = [weakref.ref(one) for one in served.server.server_state.connections]
        gc.collect()
        gc.disable()
        try:
            for number, client in enumerate(clients):
                (client.reset if number % 2 else client.socket.close)()
            until(lambda: served.connections == 0, "all have left")
            until(lambda: served.protocol.shared.sweep.timer is None, "the one timer is gone")
            del client
            until(lambda: all(ref() is None for ref in gone), "all are freed")
        finally:
            gc.enable()


def test_aborted_connections_leave_nothing_behind() -> None:
    """A thousand connections reset at every stage of a request leave no connection and no task."""
    stages = (b"", GET[:7], GET, GET + GET[:9], POST % 5, POST % 5 + b"abc", GET.replace(b" / ", b" /large "))
    with gate(Limits(keep_alive=FAR)) as (_, served):
        for number in range(1000):
            client = served.connect()
            client.send(stages[number % len(stages)])
            client.reset()
        until(lambda: served.connections == 0 and served.tasks == 0, "all are gone")
        with served.connect() as good:
            good.send(GET)
            assert good.response().status == 200


def test_the_socket_option_of_the_harness_is_in_force() -> None:
    """The tests about clients that do not read depend on a small receive buffer."""
    with gate(QUICK) as (_, served), served.connect(receive_buffer=4096) as client:
        assert client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 65536
    assert 10 * QUICK.header_timeout < DEADLINE
