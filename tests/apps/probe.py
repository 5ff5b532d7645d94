"""Answers, streams and reads, and tells how much of everything there is in its process."""

import asyncio
import gc
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

_KINDS = ("HttpProtocol", "Cycle", "Conversation", "Exchange", "TimerHandle", "TCPTransport", "Task")


def _probe() -> bytes:
    gc.collect()
    kinds = Counter(type(one).__name__ for one in gc.get_objects())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    found = {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "kinds": {name: kinds[name] for name in _KINDS},
    }
    return json.dumps(found).encode()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stream(receive: Any, send: Any, *, asks: bool) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    gone = asyncio.ensure_future(_gone(receive)) if asks else None
    while gone is None or not gone.done():
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await asyncio.sleep(0.01)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer by path."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] in ("/stream", "/deaf"):
        await _stream(receive, send, asks=scope["path"] == "/stream")
        return
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    body = _probe() if scope["path"] == "/probe" else b"ok"
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
