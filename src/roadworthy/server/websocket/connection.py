"""A WebSocket once its handshake is accepted: frames to messages and back, each with a bound (RFC 6455).

The frames themselves are read and written by ``websockets``, without its input and output. A
:class:`MessageReader` gives it the bytes of one frame at a time; what is here decides when: as long as the
client takes what we write, the app takes the messages, and the event loop has a turn for this WebSocket
(:class:`Crowd`). Otherwise bytes wait, and soon the client does.

One client can make the process hold what was read and is not handled (``_STASH`` and one read more), one
message that is not complete (``websocket_message_limit``), and what the app has not taken
(:attr:`MessageReader.is_full`, and one message more).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import ClassVar

from websockets.exceptions import InvalidState, ProtocolError
from websockets.server import ServerProtocol

from ...layer.exchange import InvalidResponseError
from ...types import Message
from ..http.shared import Shared
from ..http.transport import Stream
from ..process.uvicorn_names import State as ServerState
from .messages import BrokenOffError, MessageReader
from .states import PING, TABLE, Action, Event, State, seconds

__all__ = ("ClientLeftError", "WebSocket")

# RFC 6455 §7.4.1 and IANA's registry of close codes.
_NORMAL, _NO_CODE, _ABNORMAL, _POLICY = 1000, 1005, 1006, 1008
_FAILED, _RESTART, _LATER = 1011, 1012, 1013

_STASH = 64 << 10
"""Bytes that wait for a turn, above which nothing more is read: asyncio's own high-water mark."""
_UNIT = 2 << 10
"""Bytes that are as much work as one frame is besides."""
_REASON = 123
"""Bytes of a reason that fit in a close frame (RFC 6455 §5.5)."""

_OPEN = frozenset[State](("open", "ending"))


class ClientLeftError(OSError):
    """Raised by ``send`` when the WebSocket is closed, as ASGI has it."""


