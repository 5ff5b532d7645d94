"""FastAPI: included and nested routers, a mounted app, every kind of response."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, FastAPI, Query, Response, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from roadworthy import ConflictError, NotFoundError, wait_for_drain
from tests.apps.common import BIG_LIST, CANARY, EVENTS, TEXT_CHUNKS, around

__all__ = ("app", "create", "done", "plain")

done: list[str] = []


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=20)
    price: float = 1.0
    password: SecretStr = SecretStr("unset")

    @field_validator("name")
    @classmethod
    def no_shouting(cls, value: str) -> str:
        """Refuse upper case with a message that repeats the value."""
        if value.isupper():
            raise ValueError(f"{value} is shouting")
        return value


router = APIRouter(prefix="/items", tags=["items"])
inner = APIRouter(prefix="/{item_id}/notes")


@router.get("")
async def list_items() -> list[dict[str, Any]]:
    """Return everything."""
    return BIG_LIST


@router.get("/{item_id}")
async def read_item(item_id: int, limit: Annotated[int, Query(ge=1)] = 1) -> dict[str, int]:
    """Return one item."""
    if item_id >= 1000:
        raise NotFoundError(f"No item {item_id}")
    return {"id": item_id, "limit": limit}


@router.post("", status_code=201)
async def create_item(item: Item, response: Response) -> dict[str, Any]:
    """Make one item."""
    response.headers["location"] = "/items/1"
    return {"name": item.name}


@inner.get("/{note_id:path}")
async def read_note(item_id: int, note_id: str) -> dict[str, Any]:
    """Return one note."""
    return {"item": item_id, "note": note_id}


router.include_router(inner)


async def ok() -> dict[str, bool]:
    """Answer."""
    return {"ok": True}


async def limited() -> dict[str, bool]:
    """Answer three times an hour."""
    return {"ok": True}


async def fail() -> None:
    """Fail without a handler."""
    raise RuntimeError(CANARY)


async def conflict() -> None:
    """Raise one of the layer's errors."""
    raise ConflictError("The name is taken", details={"name": "in use"})


def fail_sync() -> None:
    """Fail in a thread."""
    raise RuntimeError(CANARY)


async def not_a_number() -> dict[str, float]:
    """Return what JSON cannot say."""
    return {"value": float("nan")}


async def stream() -> StreamingResponse:
    """Return chunks of text."""

    async def chunks() -> AsyncIterator[str]:
        for chunk in TEXT_CHUNKS:
            yield chunk
            await asyncio.sleep(0)

    return StreamingResponse(chunks(), media_type="text/plain")


async def broken_stream() -> StreamingResponse:
    """Fail in the middle of a stream."""

    async def chunks() -> AsyncIterator[str]:
        yield TEXT_CHUNKS[0]
        raise RuntimeError(CANARY)

    return StreamingResponse(chunks(), media_type="text/plain")


async def events() -> StreamingResponse:
    """Send two events, and a last one when the process drains."""

    async def chunks() -> AsyncIterator[str]:
        for event in EVENTS:
            yield event
        await wait_for_drain()
        yield "data: draining\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def background(tasks: BackgroundTasks) -> dict[str, bool]:
    """Answer and go on working."""
    tasks.add_task(done.append, "background")
    return {"ok": True}


async def file() -> FileResponse:
    """Return this file."""
    return FileResponse(Path(__file__), media_type="text/x-python")


async def echo(websocket: WebSocket) -> None:
    """Send back each text."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def create() -> FastAPI:
    """Make the app anew."""
    made = FastAPI(title="Fixture")
    made.include_router(router)
    pages = APIRouter()
    for path, endpoint in (
        ("/ok", ok),
        ("/limited", limited),
        ("/fail", fail),
        ("/fail-sync", fail_sync),
        ("/conflict", conflict),
        ("/nan", not_a_number),
        ("/stream", stream),
        ("/broken-stream", broken_stream),
        ("/events", events),
        ("/background", background),
        ("/file", file),
    ):
        pages.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    made.include_router(pages)
    made.add_api_websocket_route("/ws", echo)
    below = FastAPI()
    below.include_router(router, prefix="/v1")
    made.mount("/below", below)
    return made


plain = create()
app = around(create())
