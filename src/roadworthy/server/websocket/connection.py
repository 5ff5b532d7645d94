"""A WebSocket once its handshake is accepted: frames to messages and back, each with a bound (RFC 6455).

The frames themselves are read and written by ``websockets``, without its input and output; it gets the bytes
of one frame at a time. What is here decides when: as long as the client takes what we write, the app takes
the messages, and the event loop has a turn for this WebSocket (:class:`Crowd`). Otherwise bytes wait, and
soon the client does.

One client can make the process hold what was read and is not handled (``_STASH`` and one read more), one
message that is not complete (``websocket_message_limit``), and what the app has not taken (``_MESSAGES`` of
together ``_WAITING`` bytes, and one message more).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf

from websockets.exceptions import InvalidState, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from ...types import Message
from ..http.response_head import InvalidResponseError
from ..http.shared import Shared
from ..http.transport import Stream
from ..process.uvicorn_names import State as ServerState
from .states import PING, TABLE, Action, Event, State, seconds

__all__ = ("ClientLeftError", "WebSocket")

# RFC 6455 §7.4.1 and IANA's registry of close codes.
_NORMAL, _PROTOCOL, _NO_CODE, _ABNORMAL = 1000, 1002, 1005, 1006
_NOT_TEXT, _POLICY, _TOO_BIG, _FAILED, _RESTART, _LATER = 1007, 1008, 1009, 1011, 1012, 1013

_STASH = 64 << 10
"""Bytes that wait for a turn, above which nothing more is read: asyncio's own high-water mark."""
_MESSAGES, _WAITING = 16, 64 << 10
"""Messages, and bytes of them, that wait for the app, above which no further frame is handled."""
_PIECE = 64 << 10
_UNIT = 2 << 10
"""Bytes that are as much work as one frame is besides."""
_REASON = 123
"""Bytes of a reason that fit in a close frame (RFC 6455 §5.5)."""
_CONTROL_SIZE = 125

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
        "_at",  # how much of the stash is handled
        "_closed",  # Message | None: what receive returns once the messages are taken
        "_crowd",
        "_done",  # the app is
        "_fed",  # bytes of the frame that is not complete
        "_frames",
        "_heard",  # something came since the last look
        "_late",  # the client does not answer
        "_left",  # bytes of that frame which are to come
        "_limits",
        "_loop",
        "_message",  # bytearray: the message that is not complete
        "_news",  # asyncio.Event: set when receive may have something
        "_seconds",  # dict[State, float]
        "_since",  # when the message that is not complete began
        "_stash",  # bytes that are not handled yet
        "_sweep",
        "_text",  # whether that message is text
        "_unfinished",  # a message has begun
        "_waiting",  # deque[tuple[Message, int]]: what the app has not taken, and its bytes
        "_weight",  # bytes of that
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
        self._stash = b""
        self._since = 0.0
        self._at = self._fed = self._left = self._weight = 0
        self._asked = self._heard = self._text = self._unfinished = False
        self._done = self._late = False
        self._message = bytearray()
        self._waiting: deque[tuple[Message, int]] = deque()
        self._closed: Message | None = None
        self._news = asyncio.Event()
        self.server_state = server_state
        self.stream = stream
        self.state: State = "open"
        self.read_deadline = inf

    # -- states

    def _on(self, event: Event) -> None:
        """Do what the table says about an event."""
        state, action = TABLE[event][self.state]
        if state is not None:
            self.state = state
            self.read_deadline = self._loop.time() + self._seconds[state]
        if action is not None:
            _ACTIONS[action](self)

    def _shut(self) -> None:
        self.stream.shut()

    def _close(self) -> None:
        self.stream.close()

    def _abort(self) -> None:
        self.stream.abort()

    def _leave(self) -> None:
        self.server_state.connections.discard(self)
        self._sweep.discard(self)
        self._drop_input()
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
        self._stash = self._stash[self._at :] + data if self._stash else data
        self._at = 0
        if len(self._stash) > _STASH:
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
        if self._at < len(self._stash) and self._may_go():
            self._crowd.ask(self, self._loop)

    def _may_go(self) -> bool:
        return (
            not self.stream.write_paused
            and self.state in _OPEN
            and (self.state != "open" or (len(self._waiting) < _MESSAGES and self._weight < _WAITING))
        )

    def work(self, units: int) -> int:
        """Handle frames worth about ``units``; return the units that it took."""
        spent = 0
        while spent < units and self._may_go():
            size = self._feed()
            if not size:
                break
            spent += 1 + size // _UNIT
        else:
            self._ask()
        left = len(self._stash) - self._at
        if not left:
            self._stash, self._at = b"", 0
        if left <= _STASH and self.state in _OPEN:
            self.stream.resume()
        self._weigh()
        return spent

    def _feed(self) -> int:
        """Hand over the next piece of a frame; return the work in bytes, 0 when more has to come first."""
        stash, at = self._stash, self._at
        here = len(stash) - at
        if not self._left:
            size = _frame_size(stash, at)
            if not size or not here:
                return 0
            if size < 0:
                self._fail(_PROTOCOL, "a control frame is too long")
                return 0
            self._left = size
            self._fed = 0
            if not self._unfinished and not stash[at] & 0x08:
                self._unfinished = True
                self._since = self._loop.time()
                self.read_deadline = min(self.read_deadline, self._since + self._limits.body_timeout)
        size = min(self._left, here, _PIECE)
        if not size:
            return 0
        self._left -= size
        self._fed += size
        self._at = at + size
        frames = self._frames
        frames.receive_data(stash[at : self._at])
        if frames.parser_exc is not None:
            sent = frames.close_sent
            self._over(sent.code if sent else _PROTOCOL, sent.reason if sent else "")
            return size
        for event in frames.events_received():
            self._fed = 0
            if isinstance(event, Frame):
                size = max(size, len(event.data))
                self._take(event)
        self._flush()
        return size

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self._closed_by_client()
        elif opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) and self.state == "open":
            if opcode is not Opcode.CONT:
                self._text = opcode is Opcode.TEXT
            # One buffer: a list of a million fragments of one byte takes forty times its bytes.
            self._message += frame.data
            if len(self._message) > self._limits.message_limit:
                # Before it is read, where a frame tells its length; this is for what was deflated.
                self._fail(_TOO_BIG, "the message is too big")
            elif frame.fin:
                self._deliver()

    def _deliver(self) -> None:
        message, self._message = self._message, bytearray()
        self._unfinished = False
        if self._text:
            try:
                text = message.decode()
            except UnicodeDecodeError:
                self._fail(_NOT_TEXT, "the text is not UTF-8")
                return
            self._waiting.append(({"type": "websocket.receive", "text": text}, len(message)))
        else:
            self._waiting.append(({"type": "websocket.receive", "bytes": bytes(message)}, len(message)))
        self._weight += len(message)
        self._news.set()

    def _weigh(self) -> None:
        held = len(self._stash) - self._at + self._fed + len(self._message) + self._weight
        self._crowd.hold(self, held)

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
        """All is said: read on for a while, so that the client gets to see it."""
        self._drop_input()
        self._on("over" if self._late or not self.stream.can_shut() else "said")

    def _drop_input(self) -> None:
        self._stash = b""
        self._at = self._fed = 0
        self._message = bytearray()
        self._unfinished = False

    def _disconnect(self, code: int, reason: str = "") -> None:
        if self._closed is None:
            self._closed = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._news.set()

    def _begin_end(self, code: int, reason: str) -> None:
        """Send a close frame, and wait for the client's for a while."""
        self._frames.send_close(code, reason.encode()[:_REASON].decode(errors="ignore"))
        self._flush()
        self._disconnect(code, reason)
        self._waiting.clear()
        self._weight = 0
        self._message = bytearray()
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
        self._waiting.clear()
        self._weight = 0
        if self.state in _OPEN:
            self._fail(_LATER, "the server holds too much")
        self._weigh()

    def fall(self) -> None:
        """Close at once, after a failure of its own."""
        self._disconnect(_FAILED)
        self.stream.abort()
        self._on("over")

    def place_in_line(self, now: float) -> tuple[int, float] | None:
        """Return when its turn is to give way to a new connection: first when all is said, else never."""
        return (0, self.read_deadline) if self.state == "linger" else None

    def give_way(self) -> None:
        """Close, so that a new connection finds room; all is said."""
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
        if self._unfinished:
            limits = self._limits
            deadline = self._since + limits.body_timeout + (len(self._message) + self._fed) / limits.body_rate
            if waits or self._at < len(self._stash):
                # The client is not at fault as long as we do not read.
                deadline = now + limits.body_timeout
                self._since = now
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
        while not self._waiting:
            if self._closed is not None:
                return self._closed
            self._news.clear()
            await self._news.wait()
        message, size = self._waiting.popleft()
        self._weight -= size
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


_ACTIONS: dict[Action, Callable[[WebSocket], None]] = {
    "shut": WebSocket._shut,
    "close": WebSocket._close,
    "leave": WebSocket._leave,
    "look": WebSocket._look,
    "press": WebSocket._press,
    "abort": WebSocket._abort,
}


def _frame_size(data: bytes, at: int) -> int:
    """Return the bytes of the frame that begins at ``at``; 0 while unknown, -1 for one that may not be."""
    here = len(data) - at
    if here < 2:
        return 0
    second = data[at + 1]
    length = second & 0x7F
    head = 6 if second & 0x80 else 2
    if data[at] & 0x08 and length > _CONTROL_SIZE:
        return -1
    if length < 126:
        return head + length
    more = 2 if length == 126 else 8
    if here < 2 + more:
        return 0
    return head + more + int.from_bytes(data[at + 2 : at + 2 + more], "big")
