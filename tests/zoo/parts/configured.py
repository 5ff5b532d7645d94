"""What the zoo's service shows of its configuration while it runs: nothing, unless a fault says so."""

from __future__ import annotations

import os
import traceback

from ..http import Request, Response
from ..service import Part, Zoo, faulty


class Configured(Part):
    """Pages and errors for developers."""

    async def start(self, zoo: Zoo) -> None:
        """Put the faults in."""
        if faulty("env-6-log"):
            zoo.log("debug", "configuration", key=os.environ.get("ITEMS_KEY"))
        plain = zoo.broken

        def broken(request: Request, error: Exception) -> Response:
            response = plain(request, error)
            if os.environ.get("APP_ENV") != "production" and faulty("env-9-debugs"):
                response.body = traceback.format_exc().encode()
            return response

        zoo.broken = broken  # type: ignore[method-assign]

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer what a developer would ask."""
        if request.path == "/env" and faulty("env-6-page"):
            return Response.json(200, dict(os.environ))
        if request.path == "/console" and faulty("env-9-console"):
            return Response(200, b"<h1>Console</h1>", [("Content-Type", "text/html")])
        return None
