"""The checker's own HTTP/1.1 client: one connection is one object, and nothing happens unasked.

No retry, no redirect, no pooling, no ``Accept-Encoding`` of its own; a body stays as it came. Every event
on a connection keeps its monotonic time, and every way in which an exchange can end is kept apart
(:class:`Ending`): a refused connection means something else than one that is accepted and left
silent, or that is reset, or that ends in the middle of a body.

:func:`exchange` is for the ordinary case, :class:`Connection` for everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from ..service.news import News
from .codings import Undecodable, codings_of, decode
from .request import Address, Event, Fields, Request, build_request
from .response import Head, ResponseParser

__all__ = (
    "Answer",
    "Connection",
    "DialFailed",
    "Ending",
    "exchange",
)


_CHUNK = 65_536


class Ending(StrEnum):
    """How an exchange ended."""

    COMPLETE = "complete"
    """A whole response came."""
    REFUSED = "refused"
    """Nobody listens."""
    UNREACHABLE = "unreachable"
    """The connection was not accepted within its time."""
    SILENT = "silent"
    """Accepted, and not one byte of an answer within the deadline."""
    STALLED = "stalled"
    """An answer began and did not end within the deadline."""
    RESET = "reset"
    """The peer reset the connection before a whole response."""
    EOF = "eof"
    """The peer closed the connection without one byte of an answer."""
    TRUNCATED = "truncated"
    """The peer closed the connection in the middle of an answer."""
    GARBAGE = "garbage"
    """What came is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how it ended.

    ``status`` is 0 when no response head came; :attr:`ending` is the reason.
    """

    request: Request
    ending: Ending
    head: Head | None = None
    interim: tuple[Head, ...] = ()
    body: bytes = b""
    body_bytes: int = 0
    """Bytes after the head as they were on the wire, framing included; for HEAD what should not be there."""
    framing: str = "none"
    problem: str = ""
    """What was not HTTP, or the error of the operating system."""
    began: float = 0.0
    first_byte: float = 0.0
    ended: float = 0.0

    @property
    def status(self) -> int:
        """The status code, or 0."""
        return self.head.status if self.head else 0

    @property
    def complete(self) -> bool:
        """Whether a whole response came."""
        return self.ending is Ending.COMPLETE

    @property
    def ok(self) -> bool:
        """Whether a whole response of the class 2xx came."""
        return self.complete and 200 <= self.status < 300

    @property
    def seconds(self) -> float:
        """From the first byte sent to the last byte received."""
        return self.ended - self.began

    def all(self, name: str) -> list[str]:
        """Return the value of each line of a field."""
        return self.head.all(name) if self.head else []

    def field(self, name: str) -> str | None:
        """Return a field's value, its lines joined by commas (RFC 9110 §5.3), or None when it is absent."""
        values = self.all(name)
        return ", ".join(values) if values else None

    @property
    def media_type(self) -> str:
        """The media type in lower case, without parameters; empty without one."""
        return (self.field("content-type") or "").partition(";")[0].strip().lower()

    @property
    def content(self) -> bytes:
        """The body without its content codings, or as it came where they cannot be undone.

        To a request without Accept-Encoding a server may answer in any coding (RFC 9110 §12.5.3).
        """
        codings = codings_of(self.field("content-encoding"))
        try:
            return decode(codings, self.body)
        except Undecodable:
            return self.body

    @property
    def text(self) -> str:
        """The content decoded as UTF-8; invalid bytes are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the content as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    def __str__(self) -> str:
        """Return a few words: ``404 application/json, 71 bytes`` or ``reset``."""
        if not self.head:
            return str(self.ending) + (f" ({self.problem})" if self.problem else "")
        kind = self.media_type or "no content type"
        end = "" if self.complete else f", {self.ending}"
        return f"{self.status} {kind}, {len(self.body)} bytes{end}"


class DialFailed(Exception):
    """Raised when a connection could not be opened; ``ending`` is the reason."""

    def __init__(self, ending: Ending, problem: str, at: float) -> None:
        super().__init__(f"{ending}: {problem}")
        self.ending = ending
        self.problem = problem
        self.at = at


@dataclass(slots=True, eq=False)
class Connection:
    """One TCP connection. Open it with :meth:`open`, use it as an async context manager.

    Bytes are received all the time, also while sending, unless a rate was given.
    """

    address: Address
    sock: socket.socket
    events: list[Event] = field(default_factory=list[Event])
    received: bytearray = field(default_factory=bytearray)
    """Everything that came, in order."""
    judge: Callable[[bytes], None] | None = None
    """Asked before anything is sent; what it raises is raised."""
    hear: Callable[[Answer], None] | None = None
    """Gets each answer that was read."""
    _parsed: int = 0
    _news: News = field(default_factory=News)
    _reader: asyncio.Task[None] | None = None
    _over: str = ""
    _closed: bool = False

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        source: str | None = None,
        seconds: float = 3.0,
        receive_buffer: int | None = None,
        bytes_per_second: int | None = None,
    ) -> Self:
        """Dial.

        Parameters:
            source: the local address to come from, such as ``127.0.0.2``.
            seconds: how long the peer has to accept.
            receive_buffer: size of the kernel's buffer (SO_RCVBUF) in bytes; a small one makes a slow reader
                felt.
            bytes_per_second: how fast to read; as fast as it comes when None.

        Raises:
            DialFailed: nobody listens, or nobody accepted in time.
        """
        sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                sock.bind((source, 0))
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, (address.host, address.port))
        except TimeoutError:
            sock.close()
            raise DialFailed(
                Ending.UNREACHABLE, f"not accepted within {seconds:g} s", time.monotonic()
            ) from None
        except OSError as error:
            sock.close()
            ending = Ending.REFUSED if isinstance(error, ConnectionRefusedError) else Ending.UNREACHABLE
            raise DialFailed(ending, error.strerror or str(error), time.monotonic()) from None
        except BaseException:
            sock.close()
            raise
        self = cls(address, sock)
        self._happened("dial")
        self._reader = asyncio.create_task(self._read(bytes_per_second))
        return self

    async def __aenter__(self) -> Self:
        """Return the connection."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    # What one does to the peer

    async def send(self, data: bytes, seconds: float = 10.0) -> bool:
        """Send bytes as they are; return False when the peer no longer takes them."""
        self._ask_judge(data)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_sendall(self.sock, data)
        except OSError:  # TimeoutError is one
            self._happened("send-failed")
            return False
        self._happened("sent", len(data))
        return True

    async def trickle(self, data: bytes, interval: float) -> bool:
        """Send a byte every ``interval`` seconds, until all are sent or the connection is over."""
        self._ask_judge(data)
        for at in range(len(data)):
            if self.over or not await self.send(data[at : at + 1]):
                return False
            await self.wait_over(interval)
        return True

    async def reset(self) -> None:
        """Break the connection off with RST, as a client does whose process was killed."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._happened("aborted")
        await self.close()

    async def close(self) -> None:
        """Close the connection; what is buffered in it is lost."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._reader is not None:
                self._reader.cancel()
                # Awaiting it, and passing over its CancelledError, would pass over our own as well.
                await asyncio.wait([self._reader])
        finally:
            self.sock.close()

    # What the peer does

    @property
    def over(self) -> str:
        """How the peer ended the connection: ``eof``, ``reset`` or, while it lasts, nothing."""
        return self._over

    @property
    def is_read(self) -> bool:
        """Whether nothing came that belongs to no response."""
        return self._parsed == len(self.received)

    async def wait_over(self, seconds: float) -> bool:
        """Wait until the peer has ended the connection; return False when it still lasts."""
        return await self._news.wait(lambda: bool(self._over), seconds)

    async def wait_bytes(self, count: int, seconds: float) -> bool:
        """Wait until ``count`` bytes in all have come."""
        return await self._news.wait(lambda: len(self.received) >= count or bool(self._over), seconds) and (
            len(self.received) >= count
        )

    async def answer(self, request: Request, seconds: float = 10.0, began: float | None = None) -> Answer:
        """Read the next response on this connection, as the answer to ``request``.

        Parameters:
            seconds: how long it may take from now.
            began: when the request was sent, for :attr:`Answer.seconds`; now when None.
        """
        start = time.monotonic() if began is None else began
        parser = ResponseParser(request.method)
        came_before = self._parsed
        first = 0.0

        def step() -> bool:
            nonlocal first
            fresh = bytes(self.received[self._parsed :])
            if fresh and not first:
                first = self._time_of(self._parsed)
            self._parsed += len(fresh)
            parser.feed(fresh)
            return parser.done or bool(self._over)

        in_time = await self._news.wait(step, seconds)
        if parser.done:
            rest = len(parser.rest)
            self._parsed -= rest
        whole = parser.end() if self._over == "eof" else parser.done
        ended = self._time_of(max(self._parsed - 1, 0)) if self._parsed > came_before else time.monotonic()
        if self._over and not whole:
            ended = next((event.at for event in reversed(self.events) if event.kind == self._over), ended)
        found = Answer(
            request=request,
            ending=self._judge(parser, whole, in_time, self._parsed > came_before),
            head=parser.head,
            interim=tuple(parser.interim),
            body=bytes(parser.body),
            # After a response to HEAD nothing may come: what is left over counts as its body.
            body_bytes=len(parser.rest) if request.method == "HEAD" else parser.body_bytes,
            framing=parser.framing,
            problem=parser.malformed or "",
            began=start,
            first_byte=first,
            ended=ended,
        )
        if self.hear is not None:
            self.hear(found)
        return found

    def _ask_judge(self, data: bytes) -> None:
        if self.judge is not None:
            self.judge(data)

    async def exchange(
        self,
        method: str,
        path: str,
        headers: Fields = (),
        body: bytes | None = None,
        seconds: float = 10.0,
        interval: float | None = None,
        version: str = "1.1",
    ) -> Answer:
        """Send one request on this connection and read its response; the connection stays open.

        Parameters:
            interval: seconds between one byte of the request and the next; all at once when None.
            version: of HTTP.
        """
        later = any(event.kind == "sent" for event in self.events)
        request, data = build_request(self.address, method, path, headers, body, version=version, later=later)
        self._ask_judge(data)
        began = time.monotonic()
        # A refusal may come while the body is on its way (413, 431): sending must not hold up reading.
        sending = asyncio.create_task(
            self.send(data, seconds) if interval is None else self.trickle(data, interval)
        )
        try:
            return await self.answer(request, seconds, began)
        finally:
            sending.cancel()
            await asyncio.wait([sending])

    def _judge(self, parser: ResponseParser, whole: bool, in_time: bool, came: bool) -> Ending:
        if parser.malformed:
            return Ending.GARBAGE
        if whole:
            return Ending.COMPLETE
        if not in_time:
            return Ending.STALLED if came else Ending.SILENT
        if self._over == "reset":
            return Ending.RESET
        return Ending.TRUNCATED if came else Ending.EOF

    def _happened(self, kind: str, count: int = 0) -> None:
        self.events.append(Event(time.monotonic(), kind, count))

    def _time_of(self, offset: int) -> float:
        seen = 0
        for event in self.events:
            if event.kind == "data":
                seen += event.count
                if seen > offset:
                    return event.at
        return time.monotonic()

    async def _read(self, bytes_per_second: int | None) -> None:
        loop = asyncio.get_running_loop()
        size = _CHUNK if bytes_per_second is None else max(bytes_per_second // 20, 1)
        while not self._over:
            data = b""
            try:
                data = await loop.sock_recv(self.sock, size)
                self._over = "" if data else "eof"
            except OSError:
                self._over = "reset"
            self.received += data
            self._happened(self._over or "data", 0 if self._over else len(data))
            await self._news.announce()
            if bytes_per_second is not None and not self._over:
                # A small buffer of the kernel seldom holds as much as was asked for.
                await asyncio.sleep(len(data) / bytes_per_second)


async def exchange(
    address: Address,
    method: str,
    path: str,
    headers: Fields = (),
    body: bytes | None = None,
    *,
    seconds: float = 10.0,
    source: str | None = None,
    interval: float | None = None,
    version: str = "1.1",
) -> Answer:
    """Dial, send one request, read its response, close. Never raises for what the peer does.

    Parameters:
        seconds: the deadline from the first byte sent; dialling has three seconds of its own.
        source: the local address to come from.
        interval: seconds between one byte of the request and the next; all at once when None.
        version: of HTTP.
    """
    began = time.monotonic()
    try:
        connection = await Connection.open(address, source=source)
    except DialFailed as failed:
        request, _ = build_request(address, method, path, headers, body, version=version)
        return Answer(request, failed.ending, problem=failed.problem, began=began, ended=failed.at)
    async with connection:
        return await connection.exchange(method, path, headers, body, seconds, interval, version)
