"""The services that leave, in FastAPI and in Starlette."""

import asyncio
from typing import Any, NoReturn

from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.responses import StreamingResponse as StarletteStream
from starlette.routing import Route

from roadworthy import roadworthy
from roadworthy.patterns import OffloadPool, fan_out, offload
from tests.apps.exits import begin, call_back, chunks, hold, holding, leave, leave_soon, release
from tests.patterns import work

__all__ = ("behind", "fastapi", "starlette")


async def _handler(kind: str) -> None:
    leave(kind)


def _sync(kind: str) -> None:
    leave(kind)


async def _dependency(given: None = Depends(_handler)) -> None:
    return given


async def _background(kind: str, tasks: BackgroundTasks) -> dict[str, bool]:
    tasks.add_task(leave, kind)
    return {"ok": True}


async def _stream(kind: str) -> StreamingResponse:
    return StreamingResponse(chunks(kind))


async def _awaited(kind: str) -> None:
    await asyncio.ensure_future(leave_soon(kind))


async def _group(kind: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leave_soon(kind))


async def _fan_out(kind: str) -> None:
    await fan_out(leave_soon(kind), asyncio.sleep(60))


async def _offload(kind: str) -> None:
    await offload(work.leave_by, kind)


async def _error(kind: str) -> None:
    raise LookupError(kind)


async def _answer_error(request: Request, error: Exception) -> NoReturn:
    leave(str(error))


async def _websocket(websocket: WebSocket, kind: str) -> None:
    await websocket.accept()
    leave(kind)


def _fastapi() -> FastAPI:
    app = FastAPI()
    for place, endpoint in (
        ("handler", _handler),
        ("sync", _sync),
        ("dependency", _dependency),
        ("background", _background),
        ("stream", _stream),
        ("task", begin),
        ("callback", call_back),
        ("awaited", _awaited),
        ("group", _group),
        ("fan_out", _fan_out),
        ("offload", _offload),
        ("error", _error),
    ):
        app.add_api_route(f"/{place}/{{kind}}", endpoint, methods=["GET"], response_model=None)
    for path, waiting in (("/hold", hold), ("/holding", holding), ("/release", release)):
        app.add_api_route(path, waiting, methods=["GET"])
    app.add_exception_handler(LookupError, _answer_error)
    app.add_api_websocket_route("/ws/{kind}", _websocket)
    return app


async def _pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


fastapi = roadworthy(_fastapi(), resources=[OffloadPool()])
_behind = _fastapi()
_behind.middleware("http")(_pass_on)
behind = roadworthy(_behind)
"""The app behind Starlette's ``BaseHTTPMiddleware``, which runs it in a task of its own."""


# -- Starlette


def _kind(request: StarletteRequest) -> str:
    return str(request.path_params["kind"])


async def _starlette_handler(request: StarletteRequest) -> NoReturn:
    leave(_kind(request))


def _starlette_sync(request: StarletteRequest) -> NoReturn:
    leave(_kind(request))


async def _starlette_stream(request: StarletteRequest) -> StarletteStream:
    return StarletteStream(chunks(_kind(request)))


async def _starlette_background(request: StarletteRequest) -> JSONResponse:
    return JSONResponse({}, background=BackgroundTask(leave, _kind(request)))


async def _starlette_wait(request: StarletteRequest) -> JSONResponse:
    waits = {"/hold": hold, "/holding": holding, "/release": release}
    return JSONResponse(await waits[request.url.path]())


starlette = roadworthy(
    Starlette(
        routes=[
            Route("/handler/{kind}", _starlette_handler),
            Route("/sync/{kind}", _starlette_sync),
            Route("/stream/{kind}", _starlette_stream),
            Route("/background/{kind}", _starlette_background),
            *(Route(path, _starlette_wait) for path in ("/hold", "/holding", "/release")),
        ]
    )
)
