"""Services that raise what ends a process, in every place where code of a service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from roadworthy import roadworthy
from roadworthy.types import Receive, Scope, Send

__all__ = (
    "KINDS",
    "OwnExit",
    "begin",
    "call_back",
    "chunks",
    "django",
    "hold",
    "holding",
    "leave",
    "leave_soon",
    "plain",
    "release",
)


class OwnExit(BaseException):
    """An exception of the service's own that is no ``Exception``."""


KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, OwnExit)
}

_tasks: set[asyncio.Task[Any]] = set()
_holding = asyncio.Event()
_released = asyncio.Event()


def leave(kind: str) -> NoReturn:
    """Raise."""
    raise KINDS[kind](f"by {kind}")


async def leave_soon(kind: str) -> NoReturn:
    """Raise in a coroutine."""
    await asyncio.sleep(0)
    leave(kind)


async def chunks(kind: str) -> AsyncIterator[bytes]:
    """Raise within a streamed body."""
    yield b"one chunk"
    await leave_soon(kind)


async def begin(kind: str) -> dict[str, bool]:
    """Raise in a task that nobody waits for, and answer when it has."""
    task = asyncio.ensure_future(leave_soon(kind))
    await asyncio.wait([task])
    return {"ok": True}


async def call_back(kind: str) -> dict[str, bool]:
    """Raise in a callback, and answer when it has."""
    loop = asyncio.get_running_loop()
    loop.call_soon(leave, kind)
    called = loop.create_future()
    loop.call_soon(called.set_result, None)
    await called
    return {"ok": True}


async def hold() -> dict[str, bool]:
    """Answer when released."""
    _holding.set()
    await _released.wait()
    return {"ok": True}


async def holding() -> dict[str, bool]:
    """Answer when a request is held."""
    await _holding.wait()
    return {"ok": True}


async def release() -> dict[str, bool]:
    """Release what is held."""
    _released.set()
    return {"ok": True}


# -- no framework


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _plain_lifespan(receive, send)
        return
    _, place, *rest = scope["path"].split("/")
    kind = rest[0] if rest else ""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        leave(kind)
    waits = {"hold": hold, "holding": holding, "release": release}
    if place in waits:
        await waits[place]()
    elif place in ("task", "callback"):
        await (begin if place == "task" else call_back)(kind)
    elif place == "handler":
        leave(kind)
    elif place == "awaited":
        await asyncio.ensure_future(leave_soon(kind))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if place == "stream":
        await send({"type": "http.response.body", "body": b"one chunk", "more_body": True})
        await leave_soon(kind)
    await send({"type": "http.response.body", "body": b"{}"})
    if place == "background":
        leave(kind)


async def _plain_lifespan(receive: Receive, send: Send) -> None:
    place, _, kind = os.environ.get("LEAVE", "").partition(" ")
    if place == "call":
        leave(kind)
    await receive()
    if place == "startup":
        leave(kind)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if place == "shutdown":
        leave(kind)
    await send({"type": "lifespan.shutdown.complete"})


plain = roadworthy(_plain)


def django() -> Any:
    """Make the site with the views that leave; its settings are the process's."""
    from django.conf import settings  # type: ignore[import-untyped]
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
    from django.http import HttpRequest, JsonResponse, StreamingHttpResponse  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    async def handler(request: HttpRequest, kind: str) -> Any:
        leave(kind)

    def sync(request: HttpRequest, kind: str) -> Any:
        leave(kind)

    async def stream(request: HttpRequest, kind: str) -> Any:
        return StreamingHttpResponse(chunks(kind))

    def waiting(wait: Any) -> Any:
        async def view(request: HttpRequest) -> Any:
            return JsonResponse(await wait())

        return view

    class Urls:
        urlpatterns = (
            path("handler/<str:kind>", handler),
            path("sync/<str:kind>", sync),
            path("stream/<str:kind>", stream),
            *(path(wait.__name__, waiting(wait)) for wait in (hold, holding, release)),
        )

    settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="not secret", MIDDLEWARE=[])
    return roadworthy(get_asgi_application())
