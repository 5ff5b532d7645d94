"""The record of one exchange: what is known of a request and of the response to it.

Items read and write this record and nothing else. It knows no framework, and of ASGI only how a scope is
read: a constructor fills the first half from wherever the request came, and a :class:`Carrier` takes the
second half to wherever the response goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .request_fields import join_fields
from .routes import path_below

if TYPE_CHECKING:
    from ..errors import APIError
    from ..settings import Settings
    from ..types import Headers, Scope
    from .limiter.policy import Policy
    from .routes import RouteKey, RouteRule

__all__ = (
    "Carrier",
    "ClientLeftError",
    "Exchange",
    "InvalidResponseError",
    "Live",
    "Outcome",
    "Reply",
    "ResponseAborted",
    "Service",
    "current_exchange",
)

_NO_FIELDS: Headers = []
_NO_NAMES: dict[bytes, bytes] = {}


class Reply:
    """A whole response that an item gives by itself (a health answer, a preflight answer)."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body


class ResponseAborted(Exception):
    """Raised to the server when a response that has begun cannot be completed.

    The server then closes the connection without the last chunk, which is the only sign a client gets
    (RFC 9112 §8). The cause is recorded by the layer already, so servers' own records of it are dropped.
    """


class InvalidResponseError(RuntimeError):
    """Raised when an app's response cannot be sent as HTTP; reports what is wrong, never the value."""


class ClientLeftError(ConnectionResetError):
    """Raised to an app that goes on sending to a client that has left."""


class Service(Protocol):
    """What an exchange asks of the service that answers it; the pass of the layer is one."""

    @property
    def settings(self) -> Settings:
        """The settings of the service."""
        ...

    def rule_of(self, exchange: Exchange, route: RouteKey) -> RouteRule | None:
        """Return the rule of a route that the app has chosen for ``exchange``."""
        ...

    def name_route(self, exchange: Exchange) -> str | None:
        """Return the template of the route that a request is for which the app has not routed."""
        ...

    async def wait_for_drain(self) -> None:
        """Return when the process begins to drain."""


class Carrier(Protocol):
    """What carries an exchange between its client and the app, as long as it does."""

    def named_route(self) -> str | None:
        """Return the template of the route that the app has named, None as long as it has not."""
        ...

    async def overrule(self, rule: RouteRule | None) -> APIError | None:
        """Put the request under another rule; return the refusal if the rule refuses it."""
        ...

    def hold_for(self, settle: Callable[[int], Awaitable[None]]) -> bool:
        """See :meth:`Exchange.hold_for`."""
        ...

    def is_served_here(self) -> bool:
        """See :meth:`Exchange.is_served_here`."""
        ...

    def expire(self) -> None:
        """End the exchange because its deadline has passed."""


class Live(Protocol):
    """An exchange or a WebSocket in progress, as deadlines and shutdown see it."""

    exchange: Exchange

    def expire(self) -> None:
        """End it because its deadline has passed."""

    def ask_to_end(self) -> None:
        """Ask it to end, if it is a stream: the process is about to close."""

    def cut(self) -> None:
        """End it now, if it is a stream."""


