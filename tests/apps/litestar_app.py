"""Litestar: handlers, a controller, validation by msgspec."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
from litestar import Controller, Litestar, WebSocket, get, post, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, JSONBody
from litestar.response import File, Stream

from roadworthy import ConflictError, NotFoundError, wait_for_drain
from roadworthy.types import ASGIApp
from tests.apps.common import BIG_LIST, CANARY, EVENTS, TEXT_CHUNKS, around

__all__ = ("app", "create", "plain")


class Item(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    price: float = 1.0


class Items(Controller):
    path = "/items"

    @get()
    async def everything(self) -> list[dict[str, Any]]:
        """Return everything."""
        return BIG_LIST

    @get("/{item_id:int}")
    async def one(self, item_id: FromPath[int]) -> dict[str, int]:
        """Return one item."""
        if item_id >= 1000:
            raise NotFoundError(f"No item {item_id}")
        return {"id": item_id}

    @post()
    async def make(self, data: JSONBody[Item]) -> dict[str, str]:
        """Make one item."""
        return {"name": data.name}


@get("/ok")
async def ok() -> dict[str, bool]:
    """Answer."""
    return {"ok": True}


@get("/limited")
async def limited() -> dict[str, bool]:
    """Answer three times an hour."""
    return {"ok": True}


@get("/fail")
async def fail() -> None:
    """Fail without a handler."""
    raise RuntimeError(CANARY)


@get("/conflict")
async def conflict() -> None:
    """Raise one of the layer's errors."""
    raise ConflictError("The name is taken")


@get("/stream", media_type="text/plain")
async def stream() -> Stream:
    """Return chunks of text."""

    async def chunks() -> AsyncIterator[str]:
        for chunk in TEXT_CHUNKS:
            yield chunk
            await asyncio.sleep(0)

    return Stream(chunks())


@get("/events", media_type="text/event-stream")
async def events() -> Stream:
    """Send two events, and a last one when the process drains."""

    async def chunks() -> AsyncIterator[str]:
        for event in EVENTS:
            yield event
        await wait_for_drain()
        yield "data: draining\n\n"

    return Stream(chunks())


@get("/file", media_type="text/x-python")
async def file() -> File:
    """Return this file."""
    return File(Path(__file__), content_disposition_type="inline", media_type="text/x-python")


@websocket("/ws")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    """Send back each text."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


def create() -> Litestar:
    """Make the app anew."""
    return Litestar([Items, ok, limited, fail, conflict, stream, events, file, echo])


plain = create()
app = around(cast("ASGIApp", create()))
