"""The service of the zoo: a registry of parts, one for each concern, each of which may have faults.

``ZOO_FAULT`` names the faults of this process, joined by commas; without it everything is right. Behind ``@``
stands when a fault shows: ``hdr-1-misspelt@method=POST``.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import time
from collections import Counter
from typing import Any

from .conditions import Exchange, current, holds, traced
from .http import Request, Response, Server
from .stores import open_store

_SWITCHES = dict(one.partition("@")[::2] for one in os.environ.get("ZOO_FAULT", "").split(",") if one)
FAULTS = frozenset(name for name, condition in _SWITCHES.items() if not condition)

CODES = {
    400: "BAD_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}


def faulty(name: str) -> bool:
    """Tell whether this process has the fault of this name (``hlt-4-asks-store``), here and now."""
    condition = _SWITCHES.get(name)
    return traced(name) if condition is None else not condition or holds(condition)


def named(name: str) -> bool:
    """Tell whether this process has the fault of this name at any time."""
    return name in _SWITCHES


class Part:
    """One concern of the service. Subclasses override what they need."""

    async def start(self, zoo: Zoo) -> None:
        """Run before the listener is opened."""

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer a request before any route sees it, or None."""

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer a request that this part has a route for, or None."""

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Change a response on its way out; runs in the order of the parts."""

    def done(self, zoo: Zoo, request: Request, response: Response, seconds: float) -> None:
        """Hear of a finished request: for records and metrics."""

    async def stop(self, zoo: Zoo) -> None:
        """Run after the last response."""


class Problem(Exception):
    """Raised by a part to answer with the one error shape."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        self.status, self.detail, self.more = status, detail, more


class Zoo:
    """The whole service."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self.server: Server = Server(self.handle)
        self.store = (
            open_store(os.environ["DATABASE_URL"], FAULTS) if os.environ.get("DATABASE_URL") else None
        )
        self.draining: bool = False
        self.seen: Counter[tuple[str, str]] = Counter()
        self.rank = {"debug": 10, "info": 20, "warning": 30, "error": 40}[
            os.environ.get("LOG_LEVEL", "info").lower()
        ]

    def exchange(self, request: Request) -> Exchange:
        """Return what conditions of faults may ask about a request."""
        key = request.method, request.path
        self.seen[key] += 1
        return Exchange(self, request, self.seen[key])

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        began = time.monotonic()
        request.id = secrets.token_hex(8)
        exchange = self.exchange(request)
        current.set(exchange)
        try:
            response = await self._answer(request)
        except Problem as problem:
            response = self.problem(request, problem.status, problem.detail, **problem.more)
        except Exception as error:
            response = self.broken(request, error)
        exchange.response = response
        for part in self.parts:
            part.after(self, request, response)
        for part in self.parts:
            part.done(self, request, response, time.monotonic() - began)
        return response

    async def _answer(self, request: Request) -> Response:
        if "refused" in request.facts:
            # The server could not read the request; the answer has the service's shape all the same.
            raise Problem(request.facts["refused"], "the request cannot be read")
        for part in self.parts:
            response = await part.before(self, request)
            if response is not None:
                return response
        for part in self.parts:
            response = await part.route(self, request)
            if response is not None:
                return response
        raise Problem(404, "there is nothing here")

    def problem(self, request: Request, status: int, detail: str, **more: Any) -> Response:
        """Make an error response in the one shape."""
        body = {
            "type": "about:blank",
            "title": CODES.get(status, "ERROR").replace("_", " ").lower(),
            "status": status,
            "detail": detail,
            "code": CODES.get(status, "ERROR"),
            "request_id": request.id,
        }
        headers = more.pop("headers", {})
        response = Response.json(status, {**body, **more}, "application/problem+json")
        for name, value in headers.items():
            response.set(name, value)
        return response

    def broken(self, request: Request, error: Exception) -> Response:
        """Answer an exception that nothing expected. The part for errors replaces this."""
        self.log("error", "unhandled exception", request_id=request.id, error=repr(error))
        return self.problem(request, 500, "something went wrong")

    def log(self, level: str, message: str, **fields: Any) -> None:
        """Write one record."""
        if {"debug": 10, "info": 20, "warning": 30, "error": 40}[level] < self.rank:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        self.write({"time": stamp, "level": level, "message": message, **fields})

    def write(self, record: dict[str, Any]) -> None:
        """Write a record as a line. The part for logs replaces this."""
        sys.stdout.write(json.dumps(record, default=repr) + "\n")
        sys.stdout.flush()


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end the service."""
    return (signal.SIGTERM,) if faulty("shut-10-ignores-int") else (signal.SIGTERM, signal.SIGINT)
