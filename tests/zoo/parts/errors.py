"""How failures become responses."""

from __future__ import annotations

import os
import traceback

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty


class Errors(Part):
    """Replaces the service's own handling of exceptions where a fault asks for it."""

    async def start(self, zoo: Zoo) -> None:
        """Put the handler in."""
        plain = zoo.broken

        def broken(request: Request, error: Exception) -> Response:
            if faulty("err-4-no-answer"):
                return Response(500, raw=b"")
            if faulty("err-5-dies"):
                os._exit(70)
            if faulty("err-4-stack"):
                response = plain(request, error)
                return Response(500, traceback.format_exc().encode(), response.fields)
            if faulty("err-4-message"):
                zoo.log("error", "unhandled exception", request_id=request.id, error=repr(error))
                return zoo.problem(request, 500, str(error))
            if "x-request-id" in request.fields and faulty("aer-1-other-id"):
                zoo.log("error", "unhandled exception", request_id="another", error=repr(error))
                return zoo.problem(request, 500, "something went wrong")
            if faulty("err-8-silent"):
                return zoo.problem(request, 500, "something went wrong")
            if faulty("err-8-twice"):
                zoo.log("error", "unhandled exception", request_id=request.id, error=repr(error))
            return plain(request, error)

        zoo.broken = broken  # type: ignore[method-assign]

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer methods that no route knows."""
        if request.method == "TRACE":
            if faulty("err-6-trace"):
                return Response.json(200, request.fields)
            raise Problem(405, "no TRACE", headers={"Allow": "GET, HEAD, OPTIONS"})
        if request.method not in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}:
            if faulty("err-6-unknown-method"):
                return Response.json(200, {})
            return zoo.problem(request, 501, "unknown method")
        return None

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Bend error responses."""
        if response.status == 404 and faulty("err-1-html"):
            response.body, response.fields = b"<h1>Not Found</h1>", [("Content-Type", "text/html")]
        if response.status == 404 and "route" not in request.facts and faulty("err-1-200"):
            response.status = 200
        if response.status == 405:
            if faulty("err-2-no-allow"):
                response.fields = [pair for pair in response.fields if pair[0] != "Allow"]
            if faulty("err-2-404"):
                response.status, response.body = 404, zoo.problem(request, 404, "nothing here").body
            if faulty("err-2-short-allow"):
                response.set("Allow", "GET")
        if response.status == 422 and faulty("err-3-two-shapes"):
            response.body, response.fields = b'{"errors": ["wrong"]}', [("Content-Type", "application/json")]
        if request.method == "HEAD" and faulty("err-6-head-body"):
            head = f"HTTP/1.1 {response.status} OK\r\nContent-Length: {len(response.body)}\r\n\r\n"
            response.raw = head.encode() + response.body
        if response.status >= 400 and faulty("err-9-cached"):
            response.set("Cache-Control", "public, max-age=3600")
        if response.status < 400 or not faulty("err-9-bare"):
            response.set("X-Content-Type-Options", "nosniff")
