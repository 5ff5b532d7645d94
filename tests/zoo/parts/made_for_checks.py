"""Routes that exist for the check: slow, failing, streaming and large ones."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty

CANARY = "canary-77ab of an unhandled exception"


class MadeForChecks(Part):
    """``/api/slow``, ``/api/fails``, ``/api/stream`` and ``/api/large``."""

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer one of the four."""
        paths = {"/api/slow", "/api/fails", "/api/stream", "/api/large"}
        if request.path not in paths:
            return None
        if request.method not in {"GET", "HEAD"}:
            raise Problem(405, "this is not possible here", headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/api/slow":
                await asyncio.sleep(float(request.query.get("seconds", "1")))
                response = Response.json(200, {"slept": True})
            case "/api/fails":
                raise RuntimeError(CANARY)
            case "/api/stream":
                response = Response(
                    200, b"", [("Content-Type", "text/event-stream")], stream=self._events(zoo)
                )
            case "/api/large":
                response = Response(200, b"", [("Content-Type", "text/plain")], stream=self._blocks())
            case _:
                return None
        request.facts["route"] = request.path
        return response

    async def _events(self, zoo: Zoo) -> AsyncIterator[bytes]:
        for number in range(8):
            if zoo.draining and faulty("shut-2-truncates"):
                raise ConnectionAbortedError("cut short")
            yield f"data: {number}\n\n".encode()
            await asyncio.sleep(0.1)

    async def _blocks(self) -> AsyncIterator[bytes]:
        for number in range(64):
            yield hashlib.sha256(str(number).encode()).hexdigest().encode() * 128
