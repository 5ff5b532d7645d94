"""A service that fails in every place where code of a service runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from roadworthy import roadworthy
from roadworthy.patterns import OffloadPool, fan_out, offload
from tests.patterns import work

__all__ = ("app",)

_log = logging.getLogger("service")
_tasks: set[asyncio.Task[Any]] = set()


def fail(place: str) -> NoReturn:
    """Raise an exception that says where."""
    raise RuntimeError(f"canary-{place}")


async def fail_soon(place: str) -> NoReturn:
    """Raise in a coroutine."""
    await asyncio.sleep(0)
    fail(place)


async def log_and_raise(place: str) -> None:
    """Record a failure and pass it on, as the guide's code does."""
    try:
        await fail_soon(place)
    except RuntimeError:
        _log.exception("the service's own words")
        raise


def begin(coroutine: Any) -> None:
    """Begin a task that nobody waits for."""
    task = asyncio.ensure_future(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Begin a task that belongs to no request; fail at the end."""
    if "ROADWORTHY_EXIT_ON_UNHANDLED" not in os.environ:
        begin(log_and_raise("loop"))
    yield
    fail("shutdown")


service = FastAPI(lifespan=lifespan)


@service.get("/handler")
async def handler() -> None:
    """Fail."""
    fail("handler")


@service.get("/logged")
async def logged() -> None:
    """Fail after a record of one's own."""
    await log_and_raise("logged")


@service.get("/child")
async def child() -> None:
    """Fail in a child."""
    await fan_out(fail_soon("child"), asyncio.sleep(60))


@service.get("/sibling")
async def sibling() -> dict[str, str]:
    """Handle the first failure; the second one comes while the child is cancelled."""

    async def clumsy() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            fail("sibling")

    try:
        await fan_out(clumsy(), fail_soon("handled"))
    except RuntimeError:
        return {}
    return {"error": "nothing failed"}


@service.get("/offloaded")
async def offloaded() -> None:
    """Fail in another process."""
    await offload(work.fail, "canary-offloaded")


@service.get("/worker")
async def worker() -> None:
    """Fail in another process, after a record of one's own."""
    await offload(work.log_and_raise, "canary-worker")


@service.get("/background")
async def background(tasks: BackgroundTasks) -> dict[str, str]:
    """Fail after the response."""
    tasks.add_task(fail_soon, "background")
    return {}


@service.get("/task")
async def task() -> dict[str, str]:
    """Fail in a task that nobody waits for."""
    begin(fail_soon("task"))
    return {}


@service.get("/task-logged")
async def task_logged() -> dict[str, str]:
    """Fail in such a task after a record of one's own."""
    begin(log_and_raise("task-logged"))
    return {}


@service.get("/callback")
async def callback() -> dict[str, str]:
    """Fail in a callback."""
    asyncio.get_running_loop().call_soon(fail, "callback")
    return {}


@service.get("/stream")
async def stream() -> StreamingResponse:
    """Fail in the middle of an event stream."""

    async def events() -> AsyncIterator[str]:
        yield "data: 1\n\n"
        await fail_soon("stream")

    return StreamingResponse(events(), media_type="text/event-stream")


@service.websocket("/socket")
async def socket(connection: WebSocket) -> None:
    """Fail in a WebSocket."""
    await connection.accept()
    fail("socket")


app = roadworthy(service, resources=[OffloadPool(workers=1)])
