"""HTTP/1.1 on one connection: our own ``asyncio.Protocol`` over llhttp, in place of uvicorn's.

Theory of operation. Bytes go through llhttp, whose callbacks make one :class:`Cycle` per request. One cycle
at a time runs, as a task in a context of its own. What is pipelined behind it waits: parsed requests in a
short queue, the rest as raw bytes with reading paused. A connection is in one phase at a time:

    FRESH → HEAD → BODY → BUSY → IDLE → HEAD …   a request, its response, the next request
    any   → LINGER                                nothing more is read as a request; what comes is thrown away
    any   → CLOSING                               closed as soon as the transport has sent what it holds

The phase is that of what is being read, so HEAD and BODY may belong to a request behind the running one. Each
phase has its deadline in ``read_deadline``; a client that does not read has one in ``write_deadline``.
:class:`Sweep` looks at both. What is wrong with a request is told by the :class:`RefusalEncoder`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from math import inf
from typing import Any, ClassVar

from websockets.server import ServerProtocol

from ...errors import APIError, RequestTimeoutError, UnavailableError
from ...layer import Layer
from ...layer.exchange import Reply
from ...settings import Settings
from ...types import ASGIApp, Scope
from ..process.descriptors import Room, public_room, websocket_room
from ..process.uvicorn_names import Config, State
from ..websocket.connection import WebSocket
from ..websocket.crowd import Crowd
from .cycle import Cycle
from .limits import Limits
from .parser import Requests
from .refusals import PlainRefusals, RefusalEncoder
from .response_head import STATUS_LINES, InvalidResponseError, default_fields, encode
from .sweep import Sweep
from .transport import BODY, BUSY, CLOSING, FRESH, HEAD, IDLE, LINGER

__all__ = ("HttpProtocol", "Limits", "RefusalEncoder", "http_protocol")

# A connection that was accepted while the listener closed gets this long to send its first byte.
_FIRST_REQUEST = 1.0

_log = logging.getLogger("roadworthy.server")


class HttpProtocol(Requests):
    """One connection of an HTTP/1.1 server; :func:`http_protocol` makes it for given settings.

    Parameters:
        config: uvicorn's configuration.
        server_state: what all connections of the server share.
        app_state: the state of the lifespan, copied into each scope.
        _loop: the event loop.
    """

    refusals: ClassVar[RefusalEncoder] = PlainRefusals()
    websocket: ClassVar[type[WebSocket]] = WebSocket

    __slots__ = ("__weakref__", "_app", "_context", "_peer")

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        super().__init__(config, server_state, app_state, _loop or asyncio.get_event_loop())
        app: ASGIApp = config.loaded_app
        self._app = app.serve if isinstance(app, Layer) else app
        self._peer = ""

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        sock = transport.get_extra_info("socket")
        self._client = _address(transport, sock, "getpeername", "peername")
        self._server = _address(transport, sock, "getsockname", "sockname")
        self._peer = self._client[0] if self._client else ""
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        # Tasks of pipelined requests start inside of their predecessor, whose variables they must not see.
        self._context = contextvars.copy_context()
        self.state.connections.add(self)
        self.read_deadline = self._loop.time() + self.limits.header_timeout
        self.sweep.add(self, self._loop)
        if not self.sweep.has_room(self, self._loop):
            self._answer(UnavailableError("There are too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.state.connections.discard(self)
        self.sweep.discard(self)
        self._phase = CLOSING
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()
        for cycle in (self._current, *self._queue):
            if isinstance(cycle, Cycle):
                cycle.leave(lost=True)
        self._queue.clear()
        self._current = self._incoming = None
        self._stash = b""
        # The parser holds bound methods of this object.
        self._parser = None

    def eof_received(self) -> bool | None:
        """The client has closed its side. It may still wait for answers to what it has sent."""
        current = self._current
        if current is None or not self._transport.can_write_eof():
            return None
        if self._phase == BODY:
            if self._incoming is current:
                return None
            # A request that will never be complete, behind one that is.
            self._queue.pop()
            self._incoming = None
        self._ended = True
        for cycle in (current, *self._queue):
            if isinstance(cycle, Cycle):
                cycle.leave(lost=False)
        return True

    # -- requests in turn

    def _begin(self, cycle: Cycle) -> None:
        self._current = cycle
        if self._stopping:
            cycle.keep_alive = False
        if self._ended:
            cycle.leave(lost=False)
        task = cycle.task = self._loop.create_task(cycle.run(self._app), context=self._context.copy())
        self.state.tasks.add(task)

    def finished(self, cycle: Cycle) -> None:
        """Go on after a complete response."""
        self.state.total_requests += 1
        if cycle is not self._current:
            return
        self._current = None
        phase = self._phase
        if phase == CLOSING:
            return
        if phase == LINGER:
            # What came behind this request could not be read.
            if cycle.keep_alive and self._queue:
                self._next()
            else:
                self._linger()
        elif not cycle.keep_alive:
            if (
                phase == BODY
                or self._stash
                or self._queue
                or not self._reading
                # Frames that do not wait for the answer may be on their way.
                or (self._websocket and not self._stopping)
            ):
                self._linger()
            else:
                self._close()
        elif self._queue:
            self._next()
        elif phase == BUSY:
            self._be_idle()
        elif phase == BODY and self._incoming is cycle:
            cycle.parts.clear()
            self._drained = 0
            self._unstash()
        elif self._stash:
            self._unstash()
        elif self._ended:
            self._close()

    def _next(self) -> None:
        following = self._queue.popleft()
        if isinstance(following, APIError):
            self._answer(following)
        elif self._stopping:
            self._answer(UnavailableError("This server is shutting down"))
        else:
            self._begin(following)
            if not self._queue and self._phase != BUSY:
                # The rest of a request is among the bytes that wait: the body of this one, or the next head.
                self._unstash()

    def _unstash(self) -> None:
        if self._stash and sys.exception() is not None:
            # An app that answers inside of an except block: Python hangs its exception on what the parser
            # raises, where the cause of a refusal is looked for.
            self._loop.call_soon(self._unstash_later, context=self._context)
            return
        data, self._stash = self._stash, b""
        self._resume_reading()
        if data:
            self._feed(data)
        if self._ended and self._current is None and self._phase < LINGER:
            self._close()

    def _unstash_later(self) -> None:
        """Do it, unless what has happened since does it in its turn, or nothing more is read."""
        phase = self._phase
        if phase < LINGER and not self._queue and (self._current is None or phase != BUSY):
            self._unstash()

    def _be_idle(self) -> None:
        self._phase = IDLE
        if self._stopping:
            if self._stash:
                self._answer(UnavailableError("This server is shutting down"))
            else:
                self._close()
            return
        if self._stash:
            self._unstash()
            return
        if self._ended:
            self._close()
            return
        self._resume_reading()
        self.read_deadline = self._loop.time() + self.limits.keep_alive

    # -- refusing

    def _refuse(self, error: APIError) -> None:
        """Answer a request that cannot be taken, after those before it, and close."""
        cycle = self._incoming
        if cycle is not None and self._phase == BODY:
            self._incoming = None
            if cycle is self._current:
                self._refuse_current(cycle, error)
                return
            if cycle.complete:
                self._linger()
                return
            if cycle in self._queue:
                self._queue.remove(cycle)
        if self._current is None:
            self._answer(error)
            return
        self._queue.append(error)
        self._phase = LINGER
        self.read_deadline = inf

    def _refuse_current(self, cycle: Cycle, error: APIError) -> None:
        """The body of the running request is not what it should be."""
        cycle.keep_alive = False
        cycle.leave(lost=False)
        if cycle.untouched:
            cycle.overrule(error, close=True)
            return
        self._phase = LINGER
        self.read_deadline = inf

    def _answer(self, error: APIError) -> None:
        reply = self._encode(error)
        try:
            fields = encode(reply.headers)[0]
        except InvalidResponseError as exception:
            self.report(exception)
            fields = b""
        self.write(
            b"".join(
                (
                    STATUS_LINES[reply.status],
                    self.default_fields(False),
                    fields,
                    # RFC 9110 §7.8: who sends `Upgrade`, as 426 does, says so in `Connection`.
                    b"connection: upgrade\r\n" if reply.status == 426 else b"",
                    b"content-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body),
                    reply.body,
                )
            )
        )
        self._linger()

    def _encode(self, error: APIError) -> Reply:
        try:
            return self.refusals.refused(error, self._peer)
        except Exception as exception:
            self.report(exception)
            return Reply(error.status, [])

    def _note(self, error: APIError) -> None:
        self._encode(error)

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Encode what is answered in place of the app."""
        try:
            return self.refusals.overruled(error, scope, exception)
        except Exception as problem:
            self.report(problem)
            return Reply(error.status, [])

    def report(self, exception: BaseException) -> None:
        """Record an exception that no answer tells of."""
        _log.error("a request failed: %s", type(exception).__name__, exc_info=exception)

    def default_fields(self, dated: bool) -> bytes:
        """Return the field lines of every response: the date, and what uvicorn's configuration adds."""
        return default_fields(self.state.default_headers, dated)

    # -- WebSockets

    def become(self, frames: ServerProtocol, head: bytes) -> WebSocket:
        """Give the transport to a WebSocket, with what came behind the handshake."""
        socket = self.websocket(self._loop, self.state, frames)
        data, self._stash = self._stash, b""
        self._current = None
        self._phase = CLOSING
        self.state.total_requests += 1
        self.state.connections.discard(self)
        self.sweep.discard(self)
        # The parser holds bound methods of this object.
        self._parser = None
        transport = self._transport
        self._resume_reading()
        transport.set_protocol(socket)
        socket.connection_made(transport)
        socket.write(head)
        if data:
            socket.data_received(data)
        return socket

    # -- deadlines and shutdown

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self.write_deadline < now and self._is_stuck(now):
            self._transport.abort()
            return
        if self.read_deadline >= now:
            return
        phase = self._phase
        if phase == HEAD:
            self._late = True
            self._refuse(RequestTimeoutError("The header section was not received in time"))
        elif phase == BODY:
            self._body_is_late(now)
        elif phase == CLOSING:
            if self._is_stuck(now):
                self._transport.abort()
            else:
                self.read_deadline = self.write_deadline
        else:
            self._close()

    def give_way(self, now: float) -> None:
        """Close, so that a new connection finds room; a client that has begun a request learns why."""
        if self._phase == BODY:
            self._late = True
            self._refuse(RequestTimeoutError("The body arrives more slowly than there is room for"))
        elif self._current is not None:
            self.drop(hard=False)
        else:
            self.read_deadline = 0.0
            self.expire(now)

    def _body_is_late(self, now: float) -> None:
        limits = self.limits
        cycle = self._incoming
        received = cycle.received if cycle is not None else 0
        deadline = self._since + limits.body_timeout + received / limits.body_rate
        if deadline > now:
            self.read_deadline = deadline
            return
        self._late = True
        if self._current is None:
            self._linger()
        else:
            self._refuse(RequestTimeoutError("The body was not received in time"))

    def shutdown(self) -> None:
        """Finish what has begun and close; uvicorn calls it when it shuts down."""
        self._stopping = True
        phase = self._phase
        if phase == IDLE:
            self._close()
        elif phase == FRESH:
            self.read_deadline = min(self.read_deadline, self._loop.time() + _FIRST_REQUEST)
        elif self._current is not None and self._current.untouched:
            self._current.keep_alive = False


