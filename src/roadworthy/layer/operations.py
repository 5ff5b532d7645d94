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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol

from pydantic import SecretStr

from ..errors import (
    APIError,
    BadRequestError,
    ContentTooLargeError,
    ForbiddenError,
    MethodNotAllowedError,
    MisdirectedRequestError,
    NotFoundError,
    UnauthorizedError,
)
from ..settings import Settings
from ..types import Headers, Receive, Scope, Send
from .exchange import Exchange, Reply
from .problem import problem
from .request_fields import join_fields

__all__ = ("Exposes", "OperationsApp", "Page", "PublicMetrics", "Reports", "json_page")

_ALWAYS: Headers = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_BODY_LIMIT = 4096
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

    def details(self) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """Return every check in detail."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the operations listener.

    Parameters:
        answer: gets the request's fields and its body.
        title: one line for the index.
        write: it changes something: asked with ``write`` as its method, and with the token only.
    """

    answer: Callable[[Mapping[bytes, bytes], bytes], Reply | Awaitable[Reply]]
    title: str
    write: str | None = None


class OperationsApp:
    """An ASGI app with ``/metrics``, ``/health`` and the probes, and the pages that a server adds.

    Writes want ``Authorization: Bearer`` with ``ops_token``; without that setting there are none.

    Parameters:
        settings: ``ops_host``, the name that the listener is reached by besides loopback ones and addresses.
        health: the health of the service.
        metrics: its metrics.
    """

    def __init__(self, settings: Settings, health: Reports, metrics: Exposes) -> None:
        self._host = settings.ops_host.lower()
        self._token = _secret(settings.ops_token)
        self._health = health
        self._pages: dict[str, Page] = {
            "/": Page(lambda headers, body: _page(b"text/plain; charset=utf-8", self._index()), "this page"),
            _METRICS: Page(
                lambda headers, body: metrics.exposition(headers.get(b"accept", b"")), "Prometheus metrics"
            ),
            "/livez": self._probe("/livez", "200 while the process answers"),
            "/readyz": self._probe("/readyz", "200 while it may get traffic"),
            "/startupz": self._probe("/startupz", "200 once it has started"),
            "/health": Page(self._details, "every check in detail, as JSON"),
        }

    def add(self, path: str, page: Page) -> None:
        """Add a page; it replaces one of the same path."""
        self._pages[path] = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope; there are no WebSockets here."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                reply = await self._answer(scope, receive)
            except APIError as error:
                reply = _problem(error)
            except Exception:
                _logger.exception("operations could not answer")
                reply = _problem(APIError())
            await _send(scope, send, reply)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        raw: Headers = scope["headers"]
        self._check_host([value for name, value in raw if name.lower() == b"host"])
        page = self._pages.get(scope["path"])
        if page is None:
            raise NotFoundError
        methods = _METHODS if page.write is None else (page.write,)
        if scope["method"] not in methods:
            raise MethodNotAllowedError(headers={"Allow": ", ".join(methods)})
        fields, refused = join_fields(raw)
        if refused is not None:
            raise refused
        body = b""
        if page.write is not None:
            self._check_token(fields.get(b"authorization", b""))
            body = await _body(receive)
        reply = page.answer(fields, body)
        return reply if isinstance(reply, Reply) else await reply

    def _check_token(self, authorization: bytes) -> None:
        if not self._token:
            raise ForbiddenError(
                "Writes need a token: set ROADWORTHY_OPS_TOKEN and send it as a bearer token"
            )
        if not _bears(authorization, self._token):
            raise UnauthorizedError(headers={"WWW-Authenticate": "Bearer"})  # RFC 6750 §3

    def _probe(self, path: str, title: str) -> Page:
        return Page(lambda headers, body: self._health.probe(path), title)

    async def _details(self, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        found = self._health.details()
        return json_page(found if isinstance(found, dict) else await found)

    def _index(self) -> bytes:
        lines = [f"{page.write or 'GET':<4} {path:<10} {page.title}" for path, page in self._pages.items()]
        return "\n".join(["Roadworthy operations", "", *lines, ""]).encode()

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
        self._token = _secret(settings.metrics_token)
        if not self._token:
            raise ValueError("metrics_public needs a token: set ROADWORTHY_METRICS_TOKEN")

    def admit(self, exchange: Exchange) -> Reply | APIError | None:
        """Answer a scrape; let everything else pass."""
        if exchange.route_path != _METRICS:
            return None
        exchange.route = _METRICS
        if not _bears(exchange.headers.get(b"authorization", b""), self._token):
            return UnauthorizedError(headers={"WWW-Authenticate": "Bearer"})  # RFC 6750 §3
        if exchange.method not in _METHODS:
            return MethodNotAllowedError(headers={"Allow": ", ".join(_METHODS)})
        return self._metrics.exposition(exchange.headers.get(b"accept", b""))


def json_page(content: Any, status: int = 200) -> Reply:
    """Return an answer with ``content`` as its JSON."""
    return _page(b"application/json", json.dumps(content).encode(), status)


def _secret(setting: SecretStr | None) -> bytes:
    return b"" if setting is None else setting.get_secret_value().encode()


def _bears(authorization: bytes, expected: bytes) -> bool:
    scheme, _, token = authorization.partition(b" ")
    # In constant time: how long a comparison takes would show how much of a guess is right.
    return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(b" "), expected)


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > _BODY_LIMIT:
            raise ContentTooLargeError
        if not message.get("more_body", False):
            return body


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _page(media_type: bytes, body: bytes, status: int = 200, headers: Headers | None = None) -> Reply:
    length = (b"content-length", b"%d" % len(body))
    return Reply(status, [(b"content-type", media_type), length, *(headers or [])], body)


def _problem(error: APIError) -> Reply:
    fields = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return _page(b"application/problem+json", json.dumps(problem(error)).encode(), error.status, fields)


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
