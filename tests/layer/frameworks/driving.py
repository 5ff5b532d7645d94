"""Drives an app under an adapter, as the layer does: exchange in the scope, route asked for afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from roadworthy.layer.exchange import Exchange
from roadworthy.layer.frameworks import EXCHANGE_KEY, Framework
from roadworthy.types import ASGIApp, Message
from tests.asgi_driver import Driven, http_scope
from tests.layer.conftest import make_exchange

__all__ = ("Seen", "answer", "drive")


@dataclass
class Seen:
    """What came of one request."""

    driven: Driven
    exchange: Exchange
    route: str | None
    raised: Exception | None

    def recognised(self, framework: Framework) -> Any:
        """Ask the adapter what the response's body stands for."""
        kind = dict(self.driven.messages[0]["headers"]).get(b"content-type", b"").decode()
        return framework.problem_of(self.driven.status, kind, self.driven.body, self.scope)

    scope: Any = None


async def drive(
    app: ASGIApp,
    framework: Framework,
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    content_type: str = "application/json",
    accept: str | None = None,
) -> Seen:
    """Send one request into the app itself."""
    headers = (
        [(b"content-length", b"%d" % len(body)), (b"content-type", content_type.encode())] if body else []
    )
    if accept is not None:
        headers.append((b"accept", accept.encode()))
    scope = http_scope(method, path, headers)
    exchange = make_exchange(method, scope["path"], headers)
    scope[EXCHANGE_KEY] = exchange
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        # The client stays connected: there is nothing more to hear.
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append({**message, "headers": [(n.lower(), v) for n, v in message.get("headers", ())]})

    raised: Exception | None = None
    try:
        await app(scope, receive, send)
    except Exception as exception:
        raised = exception
    return Seen(Driven(sent), exchange, framework.route_of(scope), raised, scope)


async def answer(app: ASGIApp, method: str, path: str, accept: str) -> Driven:
    """Send one request as a server does and return the response, an exception after it or not."""
    sent: list[Message] = []
    waiting: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    # Starlette raises what it has answered, for the server to record.
    with contextlib.suppress(Exception):
        await app(http_scope(method, path, [(b"accept", accept.encode())]), receive, send)
    return Driven(sent)
