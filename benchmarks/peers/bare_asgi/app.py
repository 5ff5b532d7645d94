"""The smallest honest ASGI app: one JSON answer of the size of a user."""

import os
from typing import Any

from roadworthy import roadworthy

BODY = b'{"id":1,"name":"Ada Lovelace","email":"ada@example.com","created_at":"2026-01-01T00:00:00Z"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with the same user."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


# A limit that counts every request and refuses none: the load comes from one address.
layered = roadworthy(
    plain,
    rate_limit="100000000/second",
    cors_origins="https://app.example",
    log_level=os.environ.get("LEVEL", "info"),
)
