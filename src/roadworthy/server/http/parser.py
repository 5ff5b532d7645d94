"""The parser side of a connection: from bytes to requests, each judged as soon as its head is complete."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from math import inf
from typing import Any
from urllib.parse import unquote

import httptools
from websockets.server import ServerProtocol

from ...errors import (
    APIError,
    BadRequestError,
    RequestHeaderFieldsTooLargeError,
    UnavailableError,
    URITooLongError,
)
from ...layer.exchange import Reply
from ...types import Headers, Scope
from ..process.uvicorn_names import Config, State
from ..websocket.connection import WebSocket
from ..websocket.handshake import check_handshake, is_handshake
from ..websocket.opening import Opening
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
    joined,
    listed,
    other_target,
)
from .transport import BODY, BUSY, FRESH, HEAD, LINGER, Stream

__all__ = ("Requests",)

# Parsed at once outside of bodies, so that a read full of small requests does not become thousands of cycles.
_SLICE = 4 << 10
_BODY_SLICE = 64 << 10
# Requests in 4 KiB, at 27 bytes each; only a flood behind a body has more.
_QUEUE = 160
# Bytes of a body that an app has not taken, above which the client waits; asyncio's own high-water mark.
_HIGH_WATER = 64 << 10
# What is left of a body whose response is complete is read and thrown away up to here (Go: 256 KiB), for a
# connection that lives on is worth that much.
_DRAIN = 256 << 10
# Chunk sizes, extensions and trailers that come with a body, beyond eight bytes for each of its own.
_OVERHEAD = 64 << 10
_TLS_HANDSHAKE = 0x16

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")}


class _Enough(Exception):
    """Raised within the parser to end parsing: the connection takes no further requests."""


class Requests(Stream):
    """Feeds llhttp and makes a cycle of each request."""

    __slots__ = (
        "_asgi",
        "_before",  # bytearray: earlier pieces, while the request line may not be complete
        "_client",
        "_clocked",  # the deadline of this phase is set
        "_config",
        "_fed",  # bytes fed since the piece in which the request began
        "_fields",  # Headers: where parsed fields go, the head's and then the trailers'
        "_first",  # length of the piece in which the request began
        "_lead",  # bytes before the first request line
        "_leads",  # the request line that is being read begins the earlier pieces, or else this one
        "_parser",
        "_piece",  # bytes: what is being fed
        "_replay",  # how the body is framed of which the parser will not see that it is one
        "_root",
        "_scheme",
        "_server",
        "_state_copy",
        "_stopping",  # the server shuts down
        "_target",
        "_websocket",
    )

    def __init__(
        self, config: Config, state: State, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(loop, state)
        self._config = config
        self._asgi = config.asgi_version
        self._root = config.root_path
        self._state_copy = app_state.copy
        self._parser: Any = httptools.HttpRequestParser(self)
        self._client: tuple[str, int | None] | None = None
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        self._lead = self._piece = self._replay = self._target = b""
        self._before = bytearray()
        self._fields: Headers = []
        self._fed = self._first = 0
        self._clocked = self._leads = self._stopping = self._websocket = False

    # -- what the requests are given to

    @abstractmethod
    def _begin(self, cycle: Cycle) -> None:
        """Run the cycle."""

    @abstractmethod
    def _be_idle(self) -> None:
        """Wait for the next request."""

    @abstractmethod
    def _refuse(self, error: APIError) -> None:
        """Answer a request that cannot be taken, and close."""

    @abstractmethod
    def become(self, frames: ServerProtocol, head: bytes) -> WebSocket:
        """Make the connection a WebSocket."""

    @abstractmethod
    def _note(self, error: APIError) -> None:
        """Record a request that cannot be answered either."""

    @abstractmethod
    def default_fields(self, dated: bool) -> bytes:
        """Return the field lines of every response."""

    @abstractmethod
    def finished(self, cycle: Cycle) -> None:
        """Go on after a complete response."""

    @abstractmethod
    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Encode what is answered in place of the app."""

    @abstractmethod
    def report(self, exception: BaseException) -> None:
        """Record an exception that no answer tells of."""

    # -- feeding

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        phase = self._phase
        if phase == BUSY or self._stash:
            self._stash += data
            if len(self._stash) > _SLICE:
                self._pause_reading()
        elif phase < BUSY:
            self._feed(data)
        else:
            self._throw_away(len(data))

    def _feed(self, data: bytes) -> None:
        if self._phase == FRESH:
            data = self._opening(data)
        while data:
            phase = self._phase
            size = _BODY_SLICE if phase == BODY else _SLICE
            if len(data) <= size:
                piece, data = data, b""
            else:
                piece, data = data[:size], data[size:]
            self._piece = piece
            self._fed += len(piece)
            lined = False
            if phase == HEAD:
                lined = bool(self._fields)
            else:
                self._leads = phase < HEAD
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                data = piece[upgrade.args[0] :] + data
                if self._websocket:
                    self._open(data)
                    return
                if self._replay and self._incoming is not None:
                    self._parser = replayed(self, self._replay, self._incoming.keep_alive)
                    self._replay = b""
                    self._fed = 0
            except httptools.HttpParserError as error:
                self._broken(error)
                return
            if self._phase == HEAD and not (lined and self._fed):
                self._before += piece
            if data and self._queue:
                self._stash = data
                self._pause_reading()
                break
            # Between the pieces as well: a read of 256 KiB holds 65,000 fields.
            if data and (flood := self._flood()) is not None:
                self._refuse(flood)
                return
        self._after_feeding()

    def _open(self, data: bytes) -> None:
        """Have the app answer a handshake; what came behind it waits until it has."""
        cycle = self._incoming
        assert cycle is not None
        self._incoming = None
        self._phase = BUSY
        self.read_deadline = inf
        self._stash = data
        if len(data) > _SLICE:
            self._pause_reading()
        self._begin(cycle)

    def _opening(self, data: bytes) -> bytes:
        """Look at the first bytes of the connection: one empty line may precede the request line (§2.2)."""
        data = self._lead + data
        self._lead = b""
        if data[0] == _TLS_HANDSHAKE:
            # Whatever is answered in clear text is noise to this client.
            self._note(BadRequestError("A TLS handshake came to a port that speaks plain HTTP"))
            self._close()
            return b""
        if data == b"\r":
            self._lead = data
            return b""
        if data[0] in b"\r\n":
            if not data.startswith(b"\r\n") or data[2:3] in (b"\r", b"\n"):
                self._refuse(BadRequestError("The request line is missing"))
                return b""
            if len(data) == 2:
                self._lead = data
                return b""
            data = data[2:]
        return data

    def _after_feeding(self) -> None:
        phase = self._phase
        if phase == BUSY or phase >= LINGER:
            return
        if self._stash:
            # The rest is here and waits for its turn; the client has no part in how long that takes.
            self._clocked = False
            self.read_deadline = inf
            return
        if phase == BODY and self._current is None and self._drained > _DRAIN:
            self._linger()
            return
        flood = self._flood()
        if flood is not None:
            self._refuse(flood)
            return
        if not self._clocked and phase >= HEAD:
            self._clocked = True
            now = self._loop.time()
            if phase == HEAD:
                self.read_deadline = now + self.limits.header_timeout
            else:
                self._since = now
                if self._reading:
                    self.read_deadline = now + self.limits.body_timeout

    def _flood(self) -> APIError | None:
        """Return why a head or a body that is not complete yet is refused already."""
        limits = self.limits
        phase = self._phase
        if phase == HEAD:
            most = limits.header_limit + limits.url_limit + _SLICE
            if self._fed > most or len(self._fields) > limits.header_count:
                return RequestHeaderFieldsTooLargeError()
        elif phase == BODY and self._incoming is not None:
            most = 8 * self._incoming.received + _OVERHEAD + limits.header_limit + limits.url_limit
            if self._fed > most or len(self._fields) > limits.header_count:
                return BadRequestError("The body's chunks are mostly framing")
        return None

    def _broken(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if self._phase >= LINGER:
            return
        if isinstance(cause, APIError):
            self._refuse(cause)
        elif cause is not None:
            self.report(cause)
            self._refuse(BadRequestError())
        elif self._phase == BUSY:
            # Data after `Connection: close`: a server must not look at it (RFC 9112 §9.6).
            self._phase = LINGER
        elif self._target == b"*" and self._phase == HEAD and not self._fields:
            self._refuse(VersionNotSupportedError())
        else:
            self._refuse(BadRequestError("The request is not well-formed HTTP/1.1"))

    # -- llhttp's callbacks

    def on_message_begin(self) -> None:
        """Parser: the first byte of a request line."""
        if self._phase >= LINGER:
            raise _Enough
        self._phase = HEAD
        self._clocked = False
        self._target = b""
        self._fed = 0
        self._first = len(self._piece)
        self._fields = []

    def on_url(self, url: bytes) -> None:
        """Parser: a piece of the request target."""
        self._target += url
        if len(self._target) > self.limits.url_limit:
            raise URITooLongError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a field of the head, or a trailer."""
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Parser: the head is complete."""
        headers = self._fields
        self._fields = []
        self._phase = BODY
        self._clocked = False
        self._incoming = None
        parser = self._parser
        limits = self.limits
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
        cycle = self._incoming = Cycle(self, scope, keep_alive, expects)
        if b"upgrade" in names and parser.should_upgrade():
            if self._config.ws_protocol_class is not None and is_handshake(method, version, headers):
                check_handshake(headers)
                if self._current is not None:
                    raise BadRequestError("A WebSocket cannot be opened behind another request")
                if self.crowd.full:
                    raise UnavailableError("There are too many WebSockets")
                cycle = self._incoming = Opening(self, scope, limits.message_limit)
                self._websocket = True
            else:
                self._replay = framing_of(names)
        if self._config.limit_concurrency is not None and self._is_full(self._config.limit_concurrency):
            raise UnavailableError
        if self._websocket:
            return
        if self._current is None:
            self._begin(cycle)
        elif len(self._queue) < _QUEUE:
            self._queue.append(cycle)
        else:
            raise UnavailableError("Too many requests are waiting on this connection")

    def on_body(self, body: bytes) -> None:
        """Parser: a piece of the body."""
        cycle = self._incoming
        if cycle is None:
            return
        if cycle.complete:
            cycle.received += len(body)
            self._drained += len(body)
            return
        cycle.feed(body)
        if cycle.buffered > _HIGH_WATER:
            self._pause_reading()

    def on_message_complete(self) -> None:
        """Parser: the request is complete."""
        if self._replay or self._websocket:
            return
        if self._fields:
            check_trailers(self._fields)
        self._phase = BUSY
        self.read_deadline = inf
        cycle = self._incoming
        if cycle is not None:
            self._incoming = None
            cycle.end()
            if self._current is None:
                # Its response was complete before its body.
                self._be_idle()

    def must_close(self, cycle: Cycle) -> bool:
        """Tell whether a response whose head goes out now has to be the last one of the connection."""
        if self._incoming is not cycle:
            return self._stopping
        if self._stopping or cycle.expects:
            # Nobody knows whether a client that waits for 100 Continue will send its body now.
            return True
        for name, value in cycle.scope["headers"]:
            if name == b"content-length":
                return int(value) - cycle.received > _DRAIN
        return False

    def _is_full(self, limit: int) -> bool:
        return len(self.state.connections) >= limit or len(self.state.tasks) >= limit
