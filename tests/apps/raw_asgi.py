"""An ASGI app without any framework."""

import json
from typing import Any

from roadworthy import (
    ConflictError,
    FieldError,
    MethodNotAllowedError,
    NotFoundError,
    ValidationError,
    wait_for_drain,
)
from roadworthy.types import Receive, Scope, Send
from tests.apps.common import BIG_LIST, CANARY, EVENTS, FILE_TEXT, TEXT_CHUNKS, around

__all__ = ("app", "create", "plain")


async def _answer(send: Send, status: int, media_type: str, body: bytes) -> None:
    headers = [(b"Content-Type", media_type.encode()), (b"Content-Length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _json(send: Send, status: int, document: Any) -> None:
    await _answer(send, status, "application/json", json.dumps(document).encode())


async def _stream(send: Send, media_type: str, chunks: list[str], *, drain: bool = False) -> None:
    headers = [(b"content-type", media_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
    if drain:
        await wait_for_drain()
        await send({"type": "http.response.body", "body": b"data: draining\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text") or ""})


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope."""
    if scope["type"] == "lifespan":
        raise RuntimeError("this app knows no lifespan")
    if scope["type"] == "websocket":
        await _websocket(receive, send)
        return
    path: str = scope["path"]
    method: str = scope["method"]
    if path == "/items" and method == "POST":
        document = json.loads(await _body(receive))
        if not isinstance(document, dict) or "name" not in document:
            raise ValidationError(errors=[FieldError("/name", "Field required", "missing")])
        await _json(send, 201, {"name": document["name"]})
        return
    if method not in ("GET", "HEAD"):
        error = MethodNotAllowedError()
        error.headers["Allow"] = "GET, HEAD"
        raise error
    if path == "/fail":
        raise RuntimeError(CANARY)
    if path == "/conflict":
        raise ConflictError("The name is taken")
    if path == "/items":
        await _json(send, 200, BIG_LIST)
    elif path in ("/ok", "/limited"):
        await _json(send, 200, {"ok": True})
    elif path.startswith("/items/") and path[7:].isdecimal() and int(path[7:]) < 1000:
        await _json(send, 200, {"id": int(path[7:])})
    elif path == "/stream":
        await _stream(send, "text/plain", TEXT_CHUNKS)
    elif path == "/events":
        await _stream(send, "text/event-stream", EVENTS, drain=True)
    elif path == "/file":
        await _answer(send, 200, "text/x-python", FILE_TEXT.encode())
    else:
        raise NotFoundError


def create() -> Any:
    """Return the app; it keeps no state."""
    return serve


plain = create()
app = around(create())