class WebSocket(asyncio.Protocol):
    """One open WebSocket: its states, its frames and its ASGI side.

    Parameters:
        shared: what all connections of the listener share.
        loop: the event loop.
        server_state: what all connections of uvicorn's server share.
        stream: has the transport, which was an HTTP connection's.
        frames: reads and writes frames.

    Attributes:
        state: a column of the table in ``states.py``.
        read_deadline: when it is ``late`` in this state, by the clock of the loop.
    """

    __slots__ = (
        "__weakref__",
        "_asked",  # a ping is on its way
        "_closed",  # Message | None: what receive returns once the app has all messages
        "_crowd",
        "_done",  # the app is
        "_frames",
        "_heard",  # something came since the last look
        "_late",  # the client does not answer
        "_limits",
        "_loop",
        "_news",  # asyncio.Event: set when receive may have something
        "_reader",
        "_seconds",  # dict[State, float]
        "_sweep",
        "read_deadline",
        "server_state",
        "state",
        "stream",
    )

    def __init__(
        self,
        shared: Shared,
        loop: asyncio.AbstractEventLoop,
        server_state: ServerState,
        stream: Stream,
        frames: ServerProtocol,
    ) -> None:
        self._crowd = shared.crowd
        self._sweep = shared.sweep
        self._limits = shared.limits
        self._seconds = seconds(shared.limits.write_timeout)
        self._loop = loop
        self._frames = frames
        self._reader = MessageReader(frames, shared.limits, loop.time)
        self._asked = self._done = self._heard = self._late = False
        self._closed: Message | None = None
        self._news = asyncio.Event()
        self.server_state = server_state
        self.stream = stream
        self.state: State = "open"
        self.read_deadline = inf

    # -- states

    def _on(self, event: Event) -> None:
        """Do what the table names for an event."""
        state, action = TABLE[event][self.state]
        if state is not None:
            self.state = state
            self.read_deadline = self._loop.time() + self._seconds[state]
        if action is not None:
            self._ACTIONS[action](self)

    def _shut(self) -> None:
        self.stream.shut()

    def _close(self) -> None:
        self.stream.close()

    def _abort(self) -> None:
        self.stream.abort()

    def _leave(self) -> None:
        self.server_state.connections.discard(self)
        self._sweep.discard(self)
        self._reader.drop_input()
        self._part()
        self._disconnect(_ABNORMAL)

    # -- asyncio

    def begin(self, head: bytes, data: bytes) -> None:
        """Begin.

        Parameters:
            head: accepts the handshake.
            data: has come behind it.
        """
        self.server_state.connections.add(self)
        self._crowd.join(self)
        self.read_deadline = self._loop.time() + self._seconds["open"]
        self._sweep.add(self, self._loop)
        self.stream.write(head)
        if data:
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.stream.lose()
        self._on("lost")

    def eof_received(self) -> bool | None:
        """Close: a client that takes part in a WebSocket sends a close frame first."""
        return None

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent; it is handled when there is a turn."""
        action = TABLE["data"][self.state][1]
        if action == "discard" and self.stream.discard(len(data)):
            self._on("full")
        if action != "take":
            return
        self._heard = True
        self._asked = False
        if self._reader.add(data) > _STASH:
            self.stream.pause()
        self._weigh()
        self._ask()

    def pause_writing(self) -> None:
        """The client does not take what we write."""
        self.stream.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self.stream.resume_writing()
        self._ask()

    # -- frames

    def _ask(self) -> None:
        reader = self._reader
        if reader.at < len(reader.stash) and self._may_go():
            self._crowd.ask(self, self._loop)

    def _may_go(self) -> bool:
        return (
            not self.stream.write_paused
            and self.state in _OPEN
            and (self.state != "open" or not self._reader.is_full)
        )

    def work(self, units: int) -> int:
        """Handle frames worth about ``units``; return the units that it took."""
        reader = self._reader
        spent = 0
        try:
            while spent < units and self._may_go():
                size = reader.feed()
                if not size:
                    break
                spent += 1 + size // _UNIT
                if self._frames.close_rcvd is not None:
                    self._closed_by_client()
                else:
                    self._flush()
            else:
                self._ask()
        except BrokenOffError as broken:
            self._over(broken.code, broken.reason)
        if reader.waiting:
            self._news.set()
        if reader.began:
            reader.began = False
            self.read_deadline = min(self.read_deadline, reader.since + self._limits.body_timeout)
        left = len(reader.stash) - reader.at
        if not left:
            reader.stash, reader.at = b"", 0
        if left <= _STASH and self.state in _OPEN:
            self.stream.resume()
        self._weigh()
        return spent

    def _weigh(self) -> None:
        self._crowd.hold(self, self._reader.held)

    def _flush(self) -> None:
        data = b"".join(self._frames.data_to_send())
        if data and not self.stream.transport.is_closing():
            self.stream.write(data)

    # -- the ends

    def _closed_by_client(self) -> None:
        received = self._frames.close_rcvd
        self._flush()
        self._disconnect(received.code if received else _NO_CODE, received.reason if received else "")
        self._finish()

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455 §7.1.7)."""
        self._frames.fail(code, reason)
        self._over(code, reason)

    def _over(self, code: int, reason: str) -> None:
        self._flush()
        self._disconnect(code, reason)
        self._finish()

    def _finish(self) -> None:
        """Send nothing more; read on for a while, so that the client gets to see it."""
        self._reader.drop_input()
        self._on("over" if self._late or not self.stream.can_shut() else "sent")

    def _disconnect(self, code: int, reason: str = "") -> None:
        if self._closed is None:
            self._closed = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._news.set()

    def _begin_end(self, code: int, reason: str) -> None:
        """Send a close frame, and wait for the client's for a while."""
        self._frames.send_close(code, reason.encode()[:_REASON].decode(errors="ignore"))
        self._flush()
        self._disconnect(code, reason)
        self._reader.stop()
        self._on("parted")
        self._ask()

    def end(self, code: int) -> None:
        """Close, because the app is done with it."""
        self._done = True
        if self._closed is None:
            self._begin_end(code, "")
        self._part()

    def _part(self) -> None:
        # What waits for the app is held until the app is done, the client may have left or not.
        if self._done and self.state == "gone":
            self._crowd.leave(self)
        else:
            self._weigh()

    def shutdown(self) -> None:
        """Close with 1012, so that the client connects again elsewhere; the server shuts down."""
        if self._closed is None:
            self._begin_end(_RESTART, "")
        self._on("stop")

    def yield_memory(self) -> None:
        """Close, because all WebSockets hold too much and this one holds the most."""
        self._reader.drop_messages()
        if self.state in _OPEN:
            self._fail(_LATER, "the server holds too much")
        self._weigh()

    def fall(self) -> None:
        """Close at once, after a failure of its own."""
        self._disconnect(_FAILED)
        self.stream.abort()
        self._on("over")

    def place_in_line(self, now: float) -> tuple[int, float] | None:
        """Return when its turn is to give way to a new connection: first after the last frame, else never."""
        return (0, self.read_deadline) if self.state == "linger" else None

    def give_way(self) -> None:
        """Close, so that a new connection finds room; the last frame is sent."""
        self._on("over")

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self.stream.write_deadline < now and self.stream.is_stuck(now):
            self.stream.abort()
        elif self.read_deadline < now:
            self._on("late")

    def _press(self) -> None:
        if self.stream.is_stuck(self._loop.time()):
            self.stream.abort()
        else:
            self.read_deadline = self.stream.write_deadline

    def _look(self) -> None:
        """Ask a silent client whether it is there, and end a message that takes too long."""
        now = self._loop.time()
        self.read_deadline = now + PING
        waits = not self.stream.reading or self.stream.write_paused
        reader = self._reader
        if reader.unfinished:
            deadline = reader.deadline()
            if waits or reader.at < len(reader.stash):
                # The client is not at fault as long as we do not read.
                deadline = now + self._limits.body_timeout
                reader.since = now
            if deadline <= now:
                self._fail(_POLICY, "the message was not received in time")
                return
            self.read_deadline = min(self.read_deadline, deadline)
        if self._heard or waits:
            self._heard = self._asked = False
        elif self._asked:
            self._late = True
            self._fail(_FAILED, "the client does not answer")
        else:
            self._asked = True
            self._frames.send_ping(b"")
            self._flush()

    # -- the app

    async def receive(self) -> Message:
        """Give the app its next message (ASGI ``receive``)."""
        reader = self._reader
        while not reader.waiting:
            if self._closed is not None:
                return self._closed
            self._news.clear()
            await self._news.wait()
        message, size = reader.waiting.popleft()
        reader.weight -= size
        self._weigh()
        self._ask()
        return message

    async def send(self, message: Message) -> None:
        """Take one message of the app (ASGI ``send``).

        Raises:
            ClientLeftError: the WebSocket is closed.
            InvalidResponseError: the message is not one that an open WebSocket takes.
        """
        if self.stream.write_paused:
            await self.stream.drain()
        kind = message["type"]
        if self._closed is not None:
            raise ClientLeftError(f"the WebSocket is closed, and the app sent {kind}")
        try:
            if kind == "websocket.send":
                data = message.get("bytes")
                if data is not None:
                    self._frames.send_binary(data)
                else:
                    self._frames.send_text(message["text"].encode())
                self._flush()
            elif kind == "websocket.close":
                self._begin_end(message.get("code", _NORMAL), message.get("reason") or "")
            else:
                raise InvalidResponseError(f"an open WebSocket takes no message {kind}")
        except InvalidState:
            raise ClientLeftError("the WebSocket is closed") from None
        except ProtocolError as error:
            raise InvalidResponseError(f"the app's message cannot be sent: {error}") from None

    _ACTIONS: ClassVar[dict[Action, Callable[[WebSocket], None]]] = {
        "shut": _shut,
        "close": _close,
        "leave": _leave,
        "look": _look,
        "press": _press,
        "abort": _abort,
    }
