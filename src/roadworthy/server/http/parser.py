"""The parser of a connection: from bytes to requests, each judged as soon as its head is complete.

Nothing runs while a piece is parsed, so the connection need not know of each step: it looks at ``event`` when
the piece is done. A small request is one event for it.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from ...errors import (
    APIError,
    BadRequestError,
    Limit,
    UnavailableError,
    URITooLongError,
    refused_by,
)
from ...types import Headers, Scope
from ..process.uvicorn_names import Config
from ..websocket.handshake import check_handshake, is_handshake
from ..websocket.opening import Host, Opening
from .cycle import Cycle
from .replay import framing_of, replayed
from .request_head import (
    NotImplementedMethodError,
    VersionNotSupportedError,
    check_coding,
    check_host,
    check_protocol,
    check_size,
    check_trailers,
    header_refusal,
    joined,
    listed,
    other_target,
)
from .shared import Shared
from .states import Event
from .transport import Address

__all__ = ("BETWEEN", "SLICE", "Owner", "Parser")

BETWEEN, HEAD, BODY = range(3)
"""Where a parser stands: between two requests, or within one."""

SLICE = 4 << 10
"""Bytes parsed at once outside of bodies, so that a read full of small requests does not become thousands of
cycles."""
_BODY_SLICE = 64 << 10
# Bytes of a body that an app has not taken, above which the client waits; asyncio's own high-water mark.
_HIGH_WATER = 64 << 10
# Chunk sizes, extensions and trailers that come with a body, beyond eight bytes for each of its own.
_OVERHEAD = 64 << 10

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")}
_EVENTS: tuple[Event | None, ...] = (None, "begun", "headed")


class Owner(Host, Protocol):
    """What a parser needs of its connection."""

    @property
    def shared(self) -> Shared:
        """What all connections of the listener share."""
        ...

    @property
    def current(self) -> Cycle | None:
        """The request that is being answered."""
        ...

    def begin(self, cycle: Cycle) -> None:
        """Answer a request while no other is being answered."""

    def line_up(self, cycle: Cycle) -> None:
        """Answer a request after those before it.

        Raises:
            UnavailableError: there are too many.
        """


class Parser:
    """Feeds llhttp, whose callbacks begin with ``on_``, and makes a cycle of each request.

    Parameters:
        owner: the connection.
        config: uvicorn's configuration.
        app_state: the state of the lifespan, copied into each scope.

    Attributes:
        at: ``BETWEEN`` requests, in a ``HEAD`` or in a ``BODY``.
        event: what has come last and the connection has not looked at.
        incoming: the request whose body is next.
        lead: bytes before the first request line.
        handshake: a WebSocket is asked for; nothing behind it is HTTP until it is answered.
        drained: bytes of a body that were thrown away, for its response is complete.
        refusal: why a request cannot be taken; nothing more is to be fed then.
    """

    __slots__ = (
        "_asgi",
        "_before",  # bytearray: earlier pieces, while the request line may not be complete
        "_client",
        "_config",
        "_fed",  # bytes fed since the piece in which the request began
        "_fields",  # Headers: where parsed fields go, the head's and then the trailers'
        "_first",  # length of the piece in which the request began
        "_leads",  # the request line that is being read begins the earlier pieces, or else this one
        "_limits",
        "_llhttp",
        "_opens",  # the request that is being read asks for a WebSocket
        "_owner",
        "_piece",  # bytes: what is being fed
        "_replay",  # framing of a body that llhttp would skip
        "_root",
        "_scheme",
        "_server",
        "_state_copy",
        "_target",
        "at",
        "drained",
        "event",
        "handshake",
        "incoming",
        "lead",
        "refusal",
    )

    def __init__(self, owner: Owner, config: Config, app_state: dict[str, Any]) -> None:
        self._owner: Any = owner
        self._config = config
        self._limits = owner.shared.limits
        self._asgi = config.asgi_version
        self._root = config.root_path
        self._state_copy = app_state.copy
        self._llhttp: Any = httptools.HttpRequestParser(self)
        self._client: Address | None = None
        self._server: Address | None = None
        self._scheme = "http"
        self._piece = self._replay = self._target = b""
        self.lead = b""
        self._before = bytearray()
        self._fields: Headers = []
        self._fed = self._first = self.drained = 0
        self._leads = self._opens = self.handshake = False
        self.at = BETWEEN
        self.event: Event | None = None
        self.incoming: Cycle | None = None
        self.refusal: APIError | None = None

    def between(self, client: Address | None, server: Address | None, scheme: str) -> None:
        """Take the addresses of both ends and the scheme, for the scopes."""
        self._client = client
        self._server = server
        self._scheme = scheme

    def release(self) -> None:
        """End; the connection and this parser hold each other, and so do llhttp and this parser."""
        self._owner = self._llhttp = self.incoming = None

    # -- feeding

    def first(self, data: bytes) -> bytes:
        """Return what is to be fed of the first bytes of a connection; nothing while more has to come.

        One empty line may precede the request line (RFC 9112 §2.2); more is a :attr:`refusal`.
        """
        data = self.lead + data
        self.lead = b""
        if data == b"\r":
            self.lead = data
            return b""
        if data[0] in b"\r\n":
            if not data.startswith(b"\r\n") or data[2:3] in (b"\r", b"\n"):
                self.refusal = BadRequestError("The request line is missing")
                return b""
            if len(data) == 2:
                self.lead = data
                return b""
            data = data[2:]
        return data

    def feed(self, data: bytes) -> bytes:
        """Parse the next piece; return the rest, nothing where there is a :attr:`refusal`."""
        at = self.at
        size = _BODY_SLICE if at == BODY else SLICE
        if len(data) <= size:
            piece, rest = data, b""
        else:
            piece, rest = data[:size], data[size:]
        self._piece = piece
        self._fed += len(piece)
        lined = False
        if at == HEAD:
            lined = bool(self._fields)
        else:
            self._leads = at == BETWEEN
        try:
            self._llhttp.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            rest = piece[upgrade.args[0] :] + rest
            if self._opens:
                self.handshake = True
            elif self._replay and self.incoming is not None:
                self._llhttp = replayed(self, self._replay, self.incoming.keep_alive)
                self._replay = b""
                self._fed = 0
        except httptools.HttpParserError as error:
            self._broken(error)
            return b""
        if self.at == HEAD and not (lined and self._fed):
            self._before += piece
        return rest

    def look_again(self) -> None:
        """Report once more where this stands: the rest was held back."""
        self.event = _EVENTS[self.at]

    def end_at_handshake(self) -> None:
        """Take the request that asks for a WebSocket for complete."""
        self.at = BETWEEN
        self.event = self.incoming = None

    def is_flooded(self) -> bool:
        """Return whether a head or a body that is not complete yet is too much already: a :attr:`refusal`."""
        limits = self._limits
        if self.at == HEAD:
            most = limits.header_limit + limits.url_limit + SLICE
            if self._fed > most or len(self._fields) > limits.header_count:
                self.refusal = header_refusal(limits, len(self._fields))
        elif self.at == BODY and self.incoming is not None:
            most = 8 * self.incoming.received + _OVERHEAD + limits.header_limit + limits.url_limit
            if self._fed > most or len(self._fields) > limits.header_count:
                self.refusal = BadRequestError("The body's chunks are mostly framing")
        return self.refusal is not None

    def take_refusal(self) -> APIError | None:
        """Return the :attr:`refusal` and forget it."""
        refusal, self.refusal = self.refusal, None
        return refusal

    def _broken(self, error: httptools.HttpParserError) -> None:
        # Kept, not raised: a traceback that begins here would hold what the connection is made of.
        cause = error.__context__
        if isinstance(cause, APIError):
            self.refusal = cause
        elif cause is not None:
            self._owner.refuser.report(cause)
            self.refusal = BadRequestError()
        elif self.event == "whole" and self._owner.current is not None:
            # Data after `Connection: close`: a server must not look at it (RFC 9112 §9.6).
            self.event = "broken"
        elif self._target == b"*" and self.at == HEAD and not self._fields:
            self.refusal = VersionNotSupportedError()
        else:
            self.refusal = BadRequestError("The request is not well-formed HTTP/1.1")

    # -- llhttp's callbacks

    def on_message_begin(self) -> None:
        """Parser: the first byte of a request line."""
        self.at = HEAD
        self.event = "begun"
        self._target = b""
        self._fed = 0
        self._first = len(self._piece)
        self._fields = []

    def on_url(self, url: bytes) -> None:
        """Parser: a piece of the request target."""
        self._target += url
        if len(self._target) > self._limits.url_limit:
            raise refused_by(URITooLongError(), Limit("URL_LIMIT", self._limits.url_limit, "bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a field of the head, or a trailer."""
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Parser: the head is complete."""
        headers = self._fields
        self._fields = []
        self.at = BODY
        self.event = "headed"
        self.incoming = None
        owner = self._owner
        parser = self._llhttp
        limits = self._limits
        names = dict(headers)
        if self._first + self._fed > limits.header_limit or len(headers) > limits.header_count:
            check_size(headers, limits)
        if len(names) != len(headers):
            names = joined(headers)
        verb = parser.get_method()
        target = self._target
        # Mostly the request line begins what came. Looking for it takes several times as long.
        received: bytes | bytearray = self._piece
        if self._before:
            received = self._before + received
            self._before = bytearray()
        if not (self._leads and received.startswith(b" HTTP/", len(verb) + 1 + len(target))):
            check_protocol(received, target)
        self._leads = False
        method = _METHODS.get(verb)
        if method is None:
            method = verb.decode("ascii")
            if method == "CONNECT":
                # Whatever its target: llhttp reads no body of it, and a 2xx makes a tunnel (RFC 9110 §9.3.6).
                raise NotImplementedMethodError
        version = parser.get_http_version()
        host = names.get(b"host")
        if host is not None:
            check_host(host)
        keep_alive = expects = False
        if version == "1.1":
            if host is None:
                raise BadRequestError("The Host field is missing")
            keep_alive = parser.should_keep_alive()
            expects = b"expect" in names and b"100-continue" in listed(names[b"expect"])
        elif version != "1.0":
            raise VersionNotSupportedError
        if b"transfer-encoding" in names:
            check_coding(names[b"transfer-encoding"], version)
        if target[:1] != b"/":
            target = other_target(method, target, headers)
        elif b"#" in target:
            target = target.partition(b"#")[0]
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self._asgi, "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": method,
            "root_path": self._root,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": self._state_copy(),
        }
        if self._root:
            scope["path"] = self._root + path
            scope["raw_path"] = self._root.encode("ascii") + raw_path
        if b"te" in names and b"trailers" in names[b"te"].lower():
            scope["extensions"] = {"http.response.trailers": {}}
        cycle = self.incoming = Cycle(owner, scope, keep_alive, expects)
        if b"upgrade" in names and parser.should_upgrade():
            if self._config.ws_protocol_class is not None and is_handshake(method, version, headers):
                check_handshake(headers)
                if owner.current is not None:
                    raise BadRequestError("A WebSocket cannot be opened behind another request")
                if owner.shared.crowd.full:
                    raise UnavailableError("There are too many WebSockets")
                cycle = self.incoming = Opening(owner, scope, limits.message_limit)
                self._opens = True
            else:
                self._replay = framing_of(names)
        if self._config.limit_concurrency is not None and self._is_full(self._config.limit_concurrency):
            raise UnavailableError
        if self._opens:
            return
        if owner.current is None:
            owner.begin(cycle)
        else:
            owner.line_up(cycle)

    def on_body(self, body: bytes) -> None:
        """Parser: a piece of the body."""
        cycle = self.incoming
        if cycle is None:
            return
        if cycle.complete:
            cycle.received += len(body)
            self.drained += len(body)
            return
        cycle.feed(body)
        if cycle.buffered > _HIGH_WATER:
            self._owner.stream.pause()

    def on_message_complete(self) -> None:
        """Parser: the request is complete."""
        if self._replay or self._opens:
            return
        if self._fields:
            check_trailers(self._fields)
        self.at = BETWEEN
        self.event = "whole"
        cycle = self.incoming
        if cycle is not None:
            self.incoming = None
            cycle.end()

    def _is_full(self, limit: int) -> bool:
        state = self._owner.server_state
        return len(state.connections) >= limit or len(state.tasks) >= limit
