"""An app whose requests are refused by the layer or the server, each path by another limit."""

from __future__ import annotations

from roadworthy import roadworthy
from roadworthy.types import Receive, Scope, Send

__all__ = ("RULES", "app")

RULES = """
[rules."/ruled-body"]
body_limit = 5

[rules."/ruled-late"]
timeout = "300ms"

[rules."/ruled-slow"]
body_timeout = "200ms"

[rules."/ruled-rate"]
rate_limit = "1/hour"
"""
"""What ``roadworthy.toml`` beside it has."""


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    scope["route"] = scope["path"]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    if scope["path"].endswith("late"):
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


app = roadworthy(_serve)
