"""The transport of a connection: reading and writing in step with the other end, and ways to close."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from fcntl import ioctl
from math import inf
from struct import pack
from sys import byteorder
from termios import TIOCOUTQ
from typing import Any, TypeAlias

from .limits import Limits

__all__ = ("Address", "Stream")

# Bytes of a client that are thrown away while it may still see its response; then the connection closes.
_LINGER_BYTES = 16 << 20

_RESET = pack("ii", 1, 0)

Address: TypeAlias = tuple[str, int | None]
"""Host and port, or the path of a Unix socket and None."""


class Stream:
    """The part of a connection that has its transport, whatever protocol runs over it.

    Parameters:
        loop: the event loop.
        limits: of the connection.

    Attributes:
        transport: asyncio's.
        write: hands bytes to it.
        write_paused: the client does not take what the transport holds.
        write_deadline: when it has to have taken some; ``inf`` while it does.
        reading: whether bytes are read.
    """

    __slots__ = (
        "_discarded",  # bytes thrown away
        "_limits",
        "_loop",
        "_paused_at",  # when reading was paused
        "_unsent",  # bytes in the transport when the write deadline was set
        "_writable",
        "reading",
        "transport",
        "write",
        "write_deadline",
        "write_paused",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._writable: asyncio.Event | None = None
        self._discarded = self._unsent = 0
        self._paused_at = 0.0
        self.transport: Any = None
        self.write: Callable[[bytes], None] = _nowhere
        self.write_paused = False
        self.write_deadline = inf
        self.reading = True

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """Begin to use a transport."""
        self.transport = transport
        self.write = self.transport.write

    def addresses(self) -> tuple[Address | None, Address | None]:
        """Return the addresses of the client and of this server, as a scope has them; None for unknown."""
        sock = self.transport.get_extra_info("socket")
        return (
            _address(self.transport, sock, "getpeername", "peername"),
            _address(self.transport, sock, "getsockname", "sockname"),
        )

    @property
    def is_encrypted(self) -> bool:
        """Whether this is TLS."""
        return bool(self.transport.get_extra_info("sslcontext"))

    # -- writing

    def pause_writing(self) -> None:
        """The client does not take what the transport holds."""
        self.write_paused = True
        self._unsent = self._count_unsent()
        self.write_deadline = self._loop.time() + self._limits.write_timeout

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

    def is_stuck(self, now: float) -> bool:
        """Return whether the client has taken next to nothing since the deadline was set; set a new one."""
        limits = self._limits
        unsent = self._count_unsent()
        if self._unsent - unsent < limits.write_rate * limits.write_timeout:
            return True
        self._unsent = unsent
        self.write_deadline = now + limits.write_timeout
        return False

    def _count_unsent(self) -> int:
        # The kernel holds megabytes itself, and for a slow client it takes them in large steps: without its
        # queue a client at 40 KB/s would seem to take nothing for half a minute.
        size: int = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        try:
            return size + int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, b"\0\0\0\0"), byteorder)
        except (OSError, AttributeError):
            return size

    # -- reading

    def pause(self) -> None:
        """Read nothing for now."""
        if self.reading:
            self.reading = False
            self.transport.pause_reading()
            self._paused_at = self._loop.time()

    def resume(self) -> float:
        """Read again; return for how many seconds nothing was read."""
        if self.reading:
            return 0.0
        self.reading = True
        self.transport.resume_reading()
        return self._loop.time() - self._paused_at

    def discard(self, size: int) -> bool:
        """Count bytes that are thrown away; return whether they have become too many."""
        self._discarded += size
        return self._discarded > _LINGER_BYTES

    # -- closing

    def can_shut(self) -> bool:
        """Return whether writing can be shut down while the client is still read."""
        return not self.transport.is_closing() and bool(self.transport.can_write_eof())

    def shut(self) -> None:
        """Shut down writing, and read on."""
        self._discarded = 0
        self.resume()
        self.transport.write_eof()

    def close(self) -> None:
        """Close once everything is sent; from now on a client that takes nothing :meth:`is_stuck`."""
        self._unsent = self._count_unsent()
        if not self.transport.is_closing():
            self.transport.close()

    def abort(self) -> None:
        """Close now."""
        self.transport.abort()

    def reset(self) -> None:
        """Close so that the client cannot take the end for an orderly one."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            # Only with this is the end a reset; it would be an orderly one, and the body seem complete.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def lose(self) -> None:
        """The transport is lost: let go who waits for it."""
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()


def _nowhere(data: bytes) -> None:
    raise AssertionError("there is no transport yet")


def _address(transport: asyncio.BaseTransport, sock: Any, ask: str, name: str) -> Address | None:
    try:
        found: Any = getattr(sock, ask)() if sock is not None else transport.get_extra_info(name)
    except OSError:
        return None
    if not isinstance(found, str):
        return (str(found[0]), int(found[1])) if found else None
    # A Unix socket: the path of ours, nothing of the client's.
    return (found, None) if found and name == "sockname" else None
