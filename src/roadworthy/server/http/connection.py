"""HTTP/1.1 on one connection: our own ``asyncio.Protocol`` over llhttp, in place of uvicorn's.

Theory of operation. A connection owns a :class:`Stream`, which has the transport; a :class:`Parser`, which
makes a :class:`Cycle` of each request; and the :class:`Responses`, which run one cycle at a time. What is
pipelined behind it waits: parsed requests in a short queue, the rest as raw bytes with reading paused.

What may happen in which state, and what comes of it, is the table of ``states.py``. ``on`` is the one place
that carries it out: it enters a state, sets its deadline, and does what the table names. :class:`Sweep` looks
at the deadlines.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from math import inf
from typing import Any, ClassVar

from ...errors import BadRequestError, Limit, RequestTimeoutError, UnavailableError, refused_by
from ..process.uvicorn_names import Config
from ..process.uvicorn_names import State as ServerState
from .cycle import served
from .parser import BETWEEN, SLICE, Parser
from .responses import DRAIN, Responses
from .shared import Shared
from .states import READING, TABLE, Action, Event, State
from .transport import Stream

__all__ = ("HttpProtocol",)

# A connection that was accepted while the listener closed gets this long to send its first byte.
_FIRST_REQUEST = 1.0
_TLS_HANDSHAKE = 0x16

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
        parser: makes the requests.
        responses: answer them.
        state: a column of the table.
        read_deadline: when the connection is ``late`` in this state, by the clock of the loop.
        stash: bytes that are not parsed yet.
    """

    __slots__ = (
        "__weakref__",
        "_loop",
        "_seconds",  # dict[State, float]
        "_since",  # when the body began, later by what was spent without reading
        "parser",
        "read_deadline",
        "responses",
        "server_state",
        "shared",
        "stash",
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
        self._loop = loop
        self._seconds = shared.seconds
        self._since = 0.0
        self.shared = shared
        self.server_state = server_state
        self.stash: bytes = b""
        self.state: State = "fresh"
        self.read_deadline = inf
        self.stream = Stream(loop, shared.limits)
        app = served(config.loaded_app)
        self.responses = Responses(self, shared, app, server_state, self.stream, loop)
        self.parser = Parser(self.responses, config, app_state)

    # -- states

    def on(self, event: Event) -> None:
        """Do what the table names for an event."""
        state, action = TABLE[event][self.state]
        if state is not None:
            self.state = state
            seconds = self._seconds[state]
            self.read_deadline = inf if seconds == inf else self._loop.time() + seconds
        if action is not None:
            self._ACTIONS[action](self)

    def _clock(self) -> None:
        self._since = self._loop.time()

    def _shut(self) -> None:
        self.stream.shut()

    def _close(self) -> None:
        self.responses.leave(lost=True)
        self.responses.queue.clear()
        self.stream.close()

    def _leave(self) -> None:
        self.responses.leave(lost=True)
        self.responses.queue.clear()
        self.responses.release()
        self.stash = b""
        self.parser.release()
        self.server_state.connections.discard(self)
        self.shared.sweep.discard(self)

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.stream.attach(transport)
        client, server = self.stream.addresses()
        self.parser.between(client, server, "https" if self.stream.is_encrypted else "http")
        self.responses.refuser.peer = client[0] if client else ""
        # Tasks of pipelined requests start inside of their predecessor, whose variables they must not see.
        self.responses.context = contextvars.copy_context()
        self.server_state.connections.add(self)
        self.read_deadline = self._loop.time() + self._seconds["fresh"]
        sweep = self.shared.sweep
        sweep.add(self, self._loop)
        if not sweep.has_room(self, self._loop):
            self.responses.answer(UnavailableError("There are too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.stream.lose()
        self.on("lost")

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
            self.stash += data
            if len(self.stash) > SLICE:
                self.stream.pause()
        elif action == "discard" and self.stream.discard(len(data)):
            self.on("full")

    def eof_received(self) -> bool | None:
        """The client has closed its side. It may still wait for answers to what it has sent."""
        self.on("eof")
        return self.state != "closing" and self.state != "gone"

    def _half(self) -> None:
        """Answer what is complete; a request that will never be is dropped."""
        responses = self.responses
        current = responses.current
        incoming = self.parser.incoming
        if current is None or incoming is current or not self.stream.can_shut():
            self.on("over")
            return
        if incoming is not None:
            responses.queue.pop()
            self.parser.incoming = None
        responses.ended = True
        responses.leave(lost=False)

    def _hold(self) -> None:
        self.stream.pause()

    # -- reading

    def _feed(self, data: bytes) -> None:
        parser = self.parser
        responses = self.responses
        if self.state == "fresh":
            if data[0] == _TLS_HANDSHAKE and not parser.lead:
                # Whatever is answered in clear text is noise to this client.
                responses.refuser.refused(
                    BadRequestError("A TLS handshake came to a port that speaks plain HTTP")
                )
                self.on("over")
                return
            data = parser.first(data)
        while data:
            data = parser.feed(data)
            if parser.handshake:
                self._take_handshake(data)
                return
            if data:
                if responses.queue:
                    self.stash = data
                    self.stream.pause()
                    parser.look_again()
                    self.on("held")
                    return
                # Between the pieces as well: a read of 256 KiB holds 65,000 fields.
                if parser.is_flooded():
                    break
        event = parser.event
        if event is not None:
            parser.event = None
            self.on(event)
        if self.state != "busy" or responses.current is None or parser.refusal is not None:
            self._look_over()

    def _look_over(self) -> None:
        """Do what is to be done about what was parsed, where that is more than to wait for the answer."""
        parser = self.parser
        responses = self.responses
        if parser.is_flooded():
            refusal = parser.take_refusal()
            assert refusal is not None
            responses.refuse(refusal)
        elif self.state == "busy":
            # Its response was complete before its body.
            responses.rest()
        elif self.state == "body" and responses.current is None and parser.drained > DRAIN:
            responses.finish()

    def _take_handshake(self, data: bytes) -> None:
        """Have the app answer a handshake; what came behind it waits until it has."""
        parser = self.parser
        cycle = parser.incoming
        assert cycle is not None
        parser.end_at_handshake()
        self.stash = data
        if len(data) > SLICE:
            self.stream.pause()
        self.on("whole")
        self.responses.begin(cycle)

    def unstash(self) -> None:
        """Parse the bytes that wait, and read on."""
        if self.stash and sys.exception() is not None:
            # An app that answers inside of an except block: Python hangs its exception on what the parser
            # raises, where the cause of a refusal is looked for.
            self._loop.call_soon(self._unstash_later, context=self.responses.context)
            return
        data, self.stash = self.stash, b""
        self.resume()
        if data:
            self._feed(data)
        if self.responses.ended and self.responses.current is None and self.state in READING:
            self.on("over")

    def _unstash_later(self) -> None:
        """Do it, unless what has happened since does it in its turn, or nothing more is read."""
        responses = self.responses
        if (
            self.state in READING
            and not responses.queue
            and (responses.current is None or self.parser.at != BETWEEN)
        ):
            self.unstash()

    def resume(self) -> None:
        """Read on. The client is not at fault as long as nothing is read."""
        self._since += self.stream.resume()

    # -- deadlines and shutdown

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self.stream.write_deadline < now and self.stream.is_stuck(now):
            self.stream.abort()
        elif self.read_deadline < now:
            self.on("late")

    def _time_out(self) -> None:
        self.responses.late = True
        limit = Limit("HEADER_TIMEOUT", self.shared.limits.header_timeout, "seconds")
        error = RequestTimeoutError("The header section was not received in time")
        self.responses.refuse(refused_by(error, limit))

    def _measure(self) -> None:
        """A body may take longer as long as it arrives, and as long as it is not read."""
        limits = self.shared.limits
        cycle = self.parser.incoming
        now = self._loop.time()
        timeout, received = limits.body_timeout, 0
        if cycle is not None:
            received = cycle.received
            if cycle.body_timeout is not None:
                timeout = cycle.body_timeout
        deadline = self._since + timeout + received / limits.body_rate
        if not self.stream.reading:
            deadline = now + timeout
        if deadline > now:
            self.read_deadline = deadline
            return
        responses = self.responses
        responses.late = True
        if responses.current is None:
            responses.finish()
        else:
            ruled = cycle is not None and cycle.body_timeout is not None
            limit = Limit("BODY_TIMEOUT", timeout, "seconds", "body_timeout", ruled)
            responses.refuse(refused_by(RequestTimeoutError("The body was not received in time"), limit))

    def _press(self) -> None:
        if self.stream.is_stuck(self._loop.time()):
            self.stream.abort()
        else:
            self.read_deadline = self.stream.write_deadline

    def place_in_line(self, now: float) -> tuple[int, float] | None:
        """Return when its turn is to give way to a new connection, the lowest first; None for never."""
        current = self.responses.current
        if current is None:
            # In a body, it is one whose answer is complete.
            return (0, self.read_deadline) if self.state in _DISPENSABLE else None
        if (
            self.state == "body"
            and current is self.parser.incoming
            and current.untouched
            and self.stream.reading
        ):
            behind = now - self._since > current.received / self.shared.limits.body_rate
            return (1, self.read_deadline) if behind else None
        # It may be waiting for the answer with its own side closed, and more likely it has left.
        return (2, 0.0) if self.responses.ended else None

    def give_way(self) -> None:
        """Close, so that a new connection finds room; a client that has begun a request learns why."""
        self.on("crowded" if self.responses.current is None or self.state == "body" else "over")

    def _squeeze(self) -> None:
        self.responses.late = True
        self.responses.refuse(RequestTimeoutError("The body arrives more slowly than there is room for"))

    def shutdown(self) -> None:
        """Finish what has begun and close; uvicorn calls it when it shuts down."""
        self.responses.stopping = True
        self.on("stop")

    def _hurry(self) -> None:
        self.read_deadline = min(self.read_deadline, self._loop.time() + _FIRST_REQUEST)

    def _last(self) -> None:
        current = self.responses.current
        if current is not None:
            if current.untouched:
                current.keep_alive = False
        elif self.state == "body":
            # Its response is complete. What follows the body would be a new request.
            self.responses.finish()

    _ACTIONS: ClassVar[dict[Action, Callable[[HttpProtocol], None]]] = {
        "hold": _hold,
        "clock": _clock,
        "shut": _shut,
        "close": _close,
        "leave": _leave,
        "half": _half,
        "timeout": _time_out,
        "measure": _measure,
        "press": _press,
        "squeeze": _squeeze,
        "hurry": _hurry,
        "last": _last,
    }
