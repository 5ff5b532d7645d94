"""Starlette: routes, a class-based endpoint, a parametrised mount."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from roadworthy import ConflictError, FieldError, NotFoundError, ValidationError, wait_for_drain
from tests.apps.common import BIG_LIST, CANARY, EVENTS, TEXT_CHUNKS, around

__all__ = ("app", "create", "plain")


class Items(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        """Return everything."""
        return JSONResponse(BIG_LIST)

    async def post(self, request: Request) -> Response:
        """Make one item."""
        document = json.loads(await request.body())
        if not isinstance(document, dict) or "name" not in document:
            raise ValidationError(errors=[FieldError("/name", "Field required", "missing")])
        return JSONResponse({"name": document["name"]}, 201)


async def item(request: Request) -> Response:
    """Return one item."""
    number = int(request.path_params["item_id"])
    if number >= 1000:
        raise NotFoundError(f"No item {number}")
    return JSONResponse({"id": number})


async def ok(request: Request) -> Response:
    """Answer."""
    return JSONResponse({"ok": True})


async def limited(request: Request) -> Response:
    """Answer three times an hour."""
    return JSONResponse({"ok": True})


async def fail(request: Request) -> Response:
    """Fail without a handler."""
    raise RuntimeError(CANARY)


async def conflict(request: Request) -> Response:
    """Raise one of the layer's errors."""
    raise ConflictError("The name is taken")


async def stream(request: Request) -> Response:
    """Return chunks of text."""

    async def chunks() -> AsyncIterator[str]:
        for chunk in TEXT_CHUNKS:
            yield chunk
            await asyncio.sleep(0)

    return StreamingResponse(chunks(), media_type="text/plain")


async def events(request: Request) -> Response:
    """Send two events, and a last one when the process drains."""

    async def chunks() -> AsyncIterator[str]:
        for event in EVENTS:
            yield event
        await wait_for_drain()
        yield "data: draining\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def file(request: Request) -> Response:
    """Return this file."""
    return FileResponse(Path(__file__), media_type="text/x-python")


async def echo(websocket: WebSocket) -> None:
    """Send back each text."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def create() -> Starlette:
    """Make the app anew."""
    below = Starlette(routes=[Route("/items/{item_id:int}", item), Route("/fail", fail)])
    return Starlette(
        routes=[
            Route("/items", Items),
            Route("/items/{item_id:int}", item),
            Route("/ok", ok),
            Route("/limited", limited),
            Route("/fail", fail),
            Route("/conflict", conflict),
            Route("/stream", stream),
            Route("/events", events),
            Route("/file", file),
            WebSocketRoute("/ws", echo),
            Mount("/tenants/{tenant}", below),
        ]
    )


plain = create()
app = around(create())
