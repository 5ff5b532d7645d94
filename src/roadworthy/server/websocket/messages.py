"""What the client of a WebSocket sends: from bytes to messages, frame by frame (RFC 6455 §5).

The frames themselves are read by ``websockets``, which gets the bytes of one frame at a time and not all that
came: so what is handled in one turn is bounded, and the rest waits here as bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NoReturn

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from ...types import Message
from ..http.limits import Limits

__all__ = ("BrokenOffError", "MessageReader")

# RFC 6455 §7.4.1.
_PROTOCOL, _NOT_TEXT, _TOO_BIG = 1002, 1007, 1009

_MESSAGES, _WAITING = 16, 64 << 10
"""Messages, and bytes of them, that wait for the app, above which no further frame is handled."""
_PIECE = 64 << 10
_CONTROL_SIZE = 125

_DATA = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


class BrokenOffError(Exception):
    """Raised when what the client sends breaks the protocol or a limit. A close frame is ready to be sent.

    Parameters:
        code: of the close frame.
        reason: of the close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class MessageReader:
    """Makes messages of the bytes of one client.

    Parameters:
        frames: reads frames.
        limits: of the connection.
        clock: the loop's.

    Attributes:
        stash: bytes that are not handled yet, behind the first ``at``.
        unfinished: a message has begun and is not complete.
        began: a message has begun since the last look.
        since: when it began, by the clock.
        waiting: complete messages that the app has not taken, each with its bytes.
        weight: bytes of them.
    """

    __slots__ = (
        "_clock",
        "_dropping",  # the app takes no more messages
        "_fed",  # bytes of the frame that is not complete
        "_frames",
        "_left",  # bytes of that frame which are to come
        "_limits",
        "_message",  # bytearray: the message that is not complete
        "_text",  # whether that message is text
        "at",
        "began",
        "since",
        "stash",
        "unfinished",
        "waiting",
        "weight",
    )

    def __init__(self, frames: ServerProtocol, limits: Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._frames = frames
        self._limits = limits
        self._message = bytearray()
        self._dropping = self._text = self.began = self.unfinished = False
        self._fed = self._left = self.at = self.weight = 0
        self.since = 0.0
        self.stash = b""
        self.waiting: deque[tuple[Message, int]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the app that no further frame is to be handled."""
        return len(self.waiting) >= _MESSAGES or self.weight >= _WAITING

    @property
    def held(self) -> int:
        """Bytes that are in memory because of this client."""
        return len(self.stash) - self.at + self._fed + len(self._message) + self.weight

    def add(self, data: bytes) -> int:
        """Take what came; return how many bytes are not handled yet."""
        self.stash = self.stash[self.at :] + data if self.stash else data
        self.at = 0
        return len(self.stash)

    def feed(self) -> int:
        """Handle the next piece of a frame; return the work in bytes, 0 when more has to come first.

        Raises:
            BrokenOffError: what came breaks the protocol or a limit.
        """
        stash, at = self.stash, self.at
        here = len(stash) - at
        if not self._left:
            size = _frame_size(stash, at)
            if not size or not here:
                return 0
            if size < 0:
                self._fail(_PROTOCOL, "a control frame is too long")
            self._left = size
            self._fed = 0
            if not self.unfinished and not stash[at] & 0x08:
                self.unfinished = self.began = True
                self.since = self._clock()
        size = min(self._left, here, _PIECE)
        if not size:
            return 0
        self._left -= size
        self._fed += size
        self.at = at + size
        frames = self._frames
        frames.receive_data(stash[at : self.at])
        if frames.parser_exc is not None:
            sent = frames.close_sent
            raise BrokenOffError(sent.code if sent else _PROTOCOL, sent.reason if sent else "")
        for event in frames.events_received():
            self._fed = 0
            if isinstance(event, Frame):
                size = max(size, len(event.data))
                if event.opcode in _DATA and not self._dropping:
                    self._take(event)
        return size

    def _take(self, frame: Frame) -> None:
        message = self._message
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        # One buffer: a list of a million fragments of one byte takes forty times its bytes.
        message += frame.data
        size = len(message)
        if size > self._limits.message_limit:
            # Where a frame states its length this is known before it is read; not where it was deflated.
            self._fail(_TOO_BIG, "the message is too big")
        if not frame.fin:
            return
        self._message = bytearray()
        self.unfinished = False
        if self._text:
            try:
                text = message.decode()
            except UnicodeDecodeError:
                self._fail(_NOT_TEXT, "the text is not UTF-8")
            self.waiting.append(({"type": "websocket.receive", "text": text}, size))
        else:
            self.waiting.append(({"type": "websocket.receive", "bytes": bytes(message)}, size))
        self.weight += size

    def _fail(self, code: int, reason: str) -> NoReturn:
        self._frames.fail(code, reason)
        raise BrokenOffError(code, reason)

    def deadline(self) -> float:
        """Return when the message that is not complete has to be: later for every byte of it that came."""
        limits = self._limits
        return self.since + limits.body_timeout + (len(self._message) + self._fed) / limits.body_rate

    # -- the ends

    def drop_input(self) -> None:
        """Forget what is not a complete message."""
        self.stash = b""
        self.at = self._fed = 0
        self._message = bytearray()
        self.unfinished = False

    def drop_messages(self) -> None:
        """Forget the messages that the app has not taken."""
        self.waiting.clear()
        self.weight = 0

    def stop(self) -> None:
        """Make no more messages, only read frames: we have sent a close frame."""
        self._dropping = True
        self.drop_messages()
        self._message = bytearray()


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
