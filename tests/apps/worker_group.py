"""An ASGI app that answers with its process id and the group of workers it finds itself in."""

import os
from typing import Any

from roadworthy.layer.local.group import worker_group


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer any request; take part in the lifespan."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    group = worker_group()
    body = f"{os.getpid()} {group.key if group else '-'}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
