"""The record of one exchange: what is known of a request and of the response to it.

Items read and write this record and nothing else. It knows neither ASGI nor a framework: an adapter fills the
first half from wherever the request came, and sends the second half wherever the response goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..errors import APIError
    from ..types import Headers
    from .limiter.policy import Policy
    from .routes import RouteKey, RouteRule

__all__ = (
    "Exchange",
    "Live",
    "Outcome",
    "Reply",
    "ResponseAborted",
    "current_exchange",
)


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


class Live(Protocol):
    """An exchange or a WebSocket in progress, as deadlines and shutdown see it."""

    deadline: float
    ended: bool

    def expire(self) -> None:
        """End it because its deadline has passed."""

    def tell_closing(self) -> None:
        """Tell it that the process is about to close, if it is a stream."""

    def cut(self) -> None:
        """End it now, if it is a stream."""

    def describe(self) -> str:
        """Return what it is, in two words, for the record of what is cut."""
        ...


class Exchange:
    """One request and its response.

    The adapter sets the request half before the admit steps run. Slots named after an item belong to that
    item.
    """

    __slots__ = (
        "body_complete",  # bool: the last byte of the request body was read
        "body_limit",  # int: bytes the body may have
        "body_received",  # int: bytes of the body read so far
        "bounded",  # bool: the server has held the request's head to the limits already
        "bytes_sent",  # int: bytes of response body handed to the server (after compression)
        "client",  # str: the client's address after trusted proxies were walked
        "client_key",  # str: what limits count by (an IPv4 address, an IPv6 /64 prefix)
        "close",  # bool: the connection is to be closed after this response
        "deadline",  # float: event-loop time at which the exchange is cut, inf for none
        "duration",  # float: seconds from the request to the end of its response; set before the finish steps
        "encoding",  # the compression item's own note, None where the body is sent as it is
        "ended",  # bool: the last byte of the response was handed to the server
        "error",  # APIError | None: the layer's own verdict; overrides whatever the app answers
        "exception",  # BaseException | None: what came out of the app unhandled
        "headers",  # dict[bytes, bytes]: request fields, lower case; repeated ones joined by the adapter
        "http_version",  # str: "1.0", "1.1", "2"
        "lines",  # list[bytes] | None: field lines ready for the wire, where the server takes such; else None
        "logged",  # bool: the exception of this exchange stands in a record already
        "method",  # str
        "path",  # str: decoded path without the query
        "peer",  # str: address of the other end of the connection, "" when unknown
        "query",  # bytes: raw query string
        "rate",  # (Policy, int) | None: the limit that counted the request, and the room left (see Room)
        "raw_headers",  # Headers: request fields as they came, in order, repeats kept
        "repeat",  # APIError | None: the refusal of lines of one field that must not stand together
        "request_id",  # str
        "response_headers",  # Headers: the response's fields; respond steps append to it
        "response_names",  # dict[bytes, bytes]: the app's response fields by lower-case name
        "root",  # str: the prefix at which the server says the app stands (root_path of ASGI), "" for none
        "route",  # str | None: the route's template ("/users/{id}"), None while unknown or unmatched
        "rule",  # RouteRule | None: per-route settings
        "scheme",  # str: "http" or "https" as the client used it
        "span",  # the tracing item's own note, None without OpenTelemetry
        "span_id",  # str: this exchange's span id (traceparent), "" without tracing
        "started",  # float: time.perf_counter() when the request came in
        "status",  # int: status of the response, 0 before there is one
        "streaming",  # bool: the response is a stream of unknown length
        "trace_id",  # str: 32 hex digits of the W3C trace id, "" without one
        "user_key",  # str | None: what per-user limits count by
    )

    body_complete: bool
    body_limit: int
    body_received: int
    bounded: bool
    bytes_sent: int
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
    rule: RouteRule | None
    scheme: str
    span: object | None
    span_id: str
    started: float
    status: int
    streaming: bool
    trace_id: str
    user_key: str | None

    websocket: bool = False
    """The exchange is the handshake of a WebSocket."""

    def enter(self, route: RouteKey) -> Callable[[], Awaitable[None]] | None:
        """Note that the app is about to run the handler of ``route``.

        Returns:
            None when the handler may run at once. Otherwise what has to be awaited first: the route's rule is
            not the one that was found before; it takes effect now, and raises the refusal if there is one.
        """
        del route
        return None

    def known_route(self) -> str | None:
        """Return the template of the route as far as it is known by now."""
        return self.route


Outcome: TypeAlias = "Reply | APIError | None"
"""None lets the request pass; a Reply answers it; an APIError refuses it."""

current_exchange: ContextVar[Exchange | None] = ContextVar("roadworthy_exchange", default=None)
"""The exchange that the running code works for; what records and child requests take their ids from."""
