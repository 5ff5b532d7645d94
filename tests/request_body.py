"""The body of a request, for apps that read all of it first."""

from roadworthy.types import Receive

__all__ = ("request_body",)


async def request_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None when the client leaves before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)
