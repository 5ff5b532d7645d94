"""The operations app: metrics and health details, for those who run the service.

It is served on a listener of its own. A browser on the same machine can be made to reach it from any page, by
a name that the page's owner points to 127.0.0.1 (DNS rebinding); so ``Host`` must be a loopback name, the
listener's own name or an address, which no foreign page can make its own.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Protocol

from ..errors import (
    APIError,
    BadRequestError,
    MethodNotAllowedError,
    MisdirectedRequestError,
    NotFoundError,
    UnauthorizedError,
)
from ..settings import Settings
from ..types import Headers, Receive, Scope, Send
from ._exchange import Exchange, Reply

__all__ = ("Exposes", "OperationsApp", "PublicMetrics", "Reports")

_ALWAYS: Headers = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_INDEX = b"""Roadworthy operations

/metrics   Prometheus metrics
/livez     200 while the process answers
/readyz    200 while it may get traffic
/startupz  200 once it has started
/health    every check in detail, as JSON
"""
_METHODS = ("GET", "HEAD")
_METRICS = "/metrics"
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]/@\s]+))(?::\d{1,5})?", re.ASCII)
"""RFC 9110 §7.2: a host and an optional port; the address of IPv6 stands in brackets."""
_logger = logging.getLogger("roadworthy.operations")


class Exposes(Protocol):
    """What answers a scrape."""

    def exposition(self, accept: bytes = ...) -> Reply:
        """Return the metrics in the format that ``accept`` asks for."""
        ...


class Reports(Protocol):
    """What knows the health of the service."""

    def probe(self, path: str, method: str = ...) -> Reply:
        """Return the answer to one of the three probes."""
        ...

    def details(self) -> dict[str, Any]:
        """Return every check in detail."""
        ...


class OperationsApp:
    """An ASGI app with ``/metrics``, ``/health`` and the probes; read-only.

    Parameters:
        settings: ``ops_host``, the name that the listener is reached by besides loopback ones and addresses.
        health: the health of the service.
        metrics: its metrics.
    """

    def __init__(self, settings: Settings, health: Reports, metrics: Exposes) -> None:
        self._host = settings.ops_host.lower()
        self._pages: dict[str, Callable[[Mapping[bytes, bytes]], Reply]] = {
            "/": lambda headers: _page(b"text/plain; charset=utf-8", _INDEX),
            _METRICS: lambda headers: metrics.exposition(headers.get(b"accept", b"")),
            "/health": lambda headers: _page(b"application/json", json.dumps(health.details()).encode()),
            "/livez": lambda headers: health.probe("/livez"),
            "/readyz": lambda headers: health.probe("/readyz"),
            "/startupz": lambda headers: health.probe("/startupz"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope; there are no WebSockets here."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                reply = self._answer(scope)
            except APIError as error:
                reply = _problem(error)
            except Exception:
                _logger.exception("operations could not answer")
                reply = _problem(APIError())
            await _send(scope, send, reply)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def _answer(self, scope: Scope) -> Reply:
        raw: Headers = scope["headers"]
        self._check_host([value for name, value in raw if name.lower() == b"host"])
        page = self._pages.get(scope["path"])
        if page is None:
            raise NotFoundError
        if scope["method"] not in _METHODS:
            raise MethodNotAllowedError(headers={"Allow": ", ".join(_METHODS)})
        return page(_fields(raw))

    def _check_host(self, given: list[bytes]) -> None:
        if len(given) != 1:
            raise BadRequestError("A request has exactly one Host field")  # RFC 9112 §3.2
        match = _HOST.fullmatch(given[0].decode("latin-1").lower())
        if match is None:
            raise BadRequestError("Host is a name or an address, and a port")
        name = match[1] or match[2]
        if name in ("localhost", self._host) or name.endswith(".localhost") or _is_address(name):
            return
        raise MisdirectedRequestError


class PublicMetrics:
    """Answers ``/metrics`` on the public listener, to whoever has the token.

    A step of the layer and not a route of an app: a scrape has to come through while clients are limited.

    Parameters:
        settings: ``metrics_token``.
        metrics: what answers.

    Raises:
        ValueError: there is no token.
    """

    def __init__(self, settings: Settings, metrics: Exposes) -> None:
        self._metrics = metrics
        token = "" if settings.metrics_token is None else settings.metrics_token.get_secret_value()
        if not token:
            raise ValueError("metrics_public needs a token: set ROADWORTHY_METRICS_TOKEN")
        self._token = token.encode()

    def admit(self, exchange: Exchange) -> Reply | APIError | None:
        """Answer a scrape; let everything else pass."""
        if exchange.path != _METRICS:
            return None
        exchange.route = _METRICS
        if not self._allowed(exchange.headers.get(b"authorization", b"")):
            return UnauthorizedError(headers={"WWW-Authenticate": "Bearer"})  # RFC 6750 §3
        if exchange.method not in _METHODS:
            return MethodNotAllowedError(headers={"Allow": ", ".join(_METHODS)})
        return self._metrics.exposition(exchange.headers.get(b"accept", b""))

    def _allowed(self, authorization: bytes) -> bool:
        scheme, _, token = authorization.partition(b" ")
        # In constant time: how long a comparison takes would tell how much of a guess is right.
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(b" "), self._token)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _fields(raw: Headers) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in raw:
        name = name.lower()
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def _page(media_type: bytes, body: bytes, status: int = 200, headers: Headers | None = None) -> Reply:
    length = (b"content-length", b"%d" % len(body))
    return Reply(status, [(b"content-type", media_type), length, *(headers or [])], body)


def _problem(error: APIError) -> Reply:
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    fields = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return _page(b"application/problem+json", json.dumps(document).encode(), error.status, fields)


async def _send(scope: Scope, send: Send, reply: Reply) -> None:
    names = {name for name, _ in reply.headers}
    headers = [*reply.headers, *(field for field in _ALWAYS if field[0] not in names)]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
