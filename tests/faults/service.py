"""The service that is attacked: one FastAPI app with the routes that cases need, the same on every server.

What reaches it is written to the file ``FAULTS_JOURNAL``, a line a request, so that a case knows what the app
saw whatever the client was answered.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ("CANARY", "LIMIT", "Journal", "create")

CANARY = "canary-7c2e-must-not-leave"
"""Text of every deliberate failure; no response may carry it."""
LIMIT = os.environ.get("FAULTS_LIMIT", "5/minute")
"""The limit of ``/limited``."""
_JOURNAL = os.environ.get("FAULTS_JOURNAL", os.devnull)
_BIG = b"x" * 10_000_000


class Journal:
    """Writes a line for each request that reaches the app, and one for each marker that a route meets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._file = os.open(_JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, *words: str) -> None:
        """Write one line; lines of several workers stay whole."""
        os.write(self._file, (ascii(" ".join(words))[1:-1] + "\n").encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.note("saw", scope["method"], scope["path"])
            scope["faults.note"] = self.note
        await self._app(scope, receive, send)


class Item(BaseModel):
    """What ``/items`` takes."""

    name: str
    price: float = 1.0
    more: dict[str, Any] = {}


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    await asyncio.sleep(float(os.environ.get("FAULTS_SLOW_START", "0")))
    yield


async def echo(request: Request) -> dict[str, Any]:
    """Return what arrived."""
    body = await request.body()
    return {
        "method": request.method, "path": request.url.path, "query": dict(request.query_params),
        "url": str(request.url), "client": request.client.host if request.client else None,
        "scheme": request.url.scheme, "length": len(body), "text": request.headers.get("x-text"),
    }  # fmt: skip


async def marker(request: Request) -> dict[str, str]:
    """Be reached by those whom the proxy denies it to."""
    request.scope["faults.note"]("MARKER", request.url.path)
    return {"marker": "reached"}


async def pid() -> dict[str, int]:
    """Return the id of the process that serves."""
    return {"pid": os.getpid()}


async def slow(seconds: float) -> dict[str, float]:
    """Wait without holding the loop."""
    await asyncio.sleep(seconds)
    return {"slept": seconds}


def stubborn(seconds: float) -> dict[str, float]:
    """Wait in a thread, which nothing can cancel."""
    time.sleep(seconds)
    return {"slept": seconds}


async def events() -> StreamingResponse:
    """Send events without end."""

    async def chunks() -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def talk(socket: WebSocket) -> None:
    """Send back each message."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


async def item(made: Item) -> Item:
    """Return the item."""
    return made


async def anything(value: Annotated[Any, Body()]) -> dict[str, Any]:
    """Take any JSON and say what kind it is."""
    return {"kind": type(value).__name__}


async def form(request: Request) -> dict[str, int]:
    """Read a form, and return how many fields it has."""
    async with request.form() as fields:
        return {"fields": len(fields)}


async def store(value: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Return a text as it came."""
    return {"value": value}


async def fail() -> None:
    """Fail without a handler."""
    raise RuntimeError(f"{CANARY} at /srv/secret.py SELECT password FROM users")


async def absent() -> None:
    """Fail with the framework's own exception."""
    raise HTTPException(404, "Not here")


async def headed(name: str, value: str) -> Response:
    """Set a response header from input."""
    response = Response("ok", media_type="text/plain")
    response.headers[name] = value
    return response


async def big() -> Response:
    """Send ten megabytes."""
    return Response(_BIG, media_type="application/octet-stream", headers={"cache-control": "no-transform"})


async def limited() -> dict[str, bool]:
    """Answer within the limit."""
    return {"ok": True}


async def file() -> FileResponse:
    """Send a file, which may be asked for in ranges."""
    return FileResponse(Path(__file__), media_type="text/x-python")


def create() -> FastAPI:
    """Make the app."""
    app = FastAPI(lifespan=_lifespan)
    app.add_middleware(Journal)  # the innermost: what others answer has not reached the app
    every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app.add_api_route("/", pid, methods=["GET"])
    app.add_api_route("/pid", pid, methods=["GET"])
    app.add_api_route("/echo", echo, methods=every)
    app.add_api_route("/echo/{rest:path}", echo, methods=every)
    app.add_api_route("/admin", marker, methods=every)
    app.add_api_route("/admin/{rest:path}", marker, methods=every)
    app.add_api_route("/items", item, methods=["POST"])
    app.add_api_route("/any", anything, methods=["POST"])
    app.add_api_route("/store", store, methods=["POST"])
    app.add_api_route("/form", form, methods=["POST"])
    for path, endpoint in (
        ("/slow", slow), ("/stubborn", stubborn), ("/events", events), ("/fail", fail), ("/absent", absent),
        ("/headed", headed), ("/big", big), ("/limited", limited), ("/file", file),
    ):  # fmt: skip
        app.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    app.add_api_websocket_route("/ws", talk)
    app.mount("/static", StaticFiles(directory=os.environ.get("FAULTS_STATIC", str(Path(__file__).parent))))
    return app