class Exchange:
    """One request and its response.

    The constructors ``of_…`` set the request half. Slots named after an item belong to that item.
    """

    __slots__ = (
        "begun",  # bool: the head of the response was handed to the server
        "body_complete",  # bool: the last byte of the request body was read
        "body_limit",  # int: bytes the body may have
        "body_received",  # int: bytes of the body read so far
        "bounded",  # bool: the server has held the request's head to the limits already
        "bytes_sent",  # int: bytes of response body handed to the server (after compression)
        "carrier",  # Carrier | None: what carries it, None before and after
        "client",  # str: the client's address after trusted proxies were walked
        "client_key",  # str: what limits count by (an IPv4 address, an IPv6 /64 prefix)
        "close",  # bool: the connection is to be closed after this response
        "deadline",  # float: event-loop time at which the exchange is cut, inf for none
        "duration",  # float: seconds from the request to the end of its response; set before the finish steps
        "encoding",  # the compression item's own note, None where the body is sent as it is
        "ended",  # bool: the last byte of the response was handed to the server
        "error",  # APIError | None: the layer's own verdict; overrides whatever the app answers
        "exception",  # BaseException | None: what came out of the app unhandled
        "headers",  # dict[bytes, bytes]: request fields, lower case; repeated ones joined by their rule
        "http_version",  # str: "1.0", "1.1", "2"
        "lines",  # list[bytes] | None: field lines that `add` has put aside, where the server takes such
        "logged",  # bool: the exception of this exchange stands in a record already
        "method",  # str: "" where the server has refused the request unread
        "path",  # str: decoded path without the query
        "peer",  # str: address of the other end of the connection, "" when unknown
        "query",  # bytes: raw query string
        "rate",  # (Policy, int) | None: the limit that counted the request, and the room left (see Room)
        "raw_headers",  # Headers: request fields as they came, in order, repeats kept
        "repeat",  # APIError | None: the refusal of lines of one field that must not stand together
        "request_id",  # str
        "response_headers",  # Headers: the response's fields, `lines` aside; see `add`
        "response_names",  # dict[bytes, bytes]: the app's response fields by lower-case name
        "root",  # str: the prefix at which the server mounts the app (root_path of ASGI), "" for none
        "route",  # str | None: the route's template ("/users/{id}"), None while unknown or unmatched
        "route_path",  # str: the path without `root`, as the app's routes and the layer's own know it
        "rule",  # RouteRule | None: per-route settings
        "scheme",  # str: "http" or "https" as the client used it
        "service",  # Service | None: what answers it
        "span",  # the tracing item's own note, None without OpenTelemetry
        "span_id",  # str: this exchange's span id (traceparent), "" without tracing
        "started",  # float: time.perf_counter() when the request came in
        "status",  # int: status of the response, 0 before there is one
        "streaming",  # bool: the response is a stream of unknown length
        "trace_id",  # str: 32 hex digits of the W3C trace id, "" without one
        "user_key",  # str | None: what per-user limits count by
        "websocket",  # bool: the exchange is the handshake of a WebSocket, and what follows it
    )

    begun: bool
    body_complete: bool
    body_limit: int
    body_received: int
    bounded: bool
    bytes_sent: int
    carrier: Carrier | None
    client: str
    client_key: str
    close: bool
    deadline: float
    duration: float
    encoding: object | None
    ended: bool
    error: APIError | None
    exception: BaseException | None
    headers: dict[bytes, bytes]
    http_version: str
    lines: list[bytes] | None
    logged: bool
    method: str
    path: str
    peer: str
    query: bytes
    rate: tuple[Policy, int] | None
    raw_headers: Headers
    repeat: APIError | None
    request_id: str
    response_headers: Headers
    response_names: dict[bytes, bytes]
    root: str
    route: str | None
    route_path: str
    rule: RouteRule | None
    scheme: str
    service: Service | None
    span: object | None
    span_id: str
    started: float
    status: int
    streaming: bool
    trace_id: str
    user_key: str | None

    websocket: bool

    # There is no `__init__`: CPython 3.11 and 3.12 call one by a way that costs as much as ten stores.

    @classmethod
    def of_http(cls, scope: Scope) -> Exchange:
        """Make the exchange of a request from its ``http`` scope; optional keys have ASGI's defaults."""
        made = cls()
        client = scope.get("client")
        made._begin(client[0] if client else "", _fields(scope))
        made.method = scope["method"]
        made.path = made.route_path = scope["path"]
        made.root = scope.get("root_path") or ""
        if made.root:
            made.route_path = path_below(made.root, made.path)
        made.query = scope.get("query_string") or b""
        made.scheme = scope.get("scheme") or "http"
        made.http_version = scope.get("http_version") or "1.1"
        return made

    @classmethod
    def of_websocket(cls, scope: Scope) -> Exchange:
        """Make the exchange of a WebSocket from its scope (ASGI): its handshake is a GET (RFC 6455 §4.1)."""
        made = cls()
        client = scope.get("client")
        made._begin(client[0] if client else "", _fields(scope))
        made.websocket = True
        made.method = "GET"
        made.path = made.route_path = scope["path"]
        made.root = scope.get("root_path") or ""
        if made.root:
            made.route_path = path_below(made.root, made.path)
        made.query = scope.get("query_string") or b""
        made.scheme = "https" if scope.get("scheme") == "wss" else "http"
        made.http_version = scope.get("http_version") or "1.1"
        return made

    @classmethod
    def of_refusal(cls, peer: str) -> Exchange:
        """Make the exchange of a request that the server has refused unread: only who sent it is known."""
        made = cls()
        made._begin(peer, [])
        made.method = made.path = made.route_path = made.root = ""
        made.query = b""
        made.scheme = "http"
        made.http_version = "1.1"
        return made

    def _begin(self, peer: str, fields: Headers) -> None:
        """Set what every exchange begins with.

        Parameters:
            peer: address of the other end of the connection, "" when unknown.
            fields: the request's fields in order, names in lower case, repeats kept.
        """
        self.started = perf_counter()
        self.peer = self.client = self.client_key = peer
        self.raw_headers = fields
        headers: dict[bytes, bytes] = dict(fields)
        self.repeat = None
        if len(headers) != len(fields):
            headers, self.repeat = join_fields(fields)
        self.headers = headers
        self.request_id = self.trace_id = self.span_id = ""
        self.carrier = self.service = self.lines = self.route = self.rule = self.span = self.user_key = None
        self.error = self.exception = self.rate = self.encoding = None
        self.begun = self.body_complete = self.bounded = self.close = self.ended = False
        self.logged = self.streaming = self.websocket = False
        self.body_limit = self.body_received = self.bytes_sent = self.status = 0
        self.deadline = inf
        self.response_headers = _NO_FIELDS
        self.response_names = _NO_NAMES

    # -- the response's fields

    def add(self, fields: Iterable[tuple[bytes, bytes]], lines: bytes | None = None) -> None:
        """Add fields to the response, however it travels.

        Parameters:
            fields: names in lower case, and values.
            lines: the same as they stand on the wire, each with its CRLF, where an item has them at hand: a
                server that takes such is spared the encoding. Not for fields that frame the message.
        """
        if lines is None or self.lines is None:
            self.response_headers += fields
        else:
            self.lines.append(lines)

    # -- the route

    def enter(self, route: RouteKey) -> Callable[[], Awaitable[None]] | None:
        """Note that the app is about to run the handler of ``route``.

        Returns:
            None when the handler may run at once. Otherwise what has to be awaited first: the route's rule is
            not the one that was found before; it takes effect now, and raises the refusal if there is one.
        """
        service, carrier = self.service, self.carrier
        if service is None or carrier is None:
            return None
        # A middleware may have given the app another scope than the one that is asked at the end.
        self.route = route[0]
        rule = service.rule_of(self, route)
        return None if rule is self.rule else partial(_enter_late, carrier, rule)

    def known_route(self) -> str | None:
        """Return the template of the route as far as it can be known by now; found once."""
        if self.route is None and self.carrier is not None:
            self.route = self.carrier.named_route()
        if self.route is None and self.service is not None:
            self.route = self.service.name_route(self)
        return self.route

    # -- for the service's own code

    def hold_for(self, settle: Callable[[int], Awaitable[None]]) -> bool:
        """Have ``settle(status)`` awaited before the head leaves: a unit of work that the request keeps open.

        Only a task that serves the request can ask for it, before the app has begun its response; others
        get False.
        """
        return self.carrier is not None and self.carrier.hold_for(settle)

    def is_served_here(self) -> bool:
        """Return whether the running task serves this request: its own, or one that a middleware awaits."""
        return self.carrier is not None and self.carrier.is_served_here()

    def describe(self) -> str:
        """Return what is asked for, in two words, for the record of what is cut."""
        return f"{'WebSocket' if self.websocket else self.method} {self.path}"


def _fields(scope: Scope) -> Headers:
    fields: Headers = scope["headers"]
    if type(fields) is list:
        return fields
    # Any iterable, says ASGI; the app is to find in it what we have read.
    scope["headers"] = found = [(name, value) for name, value in fields]
    return found


async def _enter_late(carrier: Carrier, rule: RouteRule | None) -> None:
    refused = await carrier.overrule(rule)
    if refused is not None:
        raise refused


Outcome: TypeAlias = "Reply | APIError | None"
"""None lets the request pass; a Reply answers it; an APIError refuses it."""

current_exchange: ContextVar[Exchange | None] = ContextVar("roadworthy_exchange", default=None)
"""The exchange that the running code works for; what records and child requests take their ids from."""