def http_protocol(
    settings: Settings | Limits, refusals: RefusalEncoder | None = None, room: Room | None = None
) -> type[HttpProtocol]:
    """Return the class to give to ``uvicorn.Config(http=…)``.

    Parameters:
        settings: deadlines and limits.
        refusals: encodes, records and counts what the server itself answers; problem details and records of
            the logger ``roadworthy.server`` when left out.
        room: how many connections there may be; by default as many as seven eighths of the process's
            descriptors allow.
    """
    limits = settings if isinstance(settings, Limits) else Limits.of(settings)
    shared = {
        "__slots__": (),
        "limits": limits,
        "settings": settings if isinstance(settings, Settings) else None,
        "sweep": Sweep(limits, room or public_room()),
        "crowd": Crowd(limits.buffer_limit, websocket_room()),
    }
    members = {
        **shared,
        "__doc__": HttpProtocol.__doc__,
        "refusals": refusals or PlainRefusals(),
        "websocket": type("WebSocket", (WebSocket,), {**shared, "__doc__": WebSocket.__doc__}),
    }
    return type("HttpProtocol", (HttpProtocol,), members)


def _address(
    transport: asyncio.BaseTransport, sock: Any, ask: str, name: str
) -> tuple[str, int | None] | None:
    try:
        found: Any = getattr(sock, ask)() if sock is not None else transport.get_extra_info(name)
    except OSError:
        return None
    if not isinstance(found, str):
        return (str(found[0]), int(found[1])) if found else None
    # A Unix socket: the path of ours, nothing of the client's.
    return (found, None) if found and name == "sockname" else None
