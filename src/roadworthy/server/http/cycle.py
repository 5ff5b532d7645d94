"""One request and its response: what an app is called with, and the framing of what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol, TypeAlias

from ...errors import APIError, UnavailableError
from ...exits import is_apps_own
from ...layer import Layer
from ...layer.exchange import ClientLeftError, InvalidResponseError, Reply, ResponseAborted
from ...settings import Settings
from ...types import ASGIApp, Headers, Message, Scope
from ..process.uvicorn_names import State
from .refusals import Refuser
from .response_head import STATUS_LINES, Head, default_fields, encode
from .transport import Stream

__all__ = ("Connection", "Cycle", "Served", "served")

# Up to here head and body are copied into one write; above, the copy costs more than a second write.
_JOIN = 64 << 10
# Seconds in which an app may notice by itself that its client has left, before its stream is ended.
_NOTICE = 1.0
_WRONG_LENGTH = "the response's body does not have the length of its Content-Length"
_HEAD, _LENGTH, _CHUNKED, _CLOSE, _NOTHING = range(5)


class Connection(Protocol):
    """What a cycle needs of the connection that it came over."""

    @property
    def stream(self) -> Stream:
        """Where the response is written to."""
        ...

    @property
    def server_state(self) -> State:
        """What all connections of uvicorn's server share."""
        ...

    @property
    def refuser(self) -> Refuser:
        """Answers in place of the app."""
        ...

    @property
    def settings(self) -> Settings | None:
        """Where its limits come from; None when they were given one by one."""
        ...

    def must_close(self, cycle: Cycle) -> bool:
        """Tell whether the response whose head goes out now has to be the last one."""
        ...

    def resume_body(self, cycle: Cycle) -> None:
        """The app has taken what was buffered of the body."""

    def finished(self, cycle: Cycle) -> None:
        """The response is complete."""

    def drop(self, *, hard: bool) -> None:
        """Close without a complete response."""


Served: TypeAlias = "Callable[[Cycle], Awaitable[None]]"
"""The app, called with a request of ours."""


def served(app: ASGIApp) -> Served:
    """Return how ``app`` is called with a request: the layer takes it as it is, others take ASGI's three."""

    def call(cycle: Cycle) -> Awaitable[None]:
        return app(cycle.scope, cycle.receive, cycle.send)

    return app.serve if isinstance(app, Layer) else call


