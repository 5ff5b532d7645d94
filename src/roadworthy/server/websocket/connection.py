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
from typing import Any

from websockets.exceptions import InvalidState, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from ...types import Message
from ..http.response_head import InvalidResponseError
from ..http.transport import BUSY, CLOSING, LINGER, Stream
from ..process.uvicorn_names import State

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
_PING = 20.0
"""Seconds of silence after which a client is asked whether it is there, and after which it is not: below the
60 s after which proxies drop a connection, and what uvicorn does."""
_CLOSE = 10.0
"""Seconds that a client has to answer a close frame."""
_LAST = 1.0
"""Seconds that a client has to take the close frame of a server that shuts down."""
_REASON = 123
"""Bytes of a reason that fit in a close frame (RFC 6455 §5.5)."""
_CONTROL_SIZE = 125


class ClientLeftError(OSError):
    """Raised by ``send`` when the WebSocket is closed, as ASGI has it."""


class WebSocket(Stream):
    """The transport side and the ASGI side of one open WebSocket.

    Parameters:
        loop: the event loop.
        state: what all connections of the server share.
        frames: reads and writes frames.
    """

    __slots__ = (
        "_asked",  # a ping is on its way
        "_at",  # how much of the stash is handled
        "_closed",  # Message | None: what receive returns once the messages are taken
        "_done",  # the app is
        "_ending",  # we have sent a close frame
        "_fed",  # bytes of the frame that is not complete
        "_frames",
        "_heard",  # something came since the last look
        "_left",  # bytes of that frame which are to come
        "_lost",  # the transport is
        "_message",  # bytearray: the message that is not complete
        "_news",  # asyncio.Event: set when receive may have something
        "_text",  # whether that message is text
        "_unfinished",  # a message has begun
        "_waiting",  # deque[tuple[Message, int]]: what the app has not taken, and its bytes
        "_weight",  # bytes of that
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, state: State, frames: ServerProtocol) -> None:
        super().__init__(loop, state)
        self._frames = frames
        self._phase = BUSY
        self._at = self._fed = self._left = self._weight = 0
        self._asked = self._ending = self._heard = self._text = self._unfinished = False
        self._done = self._lost = False
        self._message = bytearray()
        self._waiting: deque[tuple[Message, int]] = deque()
        self._closed: Message | None = None
        self._news = asyncio.Event()

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, on a transport that has been an HTTP connection's."""
        self._transport: Any = transport
        self.state.connections.add(self)
        self.crowd.join(self)
        self.read_deadline = self._loop.time() + _PING
        self.sweep.add(self, self._loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.state.connections.discard(self)
        self.sweep.discard(self)
        self._lost = True
        self._phase = CLOSING
        self._drop_input()
        self._part()
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()
        self._disconnect(_ABNORMAL)

    def eof_received(self) -> bool | None:
        """Close: a client that takes part in a WebSocket sends a close frame first."""
        return None

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent; it is handled when there is a turn."""
        if self._phase != BUSY:
            self._throw_away(len(data))
            return
        self._heard = True
        self._asked = False
        self._stash = self._stash[self._at :] + data if self._stash else data
        self._at = 0
        if len(self._stash) > _STASH:
            self._pause_reading()
        self._weigh()
        self._ask()

    def resume_writing(self) -> None:
        """The client takes what we write again."""
        super().resume_writing()
        self._ask()

    # -- frames

    def _ask(self) -> None:
        if self._at < len(self._stash) and self._may_go():
            self.crowd.ask(self, self._loop)

    def _may_go(self) -> bool:
        return (
            self._phase == BUSY
            and not self.write_paused
            and (self._ending or (len(self._waiting) < _MESSAGES and self._weight < _WAITING))
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
        if left <= _STASH and self._phase == BUSY:
            self._resume_reading()
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
                self.read_deadline = min(self.read_deadline, self._since + self.limits.body_timeout)
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
        elif opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) and not self._ending:
            if opcode is not Opcode.CONT:
                self._text = opcode is Opcode.TEXT
            # One buffer: a list of a million fragments of one byte takes forty times its bytes.
            self._message += frame.data
            if len(self._message) > self.limits.message_limit:
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
        self.crowd.hold(self, held)

    def _flush(self) -> None:
        data = b"".join(self._frames.data_to_send())
        if data and not self._transport.is_closing():
            self.write(data)

    # -- the ends

    def _closed_by_client(self) -> None:
        received = self._frames.close_rcvd
        self._flush()
        self._disconnect(received.code if received else _NO_CODE, received.reason if received else "")
        self._drop_input()
        self._linger()

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455 §7.1.7)."""
        self._frames.fail(code, reason)
        self._over(code, reason)

    def _over(self, code: int, reason: str) -> None:
        self._flush()
        self._disconnect(code, reason)
        self._drop_input()
        self._linger()

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
        self._ending = True
        self._disconnect(code, reason)
        self._waiting.clear()
        self._weight = 0
        self._message = bytearray()
        self.read_deadline = self._loop.time() + _CLOSE
        self._ask()

    def end(self, code: int) -> None:
        """Close, because the app is done with it."""
        self._done = True
        if self._closed is None:
            self._begin_end(code, "")
        self._part()

    def _part(self) -> None:
        # What waits for the app is held until the app is done, the client may have left or not.
        if self._done and self._lost:
            self.crowd.leave(self)
        else:
            self._weigh()

    def shutdown(self) -> None:
        """Close with 1012, so that the client connects again elsewhere; the server shuts down."""
        if self._closed is None:
            self._begin_end(_RESTART, "")
        if self._phase != CLOSING:
            self._phase = CLOSING
            self._transport.close()
        # A client that does not read has no say in how long that takes.
        self.read_deadline = self._loop.time() + _LAST
        self._unsent = 0

    def yield_memory(self) -> None:
        """Close, because all WebSockets hold too much and this one holds the most."""
        self._waiting.clear()
        self._weight = 0
        if self._phase == BUSY:
            self._fail(_LATER, "the server holds too much")
        self._weigh()

    def fall(self) -> None:
        """Close at once, after a failure of its own."""
        self._disconnect(_FAILED)
        self._phase = CLOSING
        self._transport.abort()

    def give_way(self, now: float) -> None:
        """Close, so that a new connection finds room; it is closing already."""
        self._close()

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self.write_deadline < now and self._is_stuck(now):
            self._transport.abort()
        elif self.read_deadline >= now:
            return
        elif self._phase == CLOSING:
            if self._is_stuck(now):
                self._transport.abort()
            else:
                self.read_deadline = self.write_deadline
        elif self._phase == LINGER or self._ending:
            self._close()
        else:
            self._look(now)

    def _look(self, now: float) -> None:
        """Ask a silent client whether it is there, and end a message that takes too long."""
        self.read_deadline = now + _PING
        waits = not self._reading or self.write_paused
        if self._unfinished:
            limits = self.limits
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
        if self.write_paused:
            await self.drain()
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
