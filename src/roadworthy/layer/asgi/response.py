"""The way of a response from the app to the server: held until all is known of its head, then sent.

The response head is held until the first body message: then the length is known, all items add their fields
at once, and head and body leave together. The head of a stream whose first piece is late leaves by
itself after a tenth of a second.

An error response (status 400 and above) is held whole, up to 64 KiB, to see whether it is exactly what the
framework answers by default; those are encoded again in the one error shape. The layer's own verdict
(``exchange.error``) overrides the app's response, as long as nothing has been sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias

from ...errors import APIError, MethodNotAllowedError
from ...types import Headers, Message, Scope, Send
from ..compression import OFF_LOOP_SIZE, Coder
from ..exchange import Exchange, InvalidResponseError, Reply
from ..pipeline import Pass
from ..routes import RouteRule

__all__ = ("Answering", "SendWhole")

_HELD_ERROR_SIZE = 64 << 10
_FIRST_PIECE = 0.1
"""Seconds for which the head of a stream waits for its first piece. What fails at its start (a query, a
missing file) fails within; a client that waits for the head alone does not notice."""
# Names of response fields known to be in lower case.
_REMEMBERED = 512
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field's name (RFC 9110 §5.6.2)."""
_BREAKS = re.compile(rb"[\r\n\0]")
"""What no value may hold (RFC 9110 §5.5)."""

SendWhole: TypeAlias = Callable[[int, Headers, list[bytes], bytes], bool]
"""Sends a status, fields, encoded lines and a body at once; False where it takes messages after all."""


