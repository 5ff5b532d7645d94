"""HTTP/1.1 on one connection: our own ``asyncio.Protocol`` over llhttp, in place of uvicorn's.

Theory of operation. A connection owns a :class:`Parser`, which makes a :class:`Cycle` of each request, and a
:class:`Stream`, which has the transport. One cycle at a time runs, as a task in a context of its own. What is
pipelined behind it waits: parsed requests in a short queue, the rest as raw bytes with reading paused.

What may happen in which state, and what comes of it, is the table of ``states.py``. ``_on`` is the one place
that carries it out: it enters a state, sets its deadline, and does what the table names. :class:`Sweep` looks
at the deadlines. What is wrong with a request is told by the :class:`RefusalEncoder`.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from websockets.server import ServerProtocol

from ...errors import APIError, BadRequestError, RequestTimeoutError, UnavailableError
from ...layer import Layer
from ...settings import Settings
from ...types import ASGIApp
from ..process.uvicorn_names import Config
from ..process.uvicorn_names import State as ServerState
from ..websocket.connection import WebSocket
from .cycle import Cycle
from .parser import BETWEEN, SLICE, Parser
from .refusals import Refuser
from .shared import Shared
from .states import READING, TABLE, Action, Event, State
from .transport import Stream

__all__ = ("HttpProtocol",)

# A connection that was accepted while the listener closed gets this long to send its first byte.
_FIRST_REQUEST = 1.0
_TLS_HANDSHAKE = 0x16
# Requests in 4 KiB, at 27 bytes each; only a flood behind a body has more.
_QUEUE = 160
# What is left of a body whose response is complete is read and thrown away up to here (Go: 256 KiB), for a
# connection that lives on is worth that much.
_DRAIN = 256 << 10

_DISPENSABLE = frozenset[State](("fresh", "idle", "head", "body", "linger"))

_DATA = {state: action for state, (_, action) in TABLE["data"].items()}


class HttpProtocol(asyncio.Protocol):
    """One connection of an HTTP/1.1 server.

    Parameters:
        shared: what all connections of the listener share.
        config: uvicorn's configuration.
        server_state: what all connections of uvicorn's server share.
        app_state: the state of the lifespan, copied into each scope.
        loop: the event loop.

    Attributes:
        stream: has the transport.
        refuser: says what is said in place of the app.
        state: a column of the table.
        current: the request that is being answered.
        read_deadline: when the connection is ``late`` in this state, by the clock of the loop.
    """

    __slots__ = (
        "__weakref__",
        "_app",
        "_context",
        "_ended",  # the client sends no more
        "_late",  # a deadline of the client's has passed
        "_loop",
        "_parser",
        "_queue",  # deque[Cycle | APIError]: what comes after the current one
        "_seconds",  # dict[State, float]
        "_since",  # when the body began, later by what was spent without reading
        "_stash",  # bytes that are not parsed yet
        "_stopping",  # the server shuts down
        "current",
        "read_deadline",
        "refuser",
        "server_state",
        "shared",
        "state",
        "stream",
    )

    def __init__(
        self,
        shared: Shared,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if not config.loaded:
            config.load()
        app: ASGIApp = config.loaded_app
        self._app = app.serve if isinstance(app, Layer) else app
        self._loop = loop
        self._queue: deque[Cycle | APIError] = deque()
        self._seconds = shared.seconds
        self._since = 0.0
        self._stash = b""
        self._ended = self._late = self._stopping = False
        self.shared = shared
        self.server_state = server_state
        self.state: State = "fresh"
        self.current: Cycle | None = None
        self.read_deadline = inf
        self.refuser = Refuser(shared.refusals)
        self.stream = Stream(loop, shared.limits)
        self._parser = Parser(self, config, app_state)

    @property
    def settings(self) -> Settings | None:
        """Where the limits come from; None when they were given one by one."""
        return self.shared.settings

    # -- states

    def _on(self, event: Event) -> None:
        """Do what the table says about an event."""
        state, action = TABLE[event][self.state]
        if state is not None:
            self.state = state
            seconds = self._seconds[state]
            self.read_deadline = inf if seconds == inf else self._loop.time() + seconds
        if action is not None:
            _ACTIONS[action](self)

    def _clock(self) -> None:
        self._since = self._loop.time()

    def _shut(self) -> None:
        self.stream.shut()

    def _close(self) -> None:
        self._wake()
        self._queue.clear()
        self.stream.close()

    def _leave(self) -> None:
        self._wake()
        self._queue.clear()
        self.current = None
        self._stash = b""
        self._parser.release()
        self.server_state.connections.discard(self)
        self.shared.sweep.discard(self)

    def _wake(self) -> None:
        """Have all requests know that nothing reaches the client any more."""
        for cycle in (self.current, *self._queue):
            if isinstance(cycle, Cycle):
                cycle.leave(lost=True)

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.stream.attach(transport)
        client, server = self.stream.addresses()
        self._parser.between(client, server, "https" if self.stream.is_encrypted else "http")
        self.refuser.peer = client[0] if client else ""
        # Tasks of pipelined requests start inside of their predecessor, whose variables they must not see.
        self._context = contextvars.copy_context()
        self.server_state.connections.add(self)
        self.read_deadline = self._loop.time() + self._seconds["fresh"]
        sweep = self.shared.sweep
        sweep.add(self, self._loop)
        if not sweep.has_room(self, self._loop):
            self._answer(UnavailableError("There are too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.stream.lose()
        self._on("lost")

    def pause_writing(self) -> None:
        """The client does not take what the transport holds."""
        self.stream.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self.stream.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        action = _DATA[self.state]
        if action == "feed":
            self._feed(data)
        elif action == "keep":
            self._stash += data
            if len(self._stash) > SLICE:
                self.stream.pause()
        elif action == "discard" and self.stream.discard(len(data)):
            self._on("full")

    def eof_received(self) -> bool | None:
        """The client has closed its side. It may still wait for answers to what it has sent."""
        self._on("eof")
        return self.state != "closing" and self.state != "gone"

    def _half(self) -> None:
        """Answer what is complete; a request that will never be is dropped."""
        current = self.current
        incoming = self._parser.incoming
        if current is None or incoming is current or not self.stream.can_shut():
            self._on("over")
            return
        if incoming is not None:
            self._queue.pop()
            self._parser.incoming = None
        self._ended = True
        for cycle in (current, *self._queue):
            if isinstance(cycle, Cycle):
                cycle.leave(lost=False)

    def _hold(self) -> None:
        self.stream.pause()

    # -- reading

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        if self.state == "fresh":
            data = parser.first(data)
            if data and data[0] == _TLS_HANDSHAKE:
                # Whatever is answered in clear text is noise to this client.
                self.refuser.refused(BadRequestError("A TLS handshake came to a port that speaks plain HTTP"))
                self._on("over")
                return
        while data:
            data = parser.feed(data)
            if parser.handshake:
                self._take_handshake(data)
                return
            if data:
                if self._queue:
                    self._stash = data
                    self.stream.pause()
                    parser.look_again()
                    self._on("held")
                    return
                # Between the pieces as well: a read of 256 KiB holds 65,000 fields.
                if parser.is_flooded():
                    break
        event = parser.event
        if event is not None:
            parser.event = None
            self._on(event)
        if self.state != "busy" or self.current is None or parser.refusal is not None:
            self._look_over()

    def _look_over(self) -> None:
        """Do what is to be done about what was parsed, where that is more than to wait for the answer."""
        parser = self._parser
        if parser.is_flooded():
            refusal = parser.take_refusal()
            assert refusal is not None
            self._refuse(refusal)
        elif self.state == "busy":
            # Its response was complete before its body.
            self._rest()
        elif self.state == "body" and self.current is None and parser.drained > _DRAIN:
            self._finish()

    def _take_handshake(self, data: bytes) -> None:
        """Have the app answer a handshake; what came behind it waits until it has."""
        parser = self._parser
        cycle = parser.incoming
        assert cycle is not None
        parser.end_at_handshake()
        self._stash = data
        if len(data) > SLICE:
            self.stream.pause()
        self._on("whole")
        self.begin(cycle)

    def _unstash(self) -> None:
        if self._stash and sys.exception() is not None:
            # An app that answers inside of an except block: Python hangs its exception on what the parser
            # raises, where the cause of a refusal is looked for.
            self._loop.call_soon(self._unstash_later, context=self._context)
            return
        data, self._stash = self._stash, b""
        self._resume()
        if data:
            self._feed(data)
        if self._ended and self.current is None and self.state in READING:
            self._on("over")

    def _unstash_later(self) -> None:
        """Do it, unless what has happened since does it in its turn, or nothing more is read."""
        if self.state in READING and not self._queue and (self.current is None or self._parser.at != BETWEEN):
            self._unstash()

    def _resume(self) -> None:
        # The client is not at fault as long as we do not read.
        self._since += self.stream.resume()

    def resume_body(self, cycle: Cycle) -> None:
        """Read on: the app has taken what was buffered of the body."""
        if not self.stream.reading and self._parser.incoming is cycle and not self._stash:
            self._resume()

    # -- requests in turn

    def begin(self, cycle: Cycle) -> None:
        """Answer a request; none is being answered."""
        self.current = cycle
        if self._stopping:
            cycle.keep_alive = False
        if self._ended:
            cycle.leave(lost=False)
        task = cycle.task = self._loop.create_task(cycle.run(self._app), context=self._context.copy())
        self.server_state.tasks.add(task)

    def line_up(self, cycle: Cycle) -> None:
        """Answer a request after those before it.

        Raises:
            UnavailableError: there are too many.
        """
        if len(self._queue) >= _QUEUE:
            raise UnavailableError("Too many requests are waiting on this connection")
        self._queue.append(cycle)

    def finished(self, cycle: Cycle) -> None:
        """Go on after a complete response."""
        self.server_state.total_requests += 1
        if cycle is not self.current:
            return
        self.current = None
        state = self.state
        if not cycle.keep_alive:
            if state in READING:
                self._end_behind_a_response()
            elif state == "deaf":
                self._finish()
        elif self._queue:
            self._next()
        elif state == "busy":
            if self._parser.at == BETWEEN:
                self._rest()
            else:
                self._unstash()
        elif state == "deaf":
            # What came behind this request could not be read.
            self._finish()
        elif state in READING and self._parser.incoming is cycle:
            cycle.parts.clear()
            self._parser.drained = 0
            self._unstash()
        elif self._ended:
            self._on("over")

    def _next(self) -> None:
        following = self._queue.popleft()
        if isinstance(following, APIError):
            self._answer(following)
        elif self._stopping:
            self._answer(UnavailableError("This server is shutting down"))
        else:
            self.begin(following)
            if not self._queue and self._parser.at != BETWEEN:
                # The rest of a request is among the bytes that wait: the body of this one, or the next head.
                self._unstash()

    def _rest(self) -> None:
        """Wait for the next request, unless there is something else to do first."""
        if self._stopping:
            if self._stash:
                self._answer(UnavailableError("This server is shutting down"))
            else:
                self._on("over")
        elif self._stash:
            self._unstash()
        elif self._ended:
            self._on("over")
        else:
            if not self.stream.reading:
                self._resume()
            self._on("free")

    def _end_behind_a_response(self) -> None:
        """Close, by way of lingering when the client may be sending."""
        parser = self._parser
        if (
            self.state == "body"
            or self._stash
            or self._queue
            or not self.stream.reading
            # Frames that do not wait for the answer may be on their way.
            or (parser.handshake and not self._stopping)
        ):
            self._finish()
        else:
            self._on("over")

    def _finish(self) -> None:
        """All is said: read on for a while, so that the client gets to see it."""
        self._queue.clear()
        self._stash = b""
        # One that was too slow has sent nothing that is unread, and has held the connection for long enough.
        self._on("over" if self._late or self._ended or not self.stream.can_shut() else "said")

    def must_close(self, cycle: Cycle) -> bool:
        """Tell whether a response whose head goes out now has to be the last one of the connection."""
        if self._parser.incoming is not cycle:
            return self._stopping
        if self._stopping or cycle.expects:
            # Nobody knows whether a client that waits for 100 Continue will send its body now.
            return True
        for name, value in cycle.scope["headers"]:
            if name == b"content-length":
                return int(value) - cycle.received > _DRAIN
        return False

    def drop(self, *, hard: bool) -> None:
        """Close without a complete response."""
        if hard:
            self.stream.reset()
        self._on("over")

    # -- refusing

    def _refuse(self, error: APIError) -> None:
        """Answer a request that cannot be taken, after those before it, and close."""
        cycle = self._parser.incoming
        if cycle is not None:
            self._parser.incoming = None
            if cycle is self.current:
                self._refuse_current(cycle, error)
                return
            if cycle.complete:
                self._finish()
                return
            if cycle in self._queue:
                self._queue.remove(cycle)
        if self.current is None:
            self._answer(error)
            return
        self._queue.append(error)
        self._on("broken")

    def _refuse_current(self, cycle: Cycle, error: APIError) -> None:
        """The body of the running request is not what it should be."""
        cycle.keep_alive = False
        cycle.leave(lost=False)
        if cycle.untouched:
            cycle.overrule(error, close=True)
        else:
            self._on("broken")

    def _answer(self, error: APIError) -> None:
        self.stream.write(self.refuser.answer(error, self.server_state.default_headers))
        self._finish()

    # -- WebSockets

    def become(self, frames: ServerProtocol, head: bytes) -> WebSocket:
        """Give the stream to a WebSocket, with what came behind the handshake."""
        socket = WebSocket(self.shared, self._loop, self.server_state, self.stream, frames)
        data = self._stash
        self.current = None
        self.server_state.total_requests += 1
        self._on("lost")
        self.stream.resume()
        self.stream.transport.set_protocol(socket)
        socket.begin(head, data)
        return socket

    # -- deadlines and shutdown

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self.stream.write_deadline < now and self.stream.is_stuck(now):
            self.stream.abort()
        elif self.read_deadline < now:
            self._on("late")

    def _time_out(self) -> None:
        self._late = True
        self._refuse(RequestTimeoutError("The header section was not received in time"))

    def _measure(self) -> None:
        """A body may take longer as long as it arrives, and as long as it is not read."""
        limits = self.shared.limits
        cycle = self._parser.incoming
        now = self._loop.time()
        received = cycle.received if cycle is not None else 0
        deadline = self._since + limits.body_timeout + received / limits.body_rate
        if not self.stream.reading:
            deadline = now + limits.body_timeout
        if deadline > now:
            self.read_deadline = deadline
            return
        self._late = True
        if self.current is None:
            self._finish()
        else:
            self._refuse(RequestTimeoutError("The body was not received in time"))

    def _press(self) -> None:
        if self.stream.is_stuck(self._loop.time()):
            self.stream.abort()
        else:
            self.read_deadline = self.stream.write_deadline

    def place_in_line(self, now: float) -> tuple[int, float] | None:
        """Return when its turn is to give way to a new connection, the lowest first; None for never."""
        current = self.current
        if current is None:
            # In a body, it is one whose answer is complete.
            return (0, self.read_deadline) if self.state in _DISPENSABLE else None
        if (
            self.state == "body"
            and current is self._parser.incoming
            and current.untouched
            and self.stream.reading
        ):
            behind = now - self._since > current.received / self.shared.limits.body_rate
            return (1, self.read_deadline) if behind else None
        # It may be waiting for the answer with its own side closed, and more likely it has left.
        return (2, 0.0) if self._ended else None

    def give_way(self) -> None:
        """Close, so that a new connection finds room; a client that has begun a request learns why."""
        self._on("crowded" if self.current is None or self.state == "body" else "over")

    def _squeeze(self) -> None:
        self._late = True
        self._refuse(RequestTimeoutError("The body arrives more slowly than there is room for"))

    def shutdown(self) -> None:
        """Finish what has begun and close; uvicorn calls it when it shuts down."""
        self._stopping = True
        self._on("stop")

    def _hurry(self) -> None:
        self.read_deadline = min(self.read_deadline, self._loop.time() + _FIRST_REQUEST)

    def _last(self) -> None:
        if self.current is not None and self.current.untouched:
            self.current.keep_alive = False


_ACTIONS: dict[Action, Callable[[HttpProtocol], None]] = {
    "hold": HttpProtocol._hold,
    "clock": HttpProtocol._clock,
    "shut": HttpProtocol._shut,
    "close": HttpProtocol._close,
    "leave": HttpProtocol._leave,
    "half": HttpProtocol._half,
    "timeout": HttpProtocol._time_out,
    "measure": HttpProtocol._measure,
    "press": HttpProtocol._press,
    "squeeze": HttpProtocol._squeeze,
    "hurry": HttpProtocol._hurry,
    "last": HttpProtocol._last,
}
