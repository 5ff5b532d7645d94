"""A connection without a socket: an ``asyncio.Transport`` that keeps what is written, and a client's side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ("MemoryTransport", "converse")

_TURNS = 3_000
"""Of the event loop, after which something that was expected is not going to happen. Each takes microseconds,
and none waits: nothing here has to do with the clock."""


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection whose other end is the test.

    Attributes:
        written: all that the server has sent.
        reading: whether the server takes bytes.
        lost: the connection is over, and the protocol knows.
        ended: the server sends no more.
    """

    def __init__(self, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": ("192.0.2.7", 4711), "sockname": ("192.0.2.1", 80)})
        self._protocol: asyncio.BaseProtocol = protocol
        self._loop = loop
        self._closing = False
        self.written = bytearray()
        self.reading = True
        self.lost = self.ended = False

    @property
    def takes(self) -> bool:
        """Whether bytes may be given to the protocol now."""
        return self.reading and not self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            assert not self.ended, "the server writes after it has sent its end"
            self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 1 << 16

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any: nothing is ever buffered."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)

    def abort(self) -> None:
        self.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def _lose(self) -> None:
        self._protocol.connection_lost(None)
        self.lost = True


async def converse(
    protocol: asyncio.Protocol, pieces: Iterable[bytes], turns: int, tasks: set[Any]
) -> MemoryTransport:
    """Send pieces to a protocol, then the end, and wait until the connection is over and nothing runs.

    Parameters:
        turns: of the event loop, between two pieces.
        tasks: what the server is at; empty when it has answered everything.
    """
    transport = MemoryTransport(protocol, asyncio.get_running_loop())
    protocol.connection_made(transport)
    for piece in pieces:
        await _until_read(transport, turns)
        if transport.is_closing():
            break
        receiver: Any = transport.get_protocol()
        receiver.data_received(piece)
    # Where nothing is read, the end is not seen either.
    await _until_read(transport, 0)
    receiver = transport.get_protocol()
    if not transport.is_closing() and not receiver.eof_received():
        transport.close()
    for _ in range(_TURNS):
        if not tasks and transport.is_closing():
            break
        # A client that has heard everything closes.
        if not tasks and not transport.lost:
            await asyncio.sleep(0)
            if not tasks:
                transport.close()
        await asyncio.sleep(0)
    else:
        raise AssertionError("the server has not come to an end")
    for _ in range(_TURNS):
        if transport.lost and not tasks:
            return transport
        await asyncio.sleep(0)
    raise AssertionError("something runs on behind a lost connection")


async def _until_read(transport: MemoryTransport, turns: int) -> None:
    for turn in range(_TURNS):
        if turn >= turns and (transport.takes or transport.is_closing()):
            return
        await asyncio.sleep(0)
    raise AssertionError("the server reads no more, and does not close")