class Cycle:
    """The ASGI side of one request.

    Parameters:
        connection: where it came from.
        scope: what the app is called with.
        keep_alive: the client lets the connection live on.
        expects: the client waits for ``100 Continue``.
    """

    __slots__ = (
        "body_timeout",  # float | None: seconds in which the route's body arrives, None for the limit of all
        "buffered",  # int: bytes of the request body that the app has not taken
        "complete",  # bool: the last byte of the response was handed to the transport
        "connection",
        "expects",
        "gone",  # bool: the client sends no more: receive says so
        "held",  # Head | None: the head waits for the first piece of the body
        "keep_alive",
        "lost",  # bool: nothing that is sent arrives any more
        "lost_at",  # float: since when, in seconds of the monotonic clock
        "news",  # asyncio.Event | None: set when receive may have something to say
        "parts",  # list[bytes]: the request body that the app has not taken
        "ready",  # bool: the whole request body is here
        "received",  # int: bytes of the request body so far
        "remaining",  # int: bytes of the response that Content-Length promises and that are not sent
        "scope",
        "sending",  # how the response is framed; _HEAD until its head is sent
        "status",  # int: status of the response, 0 before there is one
        "stream",
        "taken",  # bool: the app has the last piece of the request body
        "task",
        "trailers",  # bool: trailer fields follow the body
    )

    def __init__(self, connection: Connection, scope: Scope, keep_alive: bool, expects: bool) -> None:
        self.connection = connection
        self.stream = connection.stream
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects = expects
        self.parts: list[bytes] = []
        self.buffered = self.received = self.remaining = self.status = 0
        self.ready = self.taken = self.gone = self.lost = self.complete = self.trailers = False
        self.lost_at = 0.0
        self.body_timeout: float | None = None
        self.held: Head | None = None
        self.news: asyncio.Event | None = None
        self.sending = _HEAD
        self.task: asyncio.Task[None] | None = None

    # -- the app

    async def run(self, app: Served) -> None:
        """Call the app, and answer for it when it does not."""
        try:
            await app(self)
        except ResponseAborted as aborted:
            if self.untouched and not self.lost:
                self.overrule(APIError(), aborted.__context__)
            self._abort()
        except BaseException as exception:
            if is_apps_own(exception, self.task):
                # One that came out of an awaitable has closed the inner coroutine first, which has answered.
                if not (self.complete and isinstance(exception, GeneratorExit)):
                    self._failed(exception)
                return
            # The server's own grace is over, or the process ends.
            if self.untouched and not self.lost:
                self.overrule(UnavailableError("This server is shutting down"), close=True)
            self._abort()
            raise
        else:
            if self.gone:
                # The app heard that the client sends no more, and took it for gone; a layer has recorded it.
                self._abort()
            elif not self.complete and not self.lost:
                what = "left its response unfinished" if self.status else "returned without a response"
                self._failed(RuntimeError(f"the app {what}"))
        finally:
            if self.task is not None:
                self.connection.server_state.tasks.discard(self.task)
                self.task = None

    def _failed(self, exception: BaseException) -> None:
        if self.complete or (self.lost and isinstance(exception, OSError)):
            # What went wrong with a response that was overruled is reported already.
            if self.complete and not isinstance(exception, InvalidResponseError):
                self.connection.refuser.report(exception)
            return
        if self.untouched and not self.lost:
            self.overrule(APIError(), exception)
        else:
            self.connection.refuser.report(exception)
            self._abort()

    def _abort(self) -> None:
        if self.complete or self.lost:
            return
        # Without a length or chunks, an orderly end of the connection would pass for the end of the body.
        self.connection.drop(hard=self.sending == _CLOSE)

    def overrule(
        self, error: APIError, exception: BaseException | None = None, *, close: bool = False
    ) -> None:
        """Answer in place of the app, whose response is :attr:`untouched`; what it sends is dropped."""
        reply = self.connection.refuser.overruled(error, self.scope, exception)
        if close or self.connection.must_close(self):
            self.keep_alive = False
        self.stream.write(self._whole(reply))
        self._finish()

    def _whole(self, reply: Reply) -> bytes:
        try:
            fields, _, close, _ = encode(reply.headers)
        except InvalidResponseError:
            fields, close = b"", False
        if close:
            self.keep_alive = False
        body = b"" if self.scope.get("method") == "HEAD" else reply.body
        return b"".join(
            (
                STATUS_LINES[reply.status],
                default_fields(self.connection.server_state.default_headers, False),
                fields,
                b"content-length: %d\r\n" % len(reply.body),
                b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
                body,
            )
        )

    # -- from the client

    def feed(self, body: bytes) -> None:
        """Take a piece of the request body."""
        self.expects = False
        self.parts.append(body)
        self.buffered += len(body)
        self.received += len(body)
        if self.news is not None:
            self.news.set()

    def end(self) -> None:
        """The request body is complete."""
        self.ready = True
        if self.news is not None:
            self.news.set()

    def leave(self, *, lost: bool) -> None:
        """The client has left (``lost``), or at least sends no more."""
        self.gone = True
        if lost and not self.lost:
            self.lost = True
            self.lost_at = monotonic()
        if self.news is not None:
            self.news.set()

    async def receive(self) -> Message:
        """Give the app its next message (ASGI ``receive``)."""
        if self.expects:
            self.expects = False
            if self.sending == _HEAD and not self.gone and not self.complete:
                self.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            if not self.complete and not self.taken and (self.ready or not self.gone):
                parts = self.parts
                if parts or self.ready:
                    body = parts[0] if len(parts) == 1 else b"".join(parts)
                    self.parts = []
                    self.taken = self.ready
                    if self.buffered:
                        self.buffered = 0
                        self.connection.resume_body(self)
                    return {"type": "http.request", "body": body, "more_body": not self.ready}
            elif self.gone or self.complete:
                return {"type": "http.disconnect"}
            if self.news is None:
                self.news = asyncio.Event()
            self.news.clear()
            await self.news.wait()

    # -- towards the client

    async def send(self, message: Message) -> None:
        """Take one message of the app (ASGI ``send``)."""
        stream = self.stream
        if stream.write_paused and not self.lost:
            await stream.drain()
        if self.lost:
            if message.get("more_body") and monotonic() - self.lost_at > _NOTICE:
                # A stream that does not ask whether its client is there would go on for ever.
                raise ClientLeftError("the client has left")
            return
        kind = message["type"]
        if not self.status:
            if kind != "http.response.start":
                if self.complete:
                    return
                raise RuntimeError(f"expected the message http.response.start, and the app sent {kind}")
            self._start(message)
        elif self.complete:
            # Overruled responses say no more; one that was complete by itself says too much.
            if self.sending != _HEAD:
                raise RuntimeError(f"the app sent {kind} after its response was complete")
        elif kind == "http.response.body":
            self._body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.trailers" and self.trailers and self.sending != _HEAD:
            self._trailers(message)
        else:
            raise RuntimeError(f"the app sent {kind} within its response")

    def _start(self, message: Message) -> None:
        if self.complete:
            return
        status = message["status"]
        if status not in STATUS_LINES:
            raise InvalidResponseError(f"{status!r} is not the status of a final response, 200 to 599")
        self.held = encode(message.get("headers", ()))
        self.status = int(status)
        self.trailers = bool(message.get("trailers", False)) and self._may_have_trailers()

    def send_whole(self, status: int, headers: Headers, ready: list[bytes], body: bytes) -> bool:
        """Send a whole response at once, as the layer has it; False where that takes messages after all.

        It says what ``http.response.start`` and one ``http.response.body`` would say, without two coroutines
        and two dictionaries: a tenth of the CPU of a small response. ``ready`` are lines made by the layer.
        """
        if self.status or self.complete or self.lost or self.stream.write_paused:
            return False
        self.held = encode(headers, b"".join(ready))
        self.status = status
        self._first(body, False)
        return True

    def _may_have_trailers(self) -> bool:
        return "http.response.trailers" in (self.scope.get("extensions") or ())

    def _body(self, body: bytes, more: bool) -> None:
        sending = self.sending
        if sending == _HEAD:
            self._first(body, more)
            return
        if sending == _LENGTH:
            self.remaining -= len(body)
            if self.remaining < 0 or (self.remaining and not more):
                raise InvalidResponseError(
                    "the response's body does not have the length of its Content-Length"
                )
            if body:
                self.stream.write(body)
        elif sending == _CHUNKED:
            last = not more and not self.trailers
            chunk = _chunk(body, last)
            if chunk:
                self.stream.write(chunk)
        elif sending == _CLOSE and body:
            self.stream.write(body)
        if not more and not (self.trailers and sending == _CHUNKED):
            self._finish()

    def _first(self, body: bytes, more: bool) -> None:
        head = self.held
        assert head is not None
        status = self.status
        field_lines, length, close, dated = head
        if close:
            self.keep_alive = False
        last = not more
        if status == 204 or status == 304 or self.scope.get("method") == "HEAD":
            # RFC 9110 §8.6: no Content-Length with 204; with the others it is that of the response to a GET.
            self.sending = _NOTHING
            framing = b"" if length is None or status == 204 else b"content-length: %d\r\n" % length
            body = b""
        elif length is not None or (last and not self.trailers):
            size = len(body)
            if length is None:
                length = size
            elif size > length or (last and size != length):
                # Nothing has left: whoever sends the response may send another one.
                self.status, self.held = 0, None
                raise InvalidResponseError(_WRONG_LENGTH)
            self.sending = _LENGTH
            self.remaining = length - size
            framing = b"content-length: %d\r\n" % length
        elif self.scope["http_version"] == "1.1":
            self.sending = _CHUNKED
            framing = b"transfer-encoding: chunked\r\n"
            body = _chunk(body, last and not self.trailers)
        else:
            self.sending = _CLOSE
            self.keep_alive = False
            framing = b""
        connection = self.connection
        if not self.keep_alive or connection.must_close(self):
            self.keep_alive = False
            framing += b"connection: close\r\n\r\n"
        else:
            framing += b"\r\n"
        self.held = None
        fields = default_fields(connection.server_state.default_headers, dated)
        write = self.stream.write
        if len(body) <= _JOIN:
            write(b"".join((STATUS_LINES[status], fields, field_lines, framing, body)))
        else:
            write(b"".join((STATUS_LINES[status], fields, field_lines, framing)))
            write(body)
        if last and not (self.trailers and self.sending == _CHUNKED):
            self._finish()

    def _trailers(self, message: Message) -> None:
        if self.sending != _CHUNKED:
            return
        fields = encode(message.get("headers", ()))[0]
        if message.get("more_trailers", False):
            raise RuntimeError("trailers are taken in one message")
        self.stream.write(b"0\r\n" + fields + b"\r\n")
        self._finish()

    def _finish(self) -> None:
        self.complete = True
        if self.news is not None:
            self.news.set()
        self.connection.finished(self)

    @property
    def settings(self) -> Settings | None:
        """What the request's head was held to before it got here."""
        return self.connection.settings

    @property
    def untouched(self) -> bool:
        """Nothing of the response has been sent."""
        return self.sending == _HEAD and not self.complete


def _chunk(body: bytes, last: bool) -> bytes:
    if not body:
        return b"0\r\n\r\n" if last else b""
    return b"".join((b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n" if last else b"\r\n"))
