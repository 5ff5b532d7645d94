"""A raw client and a served app: tests write bytes and read responses as they came, framing and all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn
import uvloop

from roadworthy.server.http.factory import HttpProtocolFactory, http_protocol
from roadworthy.server.http.limits import Limits
from roadworthy.server.http.refusals import RefusalEncoder
from roadworthy.types import ASGIApp

from ..patience import DEADLINE, until

__all__ = (
    "Client", "Closed", "Response", "Served", "expect_refusal", "parse", "serving",
)  # fmt: skip


class Closed(Exception):
    """Raised when the connection ends within a response."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it was on the wire."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]]

    @property
    def headers(self) -> dict[str, str]:
        """Fields by lower-case name; a repeated one fails the test."""
        assert len({name for name, _ in self.fields}) == len(self.fields), self.fields
        return dict(self.fields)

    @property
    def closes(self) -> bool:
        """Whether the response says that the connection will be closed."""
        return ("connection", "close") in self.fields


class Client:
    """One connection."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def send_one_by_one(self, data: bytes) -> None:
        """Send each byte in a segment of its own; stops when the server has closed."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(len(data)):
                self.socket.sendall(data[at : at + 1])

    def send_some(self, data: bytes) -> None:
        """Send bytes, as many as the server takes before it closes."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def finish(self) -> None:
        """Send no more."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a word, by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def rest(self) -> bytes:
        """Return everything until the server closes."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(1 << 16):
                self._buffer += data
        data, self._buffer = self._buffer, b""
        return data

    def is_closed(self) -> bool:
        """Wait for the end of the connection; False when something else came."""
        return self.rest() == b""

    def read_until(self, end: bytes) -> bytes:
        """Return everything up to and including ``end``."""
        while end not in self._buffer:
            data = self.socket.recv(1 << 16)
            if not data:
                raise Closed(self._buffer)
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(end)
        return head + end

    def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        while len(self._buffer) < count:
            data = self.socket.recv(1 << 16)
            if not data:
                raise Closed(self._buffer)
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def response(self, *, to: str = "GET") -> Response:
        """Read one response to a request of the method ``to``."""
        status_line, *lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = [_field(line) for line in lines]
        given = dict(fields)
        trailers: list[tuple[str, str]] = []
        if to == "HEAD" or status in ("204", "304"):
            body = b""
        elif "transfer-encoding" in given:
            assert given["transfer-encoding"] == "chunked"
            assert "content-length" not in given
            body, trailers = self._chunks()
        elif "content-length" in given:
            body = self.read(int(given["content-length"]))
        elif status == "100":
            body = b""
        else:
            body = self.rest()
        return Response(int(status), fields, body, trailers)

    def _chunks(self) -> tuple[bytes, list[tuple[str, str]]]:
        body = b""
        while size := int(self.read_until(b"\r\n"), 16):
            body += self.read(size)
            assert self.read(2) == b"\r\n"
        trailers: list[tuple[str, str]] = []
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            trailers.append(_field(line[:-2].decode("latin-1")))
        return body, trailers

    def all_responses(self) -> list[Response]:
        """Read responses until the server closes."""
        found: list[Response] = []
        while True:
            if not self._buffer:
                try:
                    self._buffer = self.socket.recv(1 << 16)
                except ConnectionResetError:
                    return found
                if not self._buffer:
                    return found
            found.append(self.response())


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(": ")
    assert colon, line
    return name.lower(), value


def parse(data: bytes) -> list[Response]:
    """Read responses out of bytes that are complete."""
    ours, theirs = socket.socketpair()
    client = Client.__new__(Client)
    client.socket = ours
    client._buffer = data
    theirs.close()
    with ours:
        return client.all_responses() if data else []


def expect_refusal(
    client: Client, status: int, *pieces: bytes, one_by_one: bool = False, after: tuple[bytes, ...] = ()
) -> None:
    """Send pieces, and expect one error in the common shape, which says that it closes and closes.

    Parameters:
        status: of the error.
        pieces: each is one write; the server may close before the last.
        one_by_one: each byte is one write.
        after: bodies of the responses that come before it.
    """
    for piece in pieces:
        (client.send_one_by_one if one_by_one else client.send_some)(piece)
    *before, refusal = client.all_responses()
    assert tuple(one.body for one in before) == after
    assert (refusal.status, refusal.closes) == (status, True)
    document = json.loads(refusal.body)
    assert document["status"] == status
    assert document["request_id"] == refusal.headers["x-request-id"]


class Served:
    """A server in a thread of its own, with a loop of its own."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        refusals: RefusalEncoder | None,
        loop: Literal["asyncio", "uvloop"],
        **config: Any,
    ) -> None:
        protocol = http_protocol(limits, refusals)
        self.protocol: HttpProtocolFactory = protocol
        self._new_loop = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self.config = uvicorn.Config(
            app, http=protocol, loop=loop, lifespan="off", log_config=None,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=5, **config,
        )  # fmt: skip
        self.server = uvicorn.Server(self.config)
        self.problems: list[dict[str, Any]] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.server.started, "the server starts")

    def _run(self) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
            await self.server.serve([self._socket])

        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(serve())

    def connect(self, *, receive_buffer: int | None = None) -> Client:
        """Open a connection."""
        return Client(self.port, receive_buffer=receive_buffer)

    @property
    def connections(self) -> int:
        """How many connections the server has."""
        return len(self.server.server_state.connections)

    @property
    def tasks(self) -> int:
        """How many requests the server is at."""
        return len(self.server.server_state.tasks)

    def close(self) -> None:
        """Begin to shut down, without waiting."""
        self.server.should_exit = True

    def stop(self) -> None:
        """Shut down."""
        self.close()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def serving(
    app: ASGIApp,
    limits: Limits | None = None,
    refusals: RefusalEncoder | None = None,
    loop: Literal["asyncio", "uvloop"] = "uvloop",
    **config: Any,
) -> Iterator[Served]:
    """Serve an app; at the end nothing may have gone wrong on the loop, and nothing may be left."""
    served = Served(app, limits or Limits(), refusals, loop, **config)
    try:
        yield served
    finally:
        served.stop()
    assert served.problems == []
    assert served.connections == 0
    assert served.tasks == 0
