"""Drives an ASGI app in process, message by message, so that a test can hold, cut or trickle either side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from roadworthy.types import ASGIApp, Headers, Message, Scope

from .patience import DEADLINE

__all__ = ("Call", "Driven", "ask", "http_scope")


def http_scope(method: str = "GET", path: str = "/", headers: Headers | None = None, **more: Any) -> Scope:
    """Return the scope of an HTTP/1.1 request as uvicorn makes it."""
    path, _, query = path.partition("?")
    fields = list(headers or [])
    if not any(name == b"host" for name, _ in fields):
        fields.insert(0, (b"host", b"localhost"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": fields,
        "state": {},
        **more,
    }


def websocket_scope(headers: Headers | None = None, **more: Any) -> Scope:
    """Return the scope of a handshake over HTTP/1.1, which a response may refuse."""
    scope = http_scope("GET", "/ws", headers)
    del scope["method"]
    return {
        **scope,
        "type": "websocket",
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        **more,
    }


class Driven:
    """What came back."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """Fields by name; a repeated one fails the test."""
        found: dict[str, str] = {}
        for name, value in self.messages[0]["headers"]:
            assert name == name.lower()
            assert name.decode() not in found, f"{name!r} is sent twice"
            found[name.decode()] = value.decode()
        return found

    @property
    def body(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.messages[1:])

    @property
    def complete(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body", False) is False

    def json(self) -> Any:
        import json

        return json.loads(self.body)


class Call:
    """One call of the app, in a task of its own, fed and read by the test."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self.sent: list[Message] = []
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._news = asyncio.Event()
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        # That of a server: an `asyncio.Queue.get` would be known as that of a client of tests.
        return await self._inbox.get()

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        self._news.set()

    def feed(self, body: bytes = b"", more: bool = False) -> None:
        """Give the app a piece of the request body."""
        self._inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """Disconnect."""
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def until_sent(self, count: int, seconds: float = DEADLINE) -> list[Message]:
        """Wait until ``count`` messages were sent."""
        async with asyncio.timeout(seconds):
            while len(self.sent) < count:
                self._news.clear()
                await self._news.wait()
        return self.sent

    async def done(self, seconds: float = DEADLINE) -> Driven:
        """Wait until the app is done; raises what it raised."""
        async with asyncio.timeout(seconds):
            await self.task
        return Driven(self.sent)


async def ask(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    headers: Headers | None = None,
    body: bytes | Iterable[bytes] = b"",
    **more: Any,
) -> Driven:
    """Send one request with its whole body and return the response."""
    fields = list(headers or [])
    parts = [body] if isinstance(body, bytes) else list(body)
    if body and isinstance(body, bytes) and not any(name == b"content-length" for name, _ in fields):
        fields.append((b"content-length", str(len(body)).encode()))
    elif not isinstance(body, bytes):
        fields.append((b"transfer-encoding", b"chunked"))
    call = Call(app, http_scope(method, path, fields, **more))
    for number, part in enumerate(parts):
        call.feed(part, more=number < len(parts) - 1)
    return await call.done()
