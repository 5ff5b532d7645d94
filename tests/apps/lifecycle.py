"""A service to stop, kill and reload: quick and slow answers, a write, an event stream, a WebSocket."""

import asyncio
import os
import threading
import time
from typing import Any

import anyio

from roadworthy import current_request_id


async def _answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    if os.environ.get("SLOW_START"):
        print("starting", flush=True)
        await asyncio.sleep(float(os.environ["SLOW_START"]))
    if os.environ.get("FAIL_START"):
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    if os.environ.get("LATE_LOOP"):
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, lambda: _tasks.add(asyncio.create_task(_later(1000))))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if os.environ.get("HANG_STOP"):
        await asyncio.sleep(1000)
    await send({"type": "lifespan.shutdown.complete"})


async def _events(send: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    number = 0
    while True:
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        number += 1
        await asyncio.sleep(0.05)


async def _websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message.get("text") or ""})


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body"):
            return body


_tasks: set[Any] = set()


def _work(seconds: float) -> None:
    time.sleep(seconds)
    print("work of a thread done", flush=True)


async def _later(seconds: float) -> None:
    await asyncio.sleep(seconds)
    print("background work done", flush=True)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer by path."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["type"] == "websocket":
        await _websocket(receive, send)
        return
    path = scope["path"]
    query = scope["query_string"].decode()
    if path == "/events":
        await _events(send)
    elif path == "/sleep":
        await asyncio.sleep(float(query))
        await _answer(send, b"slept")
    elif path == "/write":
        body = await _body(receive)
        await asyncio.sleep(0.3)
        await _answer(send, b"%d" % len(body), 201)
    elif path == "/later":
        task = asyncio.create_task(_later(float(query)))
        _tasks.add(task)
        await _answer(send, b"begun", 202)
    elif path == "/tasks":
        await _answer(send, str(len(_tasks)).encode())
    elif path == "/library":
        task = asyncio.create_task(anyio.sleep_forever())
        _tasks.add(task)
        await _answer(send, b"begun", 202)
    elif path == "/after":
        await _answer(send, b"begun", 202)
        await _later(float(query))
    elif path == "/work":
        threading.Thread(target=_work, args=(float(query),)).start()
        await _answer(send, b"begun", 202)
    elif path == "/thread":
        threading.Thread(target=time.sleep, args=(float(query),), name="stubborn").start()
        await _answer(send, b"begun", 202)
    elif path == "/fail":
        _fail(current_request_id(), 40)
    elif path == "/block":
        time.sleep(float(query))  # noqa: ASYNC251 - that is what is tested
        await _answer(send, b"blocked")
    else:
        await _answer(send, str(os.getpid()).encode())


def _fail(request_id: str, depth: int) -> None:
    if depth:
        _fail(request_id, depth - 1)
    raise RuntimeError("failed " + "x" * 3000 + request_id)
