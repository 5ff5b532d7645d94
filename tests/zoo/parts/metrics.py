"""Counters for Prometheus."""

from __future__ import annotations

from ..http import Request, Response
from ..service import Part, Zoo, faulty


class Metrics(Part):
    """``/metrics`` with ``http_requests_total``."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer a scrape."""
        if request.path != "/metrics" or request.method != "GET":
            return None
        lines = [
            "# HELP http_requests_total Requests by method, route and status.",
            "# TYPE http_requests_total counter",
        ]
        for (method, route, status), count in sorted(self._counts.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        text = "\n".join(lines) + "\n"
        return Response(200, text.encode(), [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])

    def done(self, zoo: Zoo, request: Request, response: Response, seconds: float) -> None:
        """Count a request."""
        health = request.path in {"/livez", "/readyz", "/metrics"}
        if health and not faulty("hlt-7-counted"):
            return
        if response.status >= 500 and faulty("err-8-uncounted"):
            return
        known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
        method = request.method if request.method in known else "other"
        route = request.facts.get("route", "none") if not health else "none"
        key = (method, route, response.status)
        self._counts[key] = self._counts.get(key, 0) + 1
