"""A service with a limit of 100 an hour, for a server with several workers."""

from roadworthy import roadworthy
from roadworthy.types import Receive, Scope, Send


async def _service(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


app = roadworthy(_service, rate_limit="100/hour", drain_delay=0)
