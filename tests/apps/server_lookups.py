"""An app that looks for the server it runs on, in the ways that libraries do.

NiceGUI searches the garbage collector's objects while it starts, sse-starlette asks who handles SIGTERM and
replaces `handle_exit` of the class, and services write to uvicorn's logger.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import weakref
from typing import Any

import uvicorn

from roadworthy import roadworthy
from roadworthy.types import Receive, Scope, Send

_started: dict[str, object] = {}
_original = uvicorn.Server.handle_exit


def _hears_of_the_end(*arguments: Any) -> None:
    print(f"heard of {arguments[1].name}", flush=True)
    _original(*arguments)
    if os.environ.get("FAIL_EXIT"):
        raise LookupError("the library is not set up")


setattr(uvicorn.Server, "handle_exit", _hears_of_the_end)  # noqa: B010 - as libraries do


def servers() -> list[uvicorn.Server]:
    """Return every server in memory."""
    return [
        one
        for one in gc.get_objects()
        if type(one) not in weakref.ProxyTypes and isinstance(one, uvicorn.Server)
    ]


def _is_for(server: uvicorn.Server, wanted: object) -> bool:
    wrapped = server.config.loaded_app
    while wrapped is not None and wrapped is not wanted:
        wrapped = getattr(wrapped, "app", None)
    return wrapped is wanted


def look_up() -> dict[str, object]:
    """Return what is found."""
    found = servers()
    config = found[0].config if found else None
    by_signal = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return {
        "servers in memory": len(found),
        "of them with a loaded configuration": sum(one.config.loaded for one in found),
        "of them for this app": sum(_is_for(one, app) for one in found),
        "of them at the signal": sum(one is by_signal for one in found),
        "is to exit": getattr(by_signal, "should_exit", None),
        "is to reload": config and config.should_reload,
        "has started": [one.started for one in found],
        "host": config and config.host,
        "port": config and config.port,
    }


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what was found at the start, and now; `/stop` ends the server as a library would."""
    if scope["type"] == "lifespan":
        await receive()
        _started.update(look_up())
        logging.getLogger("uvicorn.error").info("a record of the app's own")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("lifespan over", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/stop":
        servers()[0].should_exit = True
    sockets = [listener.sockets[0].getsockname()[1] for one in servers() for listener in one.servers]
    answer = {"at the start": _started, "now": look_up(), "listens on": sockets, "asked at": scope["server"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


layered = roadworthy(app)
