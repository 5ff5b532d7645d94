"""A small HTTP/1.1 server for the zoo: quick to start, and nothing hidden from a fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

Handler = Callable[["Request"], Awaitable["Response"]]

REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


@dataclass(slots=True)
class Request:
    """One request, whole."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    peer: str
    writer: asyncio.StreamWriter
    version: str = "1.1"
    id: str = ""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def path(self) -> str:
        """The path, undecoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    def decoded(self, part: str) -> bytes:
        """Return a part of the path, decoded."""
        return unquote_to_bytes(part)


@dataclass(slots=True)
class Response:
    """One response; ``stream`` instead of ``body`` is sent in chunks."""

    status: int
    body: bytes = b""
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    stream: AsyncIterator[bytes] | None = None
    close: bool = False
    raw: bytes | None = None
    """Bytes to send instead of all this; the connection is closed then."""

    @classmethod
    def json(cls, status: int, value: object, media_type: str = "application/json") -> Response:
        """Make a JSON response."""
        return cls(status, json.dumps(value).encode(), [("Content-Type", media_type)])

    def get(self, name: str) -> str | None:
        """Return a field's value."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def set(self, name: str, value: str) -> None:
        """Set a field, in place of one of the same name."""
        self.fields = [(key, old) for key, old in self.fields if key.lower() != name.lower()]
        self.fields.append((name, value))


class BadRequest(Exception):
    """Raised when a request cannot be read; ``status`` answers it, the rest is what was read."""

    def __init__(
        self, status: int, fields: dict[str, str] | None = None, method: str = "GET", target: str = "/"
    ) -> None:
        self.status, self.fields, self.method, self.target = status, fields or {}, method, target


@dataclass(slots=True, eq=False)
class Server:
    """The server. ``closing`` makes each response the last of its connection."""

    handler: Handler
    body_limit: int = 1 << 20
    chunked_limit: int = 1 << 20
    # What begins so has no limit.
    unlimited: str = "nothing"
    head_limit: int = 1 << 15
    target_limit: int = 1 << 13
    strict: bool = True
    one_read: bool = False
    """Whether what one read of a small body brings is taken for all of it."""
    closing: bool = False
    active: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    idle: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    listener: asyncio.Server | None = None
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    send_close: bool = True

    async def listen(self, host: str, port: int, *, shared: bool = False) -> None:
        """Begin to accept connections; ``shared`` with other processes that listen on the same port."""
        self.quiet.set()
        self.listener = await asyncio.start_server(
            self._connection, host, port, backlog=1024, limit=1 << 17, reuse_port=shared or None
        )

    def deafen(self) -> None:
        """Accept no more connections."""
        assert self.listener is not None
        self.listener.close()

    def hang_up(self) -> None:
        """Close connections that wait for a request."""
        for writer in list(self.idle):
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        number = 1
        try:
            while await self._one(reader, writer, number):
                number += 1
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.writers.discard(writer)
            self.idle.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        self.idle.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            self.idle.discard(writer)
        self.active += 1
        self.quiet.clear()
        try:
            try:
                request = await self._request(head, reader, writer)
            except BadRequest as bad:
                refused = Request(bad.method, bad.target, bad.fields, b"", "", writer)
                refused.facts.update(refused=bad.status, number=number)
                response = await self.handler(refused)
                response.close = True
                await self._send(writer, bad.method, response)
                return False
            request.facts["number"] = number
            response = await self.handler(request)
            asked = request.fields.get("connection", "").lower()
            keep = asked != "close" if request.version == "1.1" else asked == "keep-alive"
            keep = keep and not response.close
            if self.closing and self.send_close:
                keep, response.close = False, True
            await self._send(writer, request.method, response)
            return keep and response.raw is None
        finally:
            self.active -= 1
            if not self.active:
                self.quiet.set()

    async def _request(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request:
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise BadRequest(400)
        if len(parts[1]) > self.target_limit:
            raise BadRequest(414)
        if len(head) > self.head_limit:
            raise BadRequest(431)
        fields: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise BadRequest(400)
            key = name.lower()
            fields[key] = f"{fields[key]}, {value.strip()}" if key in fields else value.strip()
        if "transfer-encoding" in fields and "content-length" in fields and self.strict:
            raise BadRequest(400)
        try:
            free = first.startswith(self.unlimited)
            body = await self._body(fields, reader, writer, free=free)
        except BadRequest as bad:
            raise BadRequest(bad.status, fields, parts[0], parts[1]) from None
        peer = str(writer.get_extra_info("peername")[0])
        return Request(parts[0], parts[1], fields, body, peer, writer, parts[2].removeprefix("HTTP/"))

    async def _body(
        self,
        fields: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        free: bool,
    ) -> bytes:
        if fields.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
                if len(body) > self.chunked_limit and not free:
                    raise BadRequest(413)
            await reader.readuntil(b"\r\n")
            return body
        text = fields.get("content-length", "0")
        if not text.isdecimal():
            raise BadRequest(400)
        if int(text) > self.body_limit and not free:
            raise BadRequest(413)
        if int(text) and fields.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.one_read and int(text) < 4096:
            return await reader.read(int(text))
        return await reader.readexactly(int(text))

    async def _send(self, writer: asyncio.StreamWriter, method: str, response: Response) -> None:
        if response.raw is not None:
            writer.write(response.raw)
            await writer.drain()
            return
        bodyless = method == "HEAD" or response.status in {204, 304}
        lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in response.fields]
        if response.stream is not None:
            lines.append("Transfer-Encoding: chunked")
        elif response.status not in {204, 304}:
            lines.append(f"Content-Length: {len(response.body)}")
        if response.close:
            lines.append("Connection: close")
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        if response.stream is not None and not bodyless:
            async for piece in response.stream:
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif not bodyless:
            writer.write(response.body)
        await writer.drain()
