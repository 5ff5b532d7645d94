"""One record for each request."""

from __future__ import annotations

from ..http import Request, Response
from ..service import Part, Zoo


class Logs(Part):
    """The request id and the access record."""

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Say the request's id."""
        response.set("X-Request-Id", request.id)

    def done(self, zoo: Zoo, request: Request, response: Response, seconds: float) -> None:
        """Write the record."""
        if request.path in {"/livez", "/readyz", "/metrics"}:
            return
        zoo.log(
            "info",
            "request",
            method=request.method,
            path=request.path,
            status=response.status,
            duration_ms=round(seconds * 1000, 3),
            request_id=request.id,
        )
