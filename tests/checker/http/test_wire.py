"""The checker's HTTP client: every way in which an exchange can end is kept apart."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from roadworthy.checker.http.request import Address
from roadworthy.checker.http.wire import Connection, DialFailed, Ending, exchange
from tests.free_port import free_port
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    """The client is written for asyncio."""
    return "asyncio"


@asynccontextmanager
async def serving(handler: Handler, heads: list[bytes] | None = None) -> AsyncIterator[Address]:
    """Serve connections with a handler, keeping request heads; what it leaves open is closed at the end."""
    over = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head)
            await handler(reader, writer)
        if not writer.is_closing():
            await over.wait()
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        over.set()
        server.close()
        await server.wait_closed()


def saying(data: bytes, *, close: bool = True, size: int = 65_536) -> Handler:
    """Return a handler that answers with these bytes, ``size`` at a time."""

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()

    return handler


async def resetting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


_WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "close", "ending", "status"),
    [
        (_WHOLE, False, Ending.COMPLETE, 200),
        (_CHUNKED, False, Ending.COMPLETE, 200),
        (b"HTTP/1.1 200 OK\r\n\r\nok", True, Ending.COMPLETE, 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, Ending.COMPLETE, 204),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + _WHOLE, False, Ending.COMPLETE, 200),
        (b"", True, Ending.EOF, 0),
        (b"", False, Ending.SILENT, 0),
        (_WHOLE[:-1], True, Ending.TRUNCATED, 200),
        (_WHOLE[:-1], False, Ending.STALLED, 200),
        (_WHOLE[:20], True, Ending.TRUNCATED, 0),
        (_CHUNKED[:-5], True, Ending.TRUNCATED, 200),
        (b"SSH-2.0-OpenSSH\r\n", True, Ending.GARBAGE, 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"2" * 4_301), True, Ending.GARBAGE, 200),
    ],
    ids=[
        *("whole", "chunked", "until close", "no content", "interim", "eof", "silent", "truncated"),
        *("stalled", "half a head", "no last chunk", "garbage"),
        "a length of more digits than Python reads",
    ],
)
@pytest.mark.parametrize("size", [65_536, 1], ids=["at once", "byte by byte"])
async def test_endings(data: bytes, close: bool, ending: Ending, status: int, size: int) -> None:
    """Each ending is named, also where the bytes come one by one."""
    patience = 0.4 if ending in {Ending.SILENT, Ending.STALLED} else 10.0
    async with serving(saying(data, close=close, size=size)) as address:
        answer = await exchange(address, "GET", "/", seconds=patience)
    assert (answer.ending, answer.status) == (ending, status), answer
    if ending is Ending.COMPLETE and status == 200:
        assert answer.body == b"ok"


async def test_a_request_a_byte_at_a_time() -> None:
    """Each byte is sent by itself, the request arrives as a whole, and its answer is read."""
    bodies: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await reader.readexactly(5))
        writer.write(_WHOLE)

    heads: list[bytes] = []
    async with serving(handler, heads) as address, await Connection.open(address) as connection:
        answer = await connection.exchange("POST", "/", (), b"hello", interval=0.0001)
        sent = [event.count for event in connection.events if event.kind == "sent"]
    assert (answer.status, bodies) == (200, [b"hello"])
    assert heads[0].startswith(b"POST / HTTP/1.1\r\n")
    assert sent == [1] * (len(heads[0]) + 5)


async def test_a_request_a_byte_at_a_time_ends_with_its_refusal() -> None:
    """What is refused on its way is not sent to its end."""
    async with serving(saying(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")) as address:
        answer = await exchange(address, "POST", "/", (), b"a" * 10_000, interval=0.001)
    assert answer.status == 413
    assert answer.seconds < 9


async def test_a_reset() -> None:
    """A connection that is broken off is no end of file."""
    async with serving(resetting) as address:
        answer = await exchange(address, "GET", "/")
    assert (answer.ending, answer.status) == (Ending.RESET, 0)


async def test_a_refused_connection() -> None:
    """Where nobody listens the exchange is refused, and dialling says so."""
    address = Address("127.0.0.1", free_port())
    answer = await exchange(address, "GET", "/")
    assert answer.ending is Ending.REFUSED
    assert str(answer).startswith("refused (")
    with pytest.raises(DialFailed) as failed:
        await Connection.open(address)
    assert failed.value.ending is Ending.REFUSED


async def test_a_head_has_no_body() -> None:
    """What follows the head of a response to HEAD is counted: it should not be there."""
    async with serving(saying(_WHOLE)) as address:
        answer = await exchange(address, "HEAD", "/")
    assert (answer.ending, answer.status, answer.body, answer.body_bytes) == (Ending.COMPLETE, 200, b"", 2)


async def test_a_refusal_is_read_while_the_body_is_sent() -> None:
    """An early 413 is read although the server takes no more of the body (rwf2/Rocket#2783)."""
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(refusal, close=False)) as address:
        answer = await exchange(address, "POST", "/", body=b"a" * (32 << 20), seconds=5)
    assert (answer.ending, answer.status) == (Ending.COMPLETE, 413)


async def test_several_exchanges_on_one_connection() -> None:
    """One connection carries exchange after exchange; nothing of one is left for the next."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(3):
            if number:
                await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    async with serving(echo) as address, await Connection.open(address) as connection:
        bodies = [(await connection.exchange("GET", "/")).body for _ in range(3)]
    assert bodies == [b"0", b"1", b"2"]
    kinds = [event.kind for event in connection.events]
    assert kinds[0] == "dial"
    assert kinds.count("sent") == 3


async def test_a_cancelled_exchange_ends() -> None:
    """A loop of exchanges that is cancelled ends, whatever moment it is at: closing swallows nothing."""

    async def forever(address: Address) -> None:
        while True:
            await exchange(address, "GET", "/", seconds=5)

    # The server keeps the connections open, so that closing them has a reader to end.
    async with serving(saying(_WHOLE, close=False)) as address:
        for moments in range(10, 70):
            loops = [asyncio.create_task(forever(address)) for _ in range(5)]
            for _ in range(moments):
                await asyncio.sleep(0)
            for loop in loops:
                loop.cancel()
            _, left = await asyncio.wait(loops, timeout=DEADLINE)
            for loop in left:
                loop.cancel()
            assert not left


async def test_a_slow_reader_keeps_its_pace() -> None:
    """A slow reader reads as fast as it is told to, also where the kernel's buffer is small."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n"
    async with (
        serving(saying(head + b"a" * 400_000)) as address,
        await Connection.open(address, receive_buffer=8192, bytes_per_second=4_000_000) as connection,
    ):
        answer = await connection.exchange("GET", "/")
        assert answer.complete
        assert 0.09 < answer.seconds < 0.6


async def test_a_source_address() -> None:
    """A client can come from another address of this machine."""
    seen: list[str] = []

    async def peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(_WHOLE)

    async with serving(peer) as address:
        await exchange(address, "GET", "/", source="127.0.0.2")
    assert seen == ["127.0.0.2"]


async def test_repeated_fields_are_joined() -> None:
    """Field lines are told apart and joined as RFC 9110 has it, whatever their case."""
    fields = b"Vary: a\r\nVARY: b\r\nContent-Type: Text/HTML; charset=x\r\nContent-Length: 0\r\n\r\n"
    data = b"HTTP/1.1 200 OK\r\n" + fields
    async with serving(saying(data)) as address:
        answer = await exchange(address, "GET", "/")
    assert (answer.all("vary"), answer.field("Vary"), answer.media_type) == (["a", "b"], "a, b", "text/html")
