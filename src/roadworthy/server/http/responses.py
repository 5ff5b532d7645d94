"""The responses of a connection: one at a time, in the order of its requests (RFC 9112 §9.3.2).

One cycle runs at a time, as a task in a context of its own. Requests that were parsed meanwhile are in a
short queue behind it, the last of them perhaps a refusal. When a response is complete, this decides what is
next: another request, the bytes that wait, or the end of the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import Any, Protocol

from websockets.server import ServerProtocol

from ...errors import APIError, UnavailableError
from ...settings import Settings
from ..process.uvicorn_names import State as ServerState
from ..websocket.connection import WebSocket
from .cycle import Cycle, Served
from .parser import BETWEEN, Parser
from .refusals import Refuser
from .shared import Shared
from .states import READING, Event, State
from .transport import Stream

__all__ = ("DRAIN", "Reader", "Responses")

DRAIN = 256 << 10
"""Bytes of a body whose response is complete that are read and thrown away (Go: 256 KiB), for a connection
that lives on is worth that much."""
# Requests in 4 KiB, at 27 bytes each; only a flood behind a body has more.
_QUEUE = 160


class Reader(Protocol):
    """What responses need of the connection, which reads the requests."""

    state: State
    stash: bytes

    @property
    def parser(self) -> Parser:
        """Makes the requests."""
        ...

    def on(self, event: Event) -> None:
        """Do what the table of states names for an event."""

    def unstash(self) -> None:
        """Parse the bytes that wait, and read on."""

    def resume(self) -> None:
        """Read on."""


class Responses:
    """What a connection answers: the connection as its cycles and its parser know it.

    Parameters:
        reader: the connection.
        shared: what all connections of the listener share.
        app: is called with each request.
        server_state: what all connections of uvicorn's server share.
        stream: where responses are written to.
        loop: the event loop.

    Attributes:
        context: the variables that each request begins with.
        current: the request that is being answered.
        queue: what is answered after it: requests, and a refusal behind them.
        refuser: encodes what the server answers in place of the app.
        ended: the client sends no more.
        late: a deadline of the client's has passed.
        stopping: the server shuts down.
    """

    __slots__ = (
        "_app",
        "_loop",
        "_reader",
        "context",
        "current",
        "ended",
        "late",
        "queue",
        "refuser",
        "server_state",
        "shared",
        "stopping",
        "stream",
    )

    def __init__(
        self,
        reader: Reader,
        shared: Shared,
        app: Served,
        server_state: ServerState,
        stream: Stream,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._app = app
        self._loop = loop
        self._reader: Any = reader
        self.context: Context
        self.current: Cycle | None = None
        self.ended = self.late = self.stopping = False
        self.queue: deque[Cycle | APIError] = deque()
        self.refuser = Refuser(shared.refusals)
        self.server_state = server_state
        self.shared = shared
        self.stream = stream

    def release(self) -> None:
        """End; the connection and this hold each other."""
        self.current = self._reader = None

    @property
    def settings(self) -> Settings | None:
        """Where the limits come from; None when they were given one by one."""
        return self.shared.settings

    # -- requests in turn

    def begin(self, cycle: Cycle) -> None:
        """Answer a request while no other is being answered."""
        self.current = cycle
        if self.stopping:
            cycle.keep_alive = False
        if self.ended:
            cycle.leave(lost=False)
        task = cycle.task = self._loop.create_task(cycle.run(self._app), context=self.context.copy())
        self.server_state.tasks.add(task)

    def line_up(self, cycle: Cycle) -> None:
        """Answer a request after those before it.

        Raises:
            UnavailableError: there are too many.
        """
        if len(self.queue) >= _QUEUE:
            raise UnavailableError("Too many requests are waiting on this connection")
        self.queue.append(cycle)

    def finished(self, cycle: Cycle) -> None:
        """Go on after a complete response."""
        self.server_state.total_requests += 1
        if cycle is not self.current:
            return
        self.current = None
        reader: Reader = self._reader
        state = reader.state
        if not cycle.keep_alive:
            if state in READING:
                self._end(state)
            elif state == "deaf":
                self.finish()
        elif self.queue:
            self._next()
        elif state == "busy" and reader.parser.at == BETWEEN:
            self.rest()
        elif state == "deaf":
            # What came behind this request could not be read.
            self.finish()
        elif state in READING and reader.parser.incoming is cycle:
            if self.stopping:
                self.finish()
                return
            cycle.parts.clear()
            reader.parser.drained = 0
            reader.unstash()
        elif state == "busy":
            reader.unstash()
        elif self.ended:
            reader.on("over")

    def _next(self) -> None:
        following = self.queue.popleft()
        if isinstance(following, APIError):
            self.answer(following)
        elif self.stopping:
            self.answer(UnavailableError("This server is shutting down"))
        else:
            self.begin(following)
            reader: Reader = self._reader
            if not self.queue and reader.parser.at != BETWEEN:
                # The rest of a request is among the bytes that wait: the body of this one, or the next head.
                reader.unstash()

    def rest(self) -> None:
        """Wait for the next request, unless there is something else to do first."""
        reader: Reader = self._reader
        if self.stopping:
            if reader.stash:
                self.answer(UnavailableError("This server is shutting down"))
            else:
                reader.on("over")
        elif reader.stash:
            reader.unstash()
        elif self.ended:
            reader.on("over")
        else:
            if not self.stream.reading:
                reader.resume()
            reader.on("free")

    # -- the client

    def resume_body(self, cycle: Cycle) -> None:
        """Read on: the app has taken what was buffered of the body."""
        if not self.stream.reading:
            reader: Reader | None = self._reader
            if reader is not None and reader.parser.incoming is cycle and not reader.stash:
                reader.resume()

    def leave(self, *, lost: bool) -> None:
        """Let all requests know that the client has left (``lost``), or at least sends no more."""
        for cycle in (self.current, *self.queue):
            if isinstance(cycle, Cycle):
                cycle.leave(lost=lost)

    # -- the last response

    def must_close(self, cycle: Cycle) -> bool:
        """Return whether the response whose head goes out now has to be the last one of the connection."""
        reader: Reader | None = self._reader
        if reader is None or reader.parser.incoming is not cycle:
            return self.stopping
        if self.stopping or cycle.expects:
            # Nobody knows whether a client that waits for 100 Continue will send its body now.
            return True
        for name, value in cycle.scope["headers"]:
            if name == b"content-length":
                return int(value) - cycle.received > DRAIN
        return False

    def _end(self, state: State) -> None:
        """Close behind the last response, by way of lingering when the client may be sending."""
        reader: Reader = self._reader
        if (
            state == "body"
            or reader.stash
            or self.queue
            or not self.stream.reading
            # Frames that do not wait for the answer may be on their way.
            or (reader.parser.handshake and not self.stopping)
        ):
            self.finish()
        else:
            reader.on("over")

    def finish(self) -> None:
        """Answer nothing more; read on for a while, so that the client gets to see the last response."""
        reader: Reader = self._reader
        self.queue.clear()
        reader.stash = b""
        # One that was too slow has held the connection for long enough, and what it had sent is read: the
        # sweep lets the loop read before a deadline counts.
        reader.on("over" if self.late or self.ended or not self.stream.can_shut() else "sent")

    def drop(self, *, hard: bool) -> None:
        """Close without a complete response."""
        if hard:
            self.stream.reset()
        if self._reader is not None:
            self._reader.on("over")

    # -- refusing

    def refuse(self, error: APIError) -> None:
        """Answer a request that cannot be taken, after those before it, and close."""
        reader: Reader = self._reader
        parser = reader.parser
        cycle = parser.incoming
        if cycle is not None:
            parser.incoming = None
            if cycle is self.current:
                self._refuse_current(cycle, error)
                return
            if cycle.complete:
                self.finish()
                return
            if cycle in self.queue:
                self.queue.remove(cycle)
        if self.current is None:
            self.answer(error)
            return
        self.queue.append(error)
        reader.on("broken")

    def _refuse_current(self, cycle: Cycle, error: APIError) -> None:
        """The body of the running request is not what it should be."""
        cycle.keep_alive = False
        cycle.leave(lost=False)
        if cycle.untouched:
            cycle.overrule(error, close=True)
        else:
            self._reader.on("broken")

    def answer(self, error: APIError) -> None:
        """Send a refusal while no request is being answered, and close."""
        self.stream.write(self.refuser.answer(error, self.server_state.default_headers))
        self.finish()

    # -- WebSockets

    def become(self, frames: ServerProtocol, head: bytes) -> WebSocket:
        """Give the stream to a WebSocket, with what came behind the handshake."""
        reader: Reader = self._reader
        socket = WebSocket(self.shared, self._loop, self.server_state, self.stream, frames)
        data = reader.stash
        self.current = None
        self.server_state.total_requests += 1
        reader.on("lost")
        self.stream.resume()
        self.stream.transport.set_protocol(socket)
        socket.begin(head, data)
        return socket
