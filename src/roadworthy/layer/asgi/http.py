"""One HTTP exchange over ASGI: the adapter between the record and the server's messages.

Theory of operation. The app gets :meth:`Conversation.receive` and :meth:`Conversation.send` in place of the
server's own. The response head is held until the first body message: then the length is known, all items add
their fields at once, and head and body leave together. A head without a length that is not followed by a body
within the same turn of the loop belongs to a stream, and leaves by itself.

An error response (status 400 and above) is held whole, up to 64 KiB, to see whether it is exactly what the
framework answers by default; those are told again in the one error shape. The layer's own verdict
(``exchange.error``) overrides whatever the app says, as long as nothing has been sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from math import inf
from time import perf_counter
from typing import Any

from ...errors import APIError, MethodNotAllowedError, RequestTimeoutError, TimeoutError
from ...exits import is_apps_own
from ...types import Headers, Message, Receive, Scope, Send
from ..compression import OFF_LOOP_SIZE, Coder
from ..exchange import Exchange, Reply, ResponseAborted, current_exchange
from ..frameworks import EXCHANGE_KEY
from ..pipeline import Pass
from ..request_fields import join_fields
from ..routes import RouteKey, RouteRule
from ..tasks import runs_within

__all__ = ("Conversation", "show_client")

_HELD_ERROR_SIZE = 64 << 10
# Time for cancelled work to unwind; after it the answer is sent over its head.
_UNWIND = 1.0
# Names of response fields known to be in lower case.
_REMEMBERED = 512
_PATHSEND = "http.response.pathsend"
# What nginx records for a client that left before its answer; it never goes out.
_CLIENT_CLOSED_REQUEST = 499
_DISCONNECT: Message = {"type": "http.disconnect"}
_NO_BODY: Message = {"type": "http.request", "body": b"", "more_body": False}
_EMPTY: Headers = []
_NO_NAMES: dict[bytes, bytes] = {}


class _Done:
    """An awaitable that is done: what ``send`` returns when there is nothing to wait for."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]


_DONE = _Done()


def show_client(exchange: Exchange, scope: Scope) -> None:
    """Have the app see the client and the scheme that trusted proxies report; its port is not known.

    The keys are those of ASGI, so ``request.client`` and URLs that the app builds follow. uvicorn's
    ``--proxy-headers`` writes port 0, too.
    """
    if exchange.client != exchange.peer:
        scope["client"] = (exchange.client, 0)
    if scope["type"] == "websocket":
        scope["scheme"] = "wss" if exchange.scheme == "https" else "ws"
    else:
        scope["scheme"] = exchange.scheme


