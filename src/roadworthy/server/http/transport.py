"""The transport side of a connection: reading and writing in step with the other end, and ways to close."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from fcntl import ioctl
from math import inf
from struct import pack
from sys import byteorder
from termios import TIOCOUTQ
from typing import Any, ClassVar

from ...errors import APIError
from ...settings import Settings
from ..process.uvicorn_names import State
from ..websocket.crowd import Crowd
from .cycle import Cycle
from .limits import Limits
from .sweep import Sweep

__all__ = ("BODY", "BUSY", "CLOSING", "FRESH", "HEAD", "IDLE", "LINGER", "Stream")

FRESH, IDLE, HEAD, BODY, BUSY, LINGER, CLOSING = range(7)
"""Phases of a connection, see :mod:`roadworthy.server.http.connection`."""

_DISPENSABLE = frozenset((FRESH, IDLE, HEAD, BODY, LINGER))

# Closing with unread bytes makes the kernel send a reset, which can destroy the response on its way
# (RFC 9112 §9.6). So what still comes is read first, for a while.
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 16 << 20

_RESET = pack("ii", 1, 0)


class Stream(asyncio.Protocol):
    """What a connection does whatever is said over it."""

    limits: ClassVar[Limits] = Limits()
    settings: ClassVar[Settings | None] = None
    sweep: ClassVar[Sweep] = Sweep(Limits())
    crowd: ClassVar[Crowd] = Crowd()

    __slots__ = (
        "_current",  # Cycle | None: the one whose response is next
        "_drained",  # bytes thrown away
        "_ended",  # the client sends no more
        "_incoming",  # Cycle | None: the one whose body is next
        "_late",  # a deadline of the client's has passed
        "_loop",
        "_paused_at",  # when reading was paused within a body, 0 otherwise
        "_phase",
        "_queue",  # deque[Cycle | APIError]: what comes after the current one
        "_reading",
        "_since",  # when the body began
        "_stash",  # bytes that are not parsed yet
        "_transport",
        "_unsent",  # bytes in the transport when the write deadline was set
        "_writable",
        "read_deadline",
        "state",
        "write_deadline",
        "write_paused",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, state: State) -> None:
        self._loop = loop
        self.state = state
        self._transport: Any = None
        self._queue: deque[Cycle | APIError] = deque()
        self._current: Cycle | None = None
        self._incoming: Cycle | None = None
        self._writable: asyncio.Event | None = None
        self._phase = FRESH
        self._stash = b""
        self._drained: int = 0
        self._unsent = 0
        self._paused_at = self._since = 0.0
        self._reading = True
        self._ended = self._late = self.write_paused = False
        self.read_deadline = self.write_deadline = inf

    # -- writing

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        """The client does not take what the transport holds."""
        self.write_paused = True
        self._unsent = self._count_unsent()
        self.write_deadline = self._loop.time() + self.limits.write_timeout

    def resume_writing(self) -> None:
        """It does again."""
        self.write_paused = False
        self.write_deadline = inf
        if self._writable is not None:
            self._writable.set()

    async def drain(self) -> None:
        """Wait until the transport takes more, or is lost."""
        if self._writable is None:
            self._writable = asyncio.Event()
        while self.write_paused:
            self._writable.clear()
            await self._writable.wait()

    def _is_stuck(self, now: float) -> bool:
        """Tell whether the client has taken next to nothing since the deadline was set; set a new one."""
        unsent = self._count_unsent()
        if self._unsent - unsent < self.limits.write_rate * self.limits.write_timeout:
            return True
        self._unsent = unsent
        self.write_deadline = now + self.limits.write_timeout
        return False

    def _count_unsent(self) -> int:
        # The kernel holds megabytes itself, and for a slow client it takes them in large steps: without its
        # queue a client at 40 KB/s would seem to take nothing for half a minute.
        size: int = self._transport.get_write_buffer_size()
        sock = self._transport.get_extra_info("socket")
        try:
            return size + int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, b"\0\0\0\0"), byteorder)
        except (OSError, AttributeError):
            return size

    # -- reading

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()
            if self._phase == BODY:
                # The client is not at fault as long as we do not read.
                self._paused_at = self._loop.time()
                self.read_deadline = inf

    def _resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
            if self._paused_at:
                now = self._loop.time()
                self._since += now - self._paused_at
                self._paused_at = 0.0
                if self._phase == BODY:
                    self.read_deadline = now

    def resume_body(self, cycle: Cycle) -> None:
        """The app has taken what was buffered of the body."""
        if not self._reading and self._incoming is cycle and not self._stash:
            self._resume_reading()

    def _throw_away(self, size: int) -> None:
        self._drained += size
        if self._drained > _LINGER_BYTES:
            if self._current is None:
                self._close()
            else:
                self._pause_reading()

    # -- closing

    def place_in_line(self, now: float) -> tuple[int, float] | None:
        """Return when its turn is to give way to a new connection, the lowest first; None for never."""
        current = self._current
        if current is None:
            # In a body, it is one whose answer is complete.
            return (0, self.read_deadline) if self._phase in _DISPENSABLE else None
        if self._phase == BODY and current is self._incoming and current.untouched and self._reading:
            behind = now - self._since > current.received / self.limits.body_rate
            return (1, self.read_deadline) if behind else None
        # It may be waiting for the answer with its own side closed, and more likely it has left.
        return (2, 0.0) if self._ended else None

    def _linger(self) -> None:
        """Shut down writing, for all is said, and read on for a while, so that the client gets to see it."""
        transport = self._transport
        self._queue.clear()
        self._stash = b""
        # One that was too slow has sent nothing that is unread, and has held the connection for long enough.
        if self._late or self._ended or transport.is_closing() or not transport.can_write_eof():
            self._close()
            return
        self._phase = LINGER
        self._drained = 0
        self._paused_at = 0.0
        self._resume_reading()
        transport.write_eof()
        self.read_deadline = self._loop.time() + _LINGER_SECONDS

    def _close(self) -> None:
        self._phase = CLOSING
        self._unsent = self._count_unsent()
        self.read_deadline = self._loop.time() + self.limits.write_timeout
        self._transport.close()

    def drop(self, *, hard: bool) -> None:
        """Close without a complete response."""
        if self._current is not None:
            self._current.leave(lost=True)
        if hard:
            self._phase = CLOSING
            sock = self._transport.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                # Only with this is the end a reset; it would be an orderly one, and the body seem complete.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._close()