class _Done:
    """An awaitable that is done: what ``send`` returns when there is nothing to wait for."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]


_DONE = _Done()


class Answering:
    """The half of a conversation that goes to the client.

    It takes the app's response message by message, or an answer of the layer's own, and sends it.
    """

    # What every response uses stands in slots, set by the conversation; what few use has its default on the
    # class, which saves a store each: half a microsecond in all.
    __slots__ = (
        "__dict__",
        "_discard",  # what the app sends is not wanted any more
        "_held",  # an error body on its way
        "_pass",
        "_scope",
        "_send",
        "_send_whole",  # the server's way to take a response at once, None where it has none
        "_settle",  # what has to be done before the head may leave
        "_start",  # the held head
        "exchange",
    )
    exchange: Exchange
    _pass: Pass
    _scope: Scope
    _send: Send
    _discard: bool
    _held: bytearray | None
    _send_whole: SendWhole | None
    _settle: Callable[[int], Awaitable[None]] | None
    _start: Message | None

    _coder: Coder | None = None
    """Codes the chunks of a stream."""
    _timer: asyncio.TimerHandle | None = None
    """Sends the head of a stream whose first piece is late."""
    _flush: asyncio.Future[None] | None = None
    """The head of a stream that left before its first chunk, or an answer over the app's head."""

    def send(self, message: Message) -> Awaitable[None]:
        """Take one message of the app (ASGI ``send``)."""
        kind = message["type"]
        if kind == "http.response.start":
            return self._on_start(message)
        if kind != "http.response.body":
            return self._extension(message)
        if self._discard:
            return _DONE
        if self.exchange.ended:
            # The server raises, so that the app's mistake is found.
            return self._send(message)
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if self._held is not None:
            return self._hold(body, more)
        start = self._start
        if start is None:
            if self._flush is not None:
                return self._after_flush(body, more)
            return self._chunk(body, more)
        self._start = None
        if self._settle is not None:
            return self._settled(start, body, more)
        if more or start.get("trailers"):
            return self._begin_stream(start, body, more)
        return self._whole(start, body)

    def _extension(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.trailers":
            if self._discard:
                return _DONE
            if self._start is not None or self._flush is not None:
                return self._after_head(message)
        return self._send(message)

    async def _after_head(self, message: Message) -> None:
        """Send a message that wants the head on its way."""
        self._flush_head()
        await self.flushed()
        await self._send(message)

    async def answer(self, outcome: Reply | APIError, *, keep: bool = False) -> None:
        """Send a whole answer of the layer's own.

        Parameters:
            outcome: the answer, or the error that it reports.
            keep: the fields of the app's response that is held still hold, those of its content aside.
        """
        exchange = self.exchange
        kept: Headers = []
        if keep and self._held is not None:
            kept = [pair for pair in exchange.response_headers if not pair[0].lower().startswith(b"content-")]
        if isinstance(outcome, APIError) and not _sendable(outcome):
            exchange.exception = InvalidResponseError("a field of an error has an invalid name or value")
            exchange.error = outcome = APIError()
        reply = outcome if isinstance(outcome, Reply) else self._pass.errors.encode(exchange, outcome)
        self._discard = True
        self._start = self._held = self._settle = None
        exchange.status = reply.status
        exchange.response_headers = [*reply.headers, *kept]
        exchange.response_names = {name.lower(): value for name, value in exchange.response_headers}
        body = b"" if exchange.method == "HEAD" else reply.body
        await self._whole({"type": "http.response.start", "status": reply.status}, body)

    def answer_over(self, error: APIError) -> None:
        """Answer while the app goes on; what it sends is dropped."""
        self._flush = asyncio.ensure_future(self.answer(error))
        self._discard = True

    async def flushed(self) -> None:
        """Wait until what was begun beside the app has been sent."""
        if self._flush is not None:
            await self._flush

    async def end(self) -> None:
        """End a stream as if it were complete."""
        self.exchange.ended = self._discard = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    # -- the head

    def _on_start(self, message: Message) -> Awaitable[None]:
        exchange = self.exchange
        if exchange.begun or self._start is not None:
            raise RuntimeError("the app began its response twice")
        pass_ = self._pass
        if pass_.ruled and exchange.route is None and exchange.error is None and message["status"] != 405:
            # The app has not named its route before, and may do so now: the limit holds all the same.
            route = exchange.route = pass_.framework.route_of(self._scope)
            if route is not None:
                rule = pass_.table.rule_of_template(route, exchange.method)
                if rule is not exchange.rule:
                    return self._start_late(message, rule)
        status = message["status"]
        if not 200 <= status <= 599 and pass_.strict:
            raise InvalidResponseError(f"{status!r} is not the status of a final response, 200 to 599")
        exchange.status = status
        exchange.response_headers = headers = list(message.get("headers", ()))
        names = dict(headers)
        # ASGI asks for lower case; Django and others do not keep to it. Most do, with names seen before.
        if not _lower.issuperset(names):
            names = _lowered(headers)
        if self._send_whole is None and _BREAKS.search(b"".join(names.values())):
            # Our own server looks by itself; others find it when they can send nothing else any more.
            raise InvalidResponseError("a response field has a line break or a NUL in its value")
        exchange.response_names = names
        self._start = message
        if exchange.error is not None:
            self._discard = True
        elif status >= 400 and not message.get("trailers"):
            self._held = bytearray()
            if pass_.tracing.follows:
                # By the time the rest is known, the framework's span has ended.
                pass_.tracing.respond(exchange)
        elif b"content-length" not in names and status not in (204, 304) and exchange.method != "HEAD":
            if pass_.settings.error_format == "framework":
                # What fails at the start of a stream is left to the framework as well.
                self._flush_head()
            else:
                self._timer = asyncio.get_running_loop().call_later(_FIRST_PIECE, self._flush_head)
        return _DONE

    async def _start_late(self, message: Message, rule: RouteRule | None) -> None:
        carrier = self.exchange.carrier
        if carrier is not None:
            await carrier.overrule(rule)
        if not self._discard:
            # The route is known now, so this time it begins. It may have been answered over meanwhile.
            await self._on_start(message)

    async def _settled(self, start: Message, body: bytes, more: bool) -> None:
        settle, self._settle = self._settle, None
        assert settle is not None
        await settle(self.exchange.status)
        if more or start.get("trailers"):
            await self._begin_stream(start, body, more)
        else:
            await self._whole(start, body)

    # -- a response that is there as a whole

    def _whole(self, start: Message, body: bytes) -> Awaitable[None]:
        pass_, exchange = self._pass, self.exchange
        at_once = self._send_whole
        if at_once is not None:
            exchange.lines = []
        elif self._has_another_length(len(body)):
            raise InvalidResponseError("the response's body does not have the length of its Content-Length")
        pass_.respond(exchange)
        if exchange.method != "HEAD":
            if pass_.compression is not None:
                pass_.compression.decide_for_length(exchange, len(body))
                coder = exchange.encoding
                if isinstance(coder, Coder):
                    if len(body) > OFF_LOOP_SIZE:
                        self._unpack_lines()
                        return self._whole_coded(start, coder, body)
                    body = coder.compress_all(body)
            if b"content-length" not in exchange.response_names and exchange.status not in (204, 304):
                exchange.add(((b"content-length", b"%d" % len(body)),))
        elif pass_.compression is not None:
            pass_.compression.respond(exchange)
        exchange.begun = exchange.ended = True
        exchange.bytes_sent = len(body)
        lines = exchange.lines
        if at_once is not None and lines is not None:
            try:
                if at_once(exchange.status, exchange.response_headers, lines, body):
                    return _DONE
            except InvalidResponseError:
                self._not_begun()
                raise
            self._unpack_lines()
        return self._send_both(
            {**start, "headers": exchange.response_headers}, {"type": "http.response.body", "body": body}
        )

    def _has_another_length(self, length: int) -> bool:
        exchange = self.exchange
        given = exchange.response_names.get(b"content-length")
        bodiless = exchange.method == "HEAD" or exchange.status in (204, 304)
        return given is not None and not bodiless and given.strip() != b"%d" % length

    def _unpack_lines(self) -> None:
        """Make fields again of the ready lines: this response goes out as messages after all."""
        exchange = self.exchange
        lines, exchange.lines = exchange.lines, None
        for line in b"".join(lines or ()).split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            exchange.add(((name, value),))

    async def _send_both(self, start: Message, body: Message) -> None:
        await self._send_head(start)
        await self._send(body)

    async def _send_head(self, start: Message) -> None:
        try:
            await self._send(start)
        except InvalidResponseError:
            self._not_begun()
            raise

    def _not_begun(self) -> None:
        """Take back that the response has begun: the server has refused its head, and another one may go."""
        exchange = self.exchange
        exchange.begun = exchange.ended = exchange.streaming = False
        exchange.bytes_sent = 0

    async def _whole_coded(self, start: Message, coder: Coder, body: bytes) -> None:
        exchange = self.exchange
        exchange.begun = exchange.ended = True
        body = await asyncio.get_running_loop().run_in_executor(None, coder.compress_all, body)
        exchange.bytes_sent = len(body)
        exchange.add(((b"content-length", b"%d" % len(body)),))
        await self._send_both(
            {**start, "headers": exchange.response_headers}, {"type": "http.response.body", "body": body}
        )

    # -- a stream

    def _head_of_stream(self, start: Message) -> Message:
        pass_, exchange = self._pass, self.exchange
        pass_.respond(exchange)
        if pass_.compression is not None:
            pass_.compression.respond(exchange)
        coder = exchange.encoding
        self._coder = coder if isinstance(coder, Coder) else None
        exchange.begun = True
        if self._coder is not None or b"content-length" not in exchange.response_names:
            exchange.streaming = True
            pass_.deadlines.stream(exchange)
        return {**start, "headers": exchange.response_headers}

    async def _begin_stream(self, start: Message, body: bytes, more: bool = True) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._send_head(self._head_of_stream(start))
        await self._chunk(body, more)

    def _flush_head(self) -> None:
        start = self._start
        if start is None or self._discard or self._held is not None or self._settle is not None:
            return
        self._start = None
        self._flush = asyncio.ensure_future(self._send_early(start))

    async def _send_early(self, start: Message) -> None:
        await self._send_head(self._head_of_stream(start))
        if self._send_whole is not None:
            # Our server sends a head with the first piece.
            await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    async def _after_flush(self, body: bytes, more: bool) -> None:
        if self._flush is not None:
            await self._flush
            self._flush = None
        await self._chunk(body, more)

    def _chunk(self, body: bytes, more: bool) -> Awaitable[None]:
        if self._coder is not None:
            if len(body) > OFF_LOOP_SIZE:
                return self._large_chunk(self._coder, body, more)
            body = self._coder.chunk(body) if more else self._coder.end(body)
        return self._send_chunk(body, more)

    async def _large_chunk(self, coder: Coder, body: bytes, more: bool) -> None:
        code = coder.chunk if more else coder.end
        body = await asyncio.get_running_loop().run_in_executor(None, code, body)
        await self._send_chunk(body, more)

    def _send_chunk(self, body: bytes, more: bool) -> Awaitable[None]:
        exchange = self.exchange
        if exchange.streaming:
            self._pass.deadlines.stream(exchange)
        exchange.ended = not more
        exchange.bytes_sent += len(body)
        return self._send({"type": "http.response.body", "body": body, "more_body": more})

    # -- an error

    def _hold(self, body: bytes, more: bool) -> Awaitable[None]:
        held = self._held
        start = self._start
        assert held is not None
        assert start is not None
        held += body
        if more and len(held) <= _HELD_ERROR_SIZE:
            return _DONE
        if not more:
            error = self._recognised(bytes(held))
            if error is not None:
                # Answered when the app is done: the exception behind a 500 comes after its response.
                self.exchange.error = error
                self._discard = True
                return _DONE
        self._held = self._start = None
        if self._settle is not None:
            return self._settled(start, bytes(held), more)
        if more:
            return self._begin_stream(start, bytes(held))
        return self._whole(start, bytes(held))

    def _recognised(self, body: bytes) -> APIError | None:
        pass_, exchange = self._pass, self.exchange
        if pass_.settings.error_format in ("app", "framework"):
            return None
        media_type = exchange.response_names.get(b"content-type", b"").decode("latin-1")
        error = pass_.framework.problem_of(exchange.status, media_type, body, self._scope)
        if error is None:
            return None
        if exchange.status == 500 and exchange.exception is not None:
            # The framework answered for an exception that we know more of: a pool without a connection is
            # 503.
            error = pass_.errors.from_exception(exchange.exception, exchange.method)
        if isinstance(error, MethodNotAllowedError):
            allowed = pass_.table.allowed(exchange)
            if allowed:
                exchange.response_headers = [
                    pair for pair in exchange.response_headers if pair[0].lower() != b"allow"
                ]
                error.headers["Allow"] = allowed
        return error


def _sendable(error: APIError) -> bool:
    try:
        return all(
            _TOKEN.fullmatch(name.encode("latin-1")) and not _BREAKS.search(value.encode("latin-1"))
            for name, value in error.headers.items()
        )
    except (AttributeError, UnicodeEncodeError):
        return False


_lower: set[bytes] = set()


def _lowered(headers: Headers) -> dict[bytes, bytes]:
    names: dict[bytes, bytes] = {}
    for name, value in headers:
        lower = name.lower()
        names[lower] = value
        if not _TOKEN.fullmatch(name):
            raise InvalidResponseError("a response field has an invalid name")
        if lower == name and len(_lower) < _REMEMBERED:
            _lower.add(lower)
    return names
