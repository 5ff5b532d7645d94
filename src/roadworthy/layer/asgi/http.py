"""One HTTP exchange over ASGI: what carries it between the server and the app.

Theory of operation. The app gets :meth:`Conversation.receive` and the ``send`` of a :class:`Answering`
in place of the server's own. What items know of the request and its response stands in the exchange. What is
needed to carry it stands here: which task serves it, how far its body is read, whether the client is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf
from time import perf_counter
from typing import Any

from ...errors import APIError
from ...exits import is_apps_own
from ...types import Message, Receive, Scope, Send
from ..exchange import Exchange, Reply, ResponseAborted, current_exchange
from ..frameworks import EXCHANGE_KEY
from ..pipeline import Pass
from ..routes import RouteRule
from ..tasks import runs_within, was_cancelled_within
from .departures import CLIENT_CLOSED_REQUEST, is_departure
from .response import Answering
from .scope import show_client
from .served_request import ServedRequest
from .testing_clients import raises_to

__all__ = ("Conversation",)

# Time for cancelled work to unwind; after it the answer is sent without waiting for it.
_UNWIND = 1.0
_log = logging.getLogger("roadworthy.layer")
_PATHSEND = "http.response.pathsend"
_DISCONNECT: Message = {"type": "http.disconnect"}
_NO_BODY: Message = {"type": "http.request", "body": b"", "more_body": False}


class Conversation(Answering):
    """Carries one exchange between a server and the app."""

    __slots__ = ("_receive", "_task")
    _task: asyncio.Task[Any] | None

    _server: ServedRequest | None = None
    """Our own server, where it is the one that calls the layer."""
    _asked: bool = False
    """The app has called receive."""
    _budget_end: float = inf
    """Deadline of the whole exchange while the body's own is in force."""
    _closing: asyncio.Future[None] | None = None
    """Set when a stream is asked to end."""
    _reading_since: float = 0.0
    """When the app began to read the body."""
    _raised: BaseException | None = None
    """What came out of the app, where a test client is to get it."""
    _departure: asyncio.Task[Message] | None = None
    """Waits for the client to leave since the app has asked whether it has."""
    _gone: bool = False
    """The client has left before its response was complete, and the app knows."""
    _interrupted: bool = False
    """We have cancelled the app ourselves."""
    _ending: bool = False
    """The stream was asked to end, because the process closes."""
    _waiting: bool = False
    """Receive is waiting for the client."""
    _watcher: asyncio.Task[None] | None = None
    """Waits for the client to leave."""

    # -- the whole of it

    async def run(
        self,
        pass_: Pass,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
        server: ServedRequest | None = None,
    ) -> None:
        """Serve an exchange from the first step to the last record.

        There is no ``__init__``: up to CPython 3.12 a call of one costs as much as ten stores.

        Parameters:
            pass_: the items.
            exchange: the exchange, of which the request half is known.
            scope: what the app is called with.
            receive: the server's ASGI ``receive``.
            send: the server's ASGI ``send``.
            server: our own server, where it is the one that calls the layer.
        """
        self.exchange = exchange
        exchange.service = pass_
        exchange.carrier = self
        self._pass = pass_
        self._scope = scope
        self._receive = receive
        self._send = send
        self._discard = False
        self._held = self._settle = self._start = self._task = self._send_whole = None
        if server is not None:
            self._server = server
            self._send_whole = server.send_whole
            exchange.bounded = server.settings is pass_.settings
        token = current_exchange.set(exchange)
        try:
            try:
                outcome = pass_.admit(exchange)
                if outcome is not None and not isinstance(outcome, (Reply, APIError)):
                    outcome = await outcome
            except BaseException as exception:
                # The app's own code runs here as well: `user_key`.
                if not is_apps_own(exception, asyncio.current_task()):
                    raise
                self._failed(exception)
                outcome = exchange.error
            if outcome is not None:
                await self._refuse_or_reply(outcome)
                return
            overload = pass_.overload
            if not overload.enter():
                refused = await overload.wait()
                if refused is not None:
                    await self._refuse_or_reply(refused)
                    return
            scope[EXCHANGE_KEY] = exchange
            if pass_.behind_proxies:
                show_client(exchange, scope)
            extensions = scope.get("extensions")
            if extensions and _PATHSEND in extensions:
                # The server would send a file past the layer: no fields of ours, no count of its bytes.
                scope["extensions"] = {key: extensions[key] for key in extensions if key != _PATHSEND}
            # Given the loop, asking for the task costs a third: on 3.11 get_running_loop asks for the pid.
            task = self._task = asyncio.current_task(pass_.loop) or pass_.current_task()
            pass_.live.add(self)
            pass_.deadlines.begin(exchange)
            if exchange.rule is not None:
                self._apply_to_server(exchange.rule)
            if pass_.may_cancel:
                self._watch_if_asked()
            try:
                await pass_.app(scope, self.receive, self.send)
            except Exception as exception:
                self._came_out(exception)
            except BaseException as exception:
                if self._interrupted and task is not None and isinstance(exception, asyncio.CancelledError):
                    task.uncancel()
                elif is_apps_own(exception, task) or self._cancels_itself(exception):
                    self._came_out(exception)
                else:
                    raise
            finally:
                overload.leave()
                pass_.live.discard(self)
                exchange.route = pass_.framework.route_of(scope) or exchange.route
                # What the app keeps of its scope is not to keep the exchange.
                scope.pop(EXCHANGE_KEY, None)
                if pass_.may_cancel and self._watcher is not None:
                    self._watcher.cancel()
                if self._departure is not None:
                    self._departure.cancel()
            if not exchange.ended:
                await self._complete()
            if self._raised is not None:
                raise self._raised
        finally:
            current_exchange.reset(token)
            # The two hold each other; left so, every request would wait for the collector.
            exchange.carrier = None
            pass_.finish(exchange)

    def _cancels_itself(self, exception: BaseException) -> bool:
        return self._pass.shutdown.state != "closing" and was_cancelled_within(exception, self._task)

    async def _refuse_or_reply(self, outcome: Reply | APIError) -> None:
        exchange = self.exchange
        if isinstance(outcome, APIError):
            exchange.error = outcome
        if exchange.route is None:
            exchange.route = self._pass.name_route(exchange)
        self._pass.tracing.refused(exchange)
        await self.answer(outcome)

    def _came_out(self, exception: BaseException) -> None:
        self._failed(exception)
        pass_ = self._pass
        if (
            raises_to(pass_, self._receive)
            and pass_.errors.from_exception(exception, self.exchange.method).status >= 500
        ):
            self._raised = exception

    def _failed(self, exception: BaseException) -> None:
        pass_, exchange = self._pass, self.exchange
        if exchange.ended:
            # A background task: the client has its whole response, and nothing else would report it. What the
            # server could not send has made this a 500 already, which has its own record.
            if exception is not exchange.exception or exchange.status < 500:
                exchange.route = self.named_route() or exchange.route
                exchange.duration = perf_counter() - exchange.started
                pass_.logging.failed_late(exchange, exception)
            return
        if self._gone or is_departure(exception):
            # What an app raises because its client has left is no failure, and nobody waits for an answer.
            self._gone = True
            _log.debug("after its client had left, the app raised %s", type(exception).__name__)
            return
        if exchange.exception is None:
            error = pass_.errors.from_exception(exception, exchange.method)
            if exchange.error is None:
                exchange.error = error
            if error.status < 500:
                return
            exchange.exception = exception

    async def _complete(self) -> None:
        """The app is done and the response is not: answer, end or abort it."""
        exchange = self.exchange
        await self.flushed()
        if exchange.ended:
            return
        if self._gone:
            exchange.status = CLIENT_CLOSED_REQUEST
        elif not exchange.begun:
            if exchange.error is None:
                exchange.error = APIError()
                if exchange.exception is None:
                    exchange.exception = RuntimeError("the app returned without sending a response")
                    if raises_to(self._pass, self._receive):
                        # The client reports it, as it does without the layer.
                        exchange.status = exchange.error.status
                        return
            if self._raised is not None and self._pass.settings.error_format == "framework":
                exchange.status = exchange.error.status
                return
            await self.answer(exchange.error, keep=True)
        elif self._ending and _is_event_stream(exchange):
            # An event stream has no end of its own: a clean one makes the client connect again elsewhere.
            await self.end()
        else:
            if exchange.exception is None and not self._ending:
                exchange.exception = exchange.error or RuntimeError("the app left its response unfinished")
            raise self._raised or ResponseAborted

    # -- what the exchange asks

    def named_route(self) -> str | None:
        """Return the template of the route that the app has named."""
        return self._pass.framework.route_of(self._scope)

    async def overrule(self, rule: RouteRule | None) -> APIError | None:
        """Put the request under another rule; return the refusal if the rule refuses it."""
        exchange = self.exchange
        budget_end, deadline = self._budget_end, exchange.deadline
        refused = await self._pass.overrule(exchange, rule)
        if budget_end != inf and not exchange.body_complete:
            # The deadline of the body is in force; the new one is that of the whole.
            self._budget_end, exchange.deadline = exchange.deadline, min(deadline, exchange.deadline)
        if refused is not None:
            exchange.error = refused
            return refused
        if rule is not None:
            self._apply_to_server(rule)
        if self._pass.may_cancel:
            self._watch_if_asked()
        return None

    def _apply_to_server(self, rule: RouteRule) -> None:
        if self._server is not None and rule.body_timeout is not None:
            self._server.body_timeout = float(rule.body_timeout) or inf

    def hold_for(self, settle: Callable[[int], Awaitable[None]]) -> bool:
        """Have ``settle`` awaited before the head leaves; see :meth:`Exchange.hold_for`."""
        if self.exchange.status or not self.is_served_here():
            return False

        async def noting_failures(status: int) -> None:
            try:
                await settle(status)
            except Exception as error:
                # Frameworks turn a known error that comes out of send into another one.
                self._failed(error)
                raise

        self._settle = noting_failures
        return True

    def is_served_here(self) -> bool:
        """Return whether the running task serves this request; see :meth:`Exchange.is_served_here`."""
        return self._task is not None and runs_within(self._task)

    # -- from the client

    async def receive(self) -> Message:
        """Give the app its next message (ASGI ``receive``)."""
        exchange = self.exchange
        if exchange.body_complete and (self._asked or self._watcher is not None):
            if not self._asked:
                self._asked = True
                return _NO_BODY
            return await self._until_gone()
        self._asked = True
        if self._pass.validation.wants_whole(exchange):
            return await self._whole_body()
        return await self._next_message()

    async def _next_message(self) -> Message:
        exchange = self.exchange
        if not self._waiting:
            if self._budget_end == inf:
                self._budget_end = exchange.deadline
                self._reading_since = perf_counter()
            exchange.deadline = min(
                self._budget_end, self._pass.deadlines.body(exchange, self._reading_since)
            )
        self._waiting = True
        message = await self._receive()
        self._waiting = False
        if message["type"] != "http.request":
            # Within its body. An app that returns then, or raises, has not failed.
            self._gone = not exchange.ended
            return message
        refused = self._pass.validation.count(exchange, len(message.get("body", b"")))
        if refused is not None:
            self._refuse(refused)
        if not message.get("more_body", False):
            exchange.body_complete = True
            exchange.deadline = self._budget_end
            if self._pass.may_cancel:
                self._watch_if_asked()
        else:
            # Its head may have announced none: httpx's ASGITransport streams without a word of it.
            exchange.body_complete = False
        return message

    async def _whole_body(self) -> Message:
        parts: list[bytes] = []
        while True:
            message = await self._next_message()
            if message["type"] != "http.request":
                return message
            parts.append(message.get("body", b""))
            if self.exchange.body_complete:
                break
        body = b"".join(parts)
        refused = self._pass.validation.judge(self.exchange, body)
        if refused is not None:
            self._refuse(refused)
        return {"type": "http.request", "body": body, "more_body": False}

    def _refuse(self, error: APIError) -> None:
        exchange = self.exchange
        exchange.error = error
        # Django reads the body before it asks for the route.
        exchange.known_route()
        exchange.body_complete = True
        raise error

    async def _until_gone(self) -> Message:
        if self._ending or self.exchange.ended:
            # A server that has sent the whole response reports this (ASGI, "http.disconnect").
            return _DISCONNECT
        # One task for all that the app asks: whether its client has left is answered at once, for who only
        # looks gives up at the first suspension (`Request.is_disconnected` of Starlette).
        departure = self._watcher or self._departure
        if departure is None:
            departure = self._departure = asyncio.ensure_future(self._receive())
        if not departure.done():
            self._closing = closing = asyncio.get_running_loop().create_future()
            await asyncio.wait((departure, closing), return_when=asyncio.FIRST_COMPLETED)
        if departure.cancelled():
            # The exchange is over, and what still asks is nobody's.
            raise asyncio.CancelledError
        if departure.done() and not self._ending:
            message = departure.result()
            if message is not None and message["type"] != "http.disconnect":
                # Nothing that a server sends; the app says what it makes of it.
                self._departure = None
                return message
            # Servers report it too when the response is complete.
            self._gone = not self.exchange.ended
        return _DISCONNECT

    # -- interruptions

    def _watch_if_asked(self) -> None:
        exchange = self.exchange
        wanted = self._pass.settings.cancel_on_disconnect
        if exchange.rule is not None and exchange.rule.cancel_on_disconnect is not None:
            wanted = exchange.rule.cancel_on_disconnect
        if wanted and exchange.body_complete and self._watcher is None:
            self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        # Servers report it too when the response is complete; what runs on after it (a background task) may.
        if not self.exchange.ended:
            self._gone = True
            self._interrupt()

    def _interrupt(self) -> None:
        if not self._interrupted and self._task is not None:
            self._interrupted = True
            self._task.cancel()

    def expire(self) -> None:
        """End the exchange because its deadline has passed; what runs after the response has none."""
        exchange = self.exchange
        if exchange.ended:
            exchange.deadline = inf
            return
        if not self._interrupted:
            self._pass.deadlines.exceeded += 1
            exchange.known_route()
            if not exchange.begun and exchange.error is None:
                exchange.close = self._waiting
                exchange.error = self._pass.deadlines.verdict(exchange, in_body=self._waiting)
            elif exchange.begun and exchange.exception is None:
                exchange.exception = self._pass.deadlines.exceeded_by(exchange)
            exchange.deadline = perf_counter() + _UNWIND
            self._interrupt()
            return
        exchange.deadline = inf
        if not exchange.begun and exchange.error is not None:
            # The work does not let itself be cancelled (a thread, a swallowed cancellation): answer without
            # it.
            self.answer_over(exchange.error)

    def ask_to_end(self) -> None:
        """Ask a stream to end: its ``receive`` reports that the client has left."""
        exchange = self.exchange
        if exchange.streaming and not exchange.ended:
            self._ending = True
            if self._closing is not None and not self._closing.done():
                self._closing.set_result(None)

    def cut(self) -> None:
        """End a stream that did not end by itself; an event stream gets a clean end, others are aborted."""
        if self.exchange.streaming and not self.exchange.ended:
            self._ending = True
            self._interrupt()


def _is_event_stream(exchange: Exchange) -> bool:
    return exchange.response_names.get(b"content-type", b"").startswith(b"text/event-stream")
