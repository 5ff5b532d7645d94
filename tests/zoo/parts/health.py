"""Liveness and readiness."""

from __future__ import annotations

import os

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty
from ..store import StoreError


class Health(Part):
    """``/livez`` and ``/readyz``."""

    def __init__(self) -> None:
        self._asked = 0
        self._failed = 0

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer the two paths before anything else may refuse them."""
        if request.path not in {"/livez", "/readyz"} or request.method not in {"GET", "HEAD"}:
            return None
        request.facts["route"] = request.path
        self._asked += 1
        response = await (self._live(zoo, request) if request.path == "/livez" else self._ready(zoo))
        if not faulty("hlt-7-cached"):
            response.set("Cache-Control", "no-store")
        else:
            response.set("Cache-Control", "public, max-age=60")
        return response

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Count what failed for want of the store."""
        self._failed += response.status == 503 and request.path not in {"/livez", "/readyz"}

    async def _live(self, zoo: Zoo, request: Request) -> Response:
        if faulty("hlt-1-redirect"):
            return Response(302, b"", [("Location", "http://login.example/")])
        if "authorization" not in request.fields and faulty("hlt-1-wants-login"):
            return Response.json(401, {"error": "who are you?"})
        if request.method == "HEAD" and faulty("hlt-1-no-head"):
            raise Problem(405, "no HEAD", headers={"Allow": "GET"})
        if self._asked > 30 and faulty("hlt-7-limited"):
            raise Problem(429, "too many requests", headers={"Retry-After": "1"})
        if faulty("hlt-8-says-down"):
            return Response.json(200, {"status": "down"})
        if zoo.store is not None and faulty("hlt-4-asks-store"):
            try:
                await zoo.store.call("list")
            except StoreError:
                return Response.json(503, {"status": "down"})
        if self._failed > 3 and faulty("hlt-4-gives-up"):
            return Response.json(503, {"status": "down"})
        if zoo.draining and faulty("shut-6-live-stops"):
            return Response.json(503, {"status": "down"})
        return Response.json(200, {"status": "ok"})

    async def _ready(self, zoo: Zoo) -> Response:
        if zoo.draining and not faulty("shut-6-ready-stays"):
            return Response.json(503, {"status": "unavailable"})
        if faulty("hlt-3-always-ready") or zoo.store is None:
            return Response.json(200, {"status": "ok"})
        if faulty("hlt-6-queues-for-the-store"):
            zoo.store.timeout = None
        try:
            await zoo.store.call("get", "readiness")
        except StoreError as error:
            if faulty("hlt-5-ignores-store"):
                return Response.json(200, {"status": "ok"})
            if faulty("hlt-8-says-ok"):
                return Response.json(503, {"status": "ok"})
            if faulty("hlt-9-leaks"):
                return Response.json(503, {"status": "unavailable", "error": str(error), "dsn": _dsn()})
            return Response.json(503, {"status": "unavailable"})
        return Response.json(200, {"status": "ok"})


def _dsn() -> str:
    return os.environ.get("DATABASE_URL", "")