class Conversation(Exchange):
    """An exchange that came over ASGI."""

    # What every exchange uses stands in slots; what few use has its default on the class, which saves a store
    # each: half a microsecond in all.
    __slots__ = (
        "__dict__",
        "_discard",  # what the app sends is not wanted any more
        "_held",  # an error body on its way
        "_pass",
        "_receive",
        "_scope",
        "_send",
        "_send_whole",  # the server's way to take a response at once, if it has one
        "_start",  # the held head
        "_task",
        "begun",  # the head was handed to the server
    )
    _discard: bool
    _held: bytearray | None
    _send_whole: Callable[[int, Headers, list[bytes], bytes], bool] | None
    _start: Message | None
    _task: asyncio.Task[Any] | None
    begun: bool

    _asked: bool = False
    """The app has called receive."""
    _budget_end: float = inf
    """Deadline of the whole exchange while the body's own is in force."""
    _closing: asyncio.Future[None] | None = None
    """Set when a stream is told to end."""
    _coder: Coder | None = None
    """Codes the chunks of a stream."""
    _flush: asyncio.Future[None] | None = None
    """The head of a stream that left before its first chunk."""
    _gone: bool = False
    """The client has left."""
    _interrupted: bool = False
    """We have cancelled the app ourselves."""
    _settle: Callable[[int], Awaitable[None]] | None = None
    """What has to be done before the head may leave."""
    _told: bool = False
    """A stream was told that the process closes."""
    _waiting: bool = False
    """Receive is waiting for the client."""
    _watcher: asyncio.Task[None] | None = None
    """Waits for the client to leave."""

    def __init__(self, pass_: Pass, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = perf_counter()
        self._pass = pass_
        self._scope = scope
        self._receive = receive
        self._send = send
        self.method = scope["method"]
        self.path = scope["path"]
        self.root = scope.get("root_path") or ""
        self.query = scope["query_string"]
        self.scheme = scope["scheme"]
        self.http_version = scope["http_version"]
        client = scope.get("client")
        self.peer = client[0] if client else ""
        raw = scope["headers"]
        self.raw_headers = raw
        headers: dict[bytes, bytes] = dict(raw)
        self.repeat = None
        if len(headers) != len(raw):
            headers, self.repeat = join_fields(raw)
        self.headers = headers
        self.client = self.client_key = self.peer
        self.request_id = self.trace_id = self.span_id = ""
        self.lines = self.route = self.rule = self.span = self.user_key = None
        self.error = self.exception = self.rate = self.encoding = None
        # Our own server takes a response whole, and has held the head to the limits if it has them from the
        # same settings. Whoever stands between it and us has a send of its own.
        server = getattr(send, "__self__", None)
        self._send_whole = getattr(server, "send_whole", None)
        self.bounded = getattr(server, "settings", None) is pass_.settings
        self.body_complete = self.close = self.logged = self.streaming = False
        self.body_limit = self.body_received = self.bytes_sent = self.status = 0
        self.deadline = inf
        self.response_headers = _EMPTY
        self.response_names = _NO_NAMES
        self.begun = self.ended = self._discard = False
        self._held = self._start = None

    # -- the whole of it

    async def run(self) -> None:
        """Serve this exchange from the first step to the last record."""
        pass_ = self._pass
        token = current_exchange.set(self)
        try:
            try:
                told = pass_.admit(self)
                if told is not None and not isinstance(told, (Reply, APIError)):
                    told = await told
            except BaseException as exception:
                # The app's own code runs here as well: `user_key`.
                if not is_apps_own(exception, asyncio.current_task()):
                    raise
                self._failed(exception)
                told = self.error
            if told is not None:
                await self._refuse_or_reply(told)
                return
            overload = pass_.overload
            if not overload.enter():
                refused = await overload.wait()
                if refused is not None:
                    await self._refuse_or_reply(refused)
                    return
            scope = self._scope
            scope[EXCHANGE_KEY] = self
            if pass_.behind_proxies:
                show_client(self, scope)
            extensions = scope.get("extensions")
            if extensions and _PATHSEND in extensions:
                # The server would send a file past the layer: no fields of ours, no count of its bytes.
                scope["extensions"] = {key: extensions[key] for key in extensions if key != _PATHSEND}
            # Given the loop, asking for the task costs a third: on 3.11 get_running_loop asks for the pid.
            task = self._task = asyncio.current_task(pass_.loop) or pass_.current_task()
            pass_.live.add(self)
            pass_.deadlines.begin(self)
            if pass_.may_cancel:
                self._watch_if_asked()
            try:
                await pass_.app(scope, self.receive, self.send)
            except Exception as exception:
                self._failed(exception)
            except BaseException as exception:
                if self._interrupted and task is not None and isinstance(exception, asyncio.CancelledError):
                    task.uncancel()
                elif is_apps_own(exception, task):
                    self._failed(exception)
                else:
                    raise
            finally:
                overload.leave()
                pass_.live.discard(self)
                self.route = pass_.framework.route_of(scope) or self.route
                # Scope and exchange hold each other; left so, every request would wait for the collector.
                del scope[EXCHANGE_KEY]
                if pass_.may_cancel and self._watcher is not None:
                    self._watcher.cancel()
            if not self.ended:
                await self._complete()
        finally:
            current_exchange.reset(token)
            pass_.finish(self)

    async def _refuse_or_reply(self, outcome: Reply | APIError) -> None:
        if isinstance(outcome, APIError):
            self.error = outcome
        if self.route is None:
            self.name_route()
        await self._answer(outcome)

    def name_route(self) -> None:
        """Find the route of a request that the app never sees: asked for with a refusal only."""
        try:
            self.route = self._pass.table.name(self)
        except Exception:
            # A converter or a custom route of the app failed on the path; the refusal stands.
            self.route = None

    def known_route(self) -> str | None:
        """Return the template of the route, asking the app's router if the app has not told yet."""
        if self.route is None:
            self.route = self._pass.framework.route_of(self._scope)
            if self.route is None:
                self.name_route()
        return self.route

    # -- the route's rule

    def enter(self, route: RouteKey) -> Callable[[], Awaitable[None]] | None:
        """Note that the app is about to run the handler of ``route``; see :class:`Exchange`."""
        # A middleware may have given the app another scope than the one that is asked at the end.
        self.route = route[0]
        rule = self._pass.table.rule_of(route, "WEBSOCKET" if self.websocket else self.method)
        if rule is self.rule:
            return None
        return partial(self._enter_late, rule)

    async def _enter_late(self, rule: RouteRule | None) -> None:
        refused = await self._overrule(rule)
        if refused is not None:
            raise refused

    async def _overrule(self, rule: RouteRule | None) -> APIError | None:
        budget_end, deadline = self._budget_end, self.deadline
        refused = await self._pass.overrule(self, rule)
        if budget_end != inf and not self.body_complete:
            # The deadline of the body is in force; the new one is that of the whole.
            self._budget_end, self.deadline = self.deadline, min(deadline, self.deadline)
        if self._pass.may_cancel and refused is None and not self.websocket:
            self._watch_if_asked()
        if refused is not None:
            self.error = refused
        return refused

    async def _start_late(self, message: Message, rule: RouteRule | None) -> None:
        await self._overrule(rule)
        self._begin(message)

    def _failed(self, exception: BaseException) -> None:
        if self.ended:
            # A background task: the client has its whole response, and nobody else would hear of it. What the
            # server could not send has made this a 500 already, which has its own record.
            if exception is not self.exception or self.status < 500:
                self.route = self._pass.framework.route_of(self._scope) or self.route
                self.duration = perf_counter() - self.started
                self._pass.logging.failed_late(self, exception)
            return
        if self.exception is None:
            error = self._pass.errors.from_exception(exception)
            if self.error is None:
                self.error = error
            if error.status < 500:
                return
            self.exception = exception

    async def _complete(self) -> None:
        """The app is done and the response is not: answer, end or abort it."""
        if self._flush is not None:
            await self._flush
        if self.ended:
            return
        if self._gone:
            self.status = self.status or _CLIENT_CLOSED_REQUEST
        elif not self.begun:
            if self.error is None:
                self.error = APIError()
                if self.exception is None:
                    self.exception = RuntimeError("the app returned without sending a response")
            await self._answer(self.error, keep=self.response_headers if self._held is not None else _EMPTY)
        elif self._told and self._is_event_stream():
            # An event stream has no end of its own: a clean one makes the client connect again elsewhere.
            self.ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            if self.exception is None and not self._told:
                self.exception = self.error or RuntimeError("the app left its response unfinished")
            raise ResponseAborted

    # -- towards the client

    def send(self, message: Message) -> Awaitable[None]:
        """Take one message of the app (ASGI ``send``)."""
        kind = message["type"]
        if kind == "http.response.start":
            return self._on_start(message)
        if kind != "http.response.body":
            return self._send(message)
        if self._discard or self.ended:
            return _DONE
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
        if more:
            return self._begin_stream(start, body)
        return self._whole(start, body)

    def hold_for(self, settle: Callable[[int], Awaitable[None]]) -> bool:
        """Have ``settle(status)`` awaited before the head leaves: a unit of work that the request keeps open.

        Only a task that serves the request can ask for it, before the app has begun its response; False tells
        others.
        """
        if self.status or not self.is_served_here():
            return False
        self._settle = settle
        return True

    def is_served_here(self) -> bool:
        """Tell whether the running task serves this request: its own, or one that a middleware waits for."""
        return self._task is not None and runs_within(self._task)

    async def _settled(self, start: Message, body: bytes, more: bool) -> None:
        settle, self._settle = self._settle, None
        assert settle is not None
        try:
            await settle(self.status)
        except Exception as error:
            # Frameworks turn a known error that comes out of send into another one.
            self._failed(error)
            raise
        await (self._begin_stream(start, body) if more else self._whole(start, body))

    def _on_start(self, message: Message) -> Awaitable[None]:
        if self.begun or self._start is not None:
            raise RuntimeError("the app began its response twice")
        pass_ = self._pass
        if pass_.ruled and self.route is None and self.error is None and message["status"] != 405:
            # The app has not named its route before, and may do so now: the limit holds all the same.
            route = self.route = pass_.framework.route_of(self._scope)
            if route is not None:
                rule = pass_.table.rule_of_template(route, self.method)
                if rule is not self.rule:
                    return self._start_late(message, rule)
        self._begin(message)
        return _DONE

    def _begin(self, message: Message) -> None:
        self.status = status = message["status"]
        self.response_headers = headers = list(message.get("headers", ()))
        names = dict(headers)
        # ASGI asks for lower case; Django and others do not keep to it. Most do, with names seen before.
        if not _lower.issuperset(names):
            names = _lowered(headers)
        self.response_names = names
        self._start = message
        if self.error is not None:
            self._discard = True
        elif status >= 400:
            self._held = bytearray()
        elif b"content-length" not in names and status not in (204, 304) and self.method != "HEAD":
            asyncio.get_running_loop().call_soon(self._flush_head)

    def _whole(self, start: Message, body: bytes) -> Awaitable[None]:
        pass_ = self._pass
        at_once = self._send_whole
        if at_once is not None:
            self.lines = []
        pass_.respond(self)
        if self.method != "HEAD":
            if pass_.compression is not None:
                pass_.compression.decide_for_length(self, len(body))
                coder = self.encoding
                if isinstance(coder, Coder):
                    if len(body) > OFF_LOOP_SIZE:
                        self._unpack_lines()
                        return self._whole_coded(start, coder, body)
                    body = coder.compress_all(body)
            if b"content-length" not in self.response_names and self.status not in (204, 304):
                self.response_headers.append((b"content-length", b"%d" % len(body)))
        elif pass_.compression is not None:
            pass_.compression.respond(self)
        self.begun = self.ended = True
        self.bytes_sent = len(body)
        lines = self.lines
        if at_once is not None and lines is not None:
            if at_once(self.status, self.response_headers, lines, body):
                return _DONE
            self._unpack_lines()
        return self._send_both(
            {**start, "headers": self.response_headers}, {"type": "http.response.body", "body": body}
        )

    def _unpack_lines(self) -> None:
        """Make fields again of the ready lines: this response goes out as messages after all."""
        for line in b"".join(self.lines or ()).split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            self.response_headers.append((name, value))
        self.lines = None

    async def _send_both(self, start: Message, body: Message) -> None:
        await self._send(start)
        await self._send(body)

    async def _whole_coded(self, start: Message, coder: Coder, body: bytes) -> None:
        self.begun = self.ended = True
        body = await asyncio.get_running_loop().run_in_executor(None, coder.compress_all, body)
        self.bytes_sent = len(body)
        self.response_headers.append((b"content-length", b"%d" % len(body)))
        await self._send({**start, "headers": self.response_headers})
        await self._send({"type": "http.response.body", "body": body})

    def _head_of_stream(self, start: Message) -> Message:
        self._pass.respond(self)
        if self._pass.compression is not None:
            self._pass.compression.respond(self)
        coder = self.encoding
        self._coder = coder if isinstance(coder, Coder) else None
        self.begun = True
        if self._coder is not None or b"content-length" not in self.response_names:
            self.streaming = True
            self._pass.deadlines.stream(self)
        return {**start, "headers": self.response_headers}

    async def _begin_stream(self, start: Message, body: bytes) -> None:
        await self._send(self._head_of_stream(start))
        if body:
            await self._chunk(body, True)

    def _flush_head(self) -> None:
        start = self._start
        if start is None or self._discard or self._held is not None or self._settle is not None:
            return
        self._start = None
        head = self._send(self._head_of_stream(start))
        self._flush = asyncio.ensure_future(head)

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
        if self.streaming:
            self._pass.deadlines.stream(self)
        self.ended = not more
        self.bytes_sent += len(body)
        return self._send({"type": "http.response.body", "body": body, "more_body": more})

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
                self.error = error
                self._discard = True
                return _DONE
        self._held = self._start = None
        if self._settle is not None:
            return self._settled(start, bytes(held), more)
        if more:
            return self._begin_stream(start, bytes(held))
        return self._whole(start, bytes(held))

    def _recognised(self, body: bytes) -> APIError | None:
        pass_ = self._pass
        media_type = self.response_names.get(b"content-type", b"").decode("latin-1")
        error = pass_.framework.problem_of(self.status, media_type, body, self._scope)
        if error is None or pass_.settings.error_format == "app":
            return None
        if self.status == 500 and self.exception is not None:
            # The framework answered for an exception that we know more of: a pool without a connection is
            # 503.
            error = pass_.errors.from_exception(self.exception)
        if isinstance(error, MethodNotAllowedError):
            allowed = pass_.table.allowed(self)
            if allowed:
                self.response_headers = [
                    pair for pair in self.response_headers if pair[0].lower() != b"allow"
                ]
                error.headers["Allow"] = allowed
        return error

    async def _answer(self, outcome: Reply | APIError, keep: Headers = _EMPTY) -> None:
        """Send a whole answer of the layer's own; ``keep`` are fields of the app's that still hold."""
        reply = outcome if isinstance(outcome, Reply) else self._pass.errors.encode(self, outcome)
        self._discard = False
        self._start = self._held = None
        self.status = reply.status
        kept = [pair for pair in keep if not pair[0].lower().startswith(b"content-")]
        self.response_headers = [*reply.headers, *kept]
        self.response_names = {name.lower(): value for name, value in self.response_headers}
        body = b"" if self.method == "HEAD" else reply.body
        await self._whole({"type": "http.response.start", "status": reply.status}, body)

    def _is_event_stream(self) -> bool:
        return self.response_names.get(b"content-type", b"").startswith(b"text/event-stream")

    # -- from the client

    async def receive(self) -> Message:
        """Give the app its next message (ASGI ``receive``)."""
        if self.body_complete and (self._asked or self._watcher is not None):
            if not self._asked:
                self._asked = True
                return _NO_BODY
            return await self._until_gone()
        self._asked = True
        if self._pass.validation.wants_whole(self):
            return await self._whole_body()
        return await self._next_message()

    async def _next_message(self) -> Message:
        if not self._waiting and self._budget_end == inf:
            self._budget_end = self.deadline
            self.deadline = min(self.deadline, perf_counter() + (self._pass.settings.body_timeout or inf))
        self._waiting = True
        message = await self._receive()
        self._waiting = False
        if message["type"] != "http.request":
            # Within its body. An app that returns then, or raises, has not failed.
            self._gone = not self.ended
            return message
        refused = self._pass.validation.count(self, len(message.get("body", b"")))
        if refused is not None:
            self._refuse(refused)
        if not message.get("more_body", False):
            self.body_complete = True
            self.deadline = self._budget_end
            if self._pass.may_cancel:
                self._watch_if_asked()
        return message

    async def _whole_body(self) -> Message:
        parts: list[bytes] = []
        while True:
            message = await self._next_message()
            if message["type"] != "http.request":
                return message
            parts.append(message.get("body", b""))
            if self.body_complete:
                break
        body = b"".join(parts)
        refused = self._pass.validation.judge(self, body)
        if refused is not None:
            self._refuse(refused)
        return {"type": "http.request", "body": body, "more_body": False}

    def _refuse(self, error: APIError) -> None:
        self.error = error
        # Django reads the body before it asks for the route.
        self.known_route()
        self.body_complete = True
        raise error

    async def _until_gone(self) -> Message:
        if self._told:
            return _DISCONNECT
        loop = asyncio.get_running_loop()
        self._closing = closing = loop.create_future()
        if self._watcher is not None:
            gone: asyncio.Future[Any] = asyncio.shield(self._watcher)
        else:
            gone = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait((gone, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        return _DISCONNECT

    async def wait_for_drain(self) -> None:
        """Return when the process begins to drain."""
        await self._pass.shutdown.wait_for_drain()

    # -- interruptions

    def _watch_if_asked(self) -> None:
        wanted = self._pass.settings.cancel_on_disconnect
        if self.rule is not None and self.rule.cancel_on_disconnect is not None:
            wanted = self.rule.cancel_on_disconnect
        if wanted and self.body_complete and self._watcher is None:
            self._watcher = asyncio.ensure_future(self._watch())

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _watch(self) -> None:
        await self._left()
        # Servers say so too when the response is complete; what runs on after it (a background task) may.
        if not self.ended:
            self._gone = True
            self._interrupt()

    def _interrupt(self) -> None:
        if not self._interrupted and self._task is not None:
            self._interrupted = True
            self._task.cancel()

    def expire(self) -> None:
        """End the exchange because its deadline has passed; what runs after the response has none."""
        if self.ended:
            self.deadline = inf
            return
        if not self._interrupted:
            self.deadline = perf_counter() + _UNWIND
            self._pass.deadlines.exceeded += 1
            self.known_route()
            if not self.begun and self.error is None:
                self.close = self._waiting
                self.error = RequestTimeoutError() if self._waiting else TimeoutError()
            self._interrupt()
            return
        self.deadline = inf
        if not self.begun and self.error is not None:
            # The work does not let itself be cancelled (a thread, a swallowed cancellation): answer without
            # it.
            self._flush = asyncio.ensure_future(self._answer(self.error))
            self._discard = True

    def tell_closing(self) -> None:
        """Tell a stream that the process closes: its ``receive`` says the client is gone."""
        if self.streaming and not self.ended:
            self._told = True
            if self._closing is not None and not self._closing.done():
                self._closing.set_result(None)

    def describe(self) -> str:
        """Return what is asked for, in two words."""
        return f"{self.method} {self.path}"

    def cut(self) -> None:
        """End a stream that did not end by itself; an event stream gets a clean end, others are aborted."""
        if self.streaming and not self.ended:
            self._told = True
            self._interrupt()


_lower: set[bytes] = set()


def _lowered(headers: Headers) -> dict[bytes, bytes]:
    names: dict[bytes, bytes] = {}
    for name, value in headers:
        lower = name.lower()
        names[lower] = value
        if lower == name and len(_lower) < _REMEMBERED:
            _lower.add(lower)
    return names
