"""One WebSocket over ASGI: admitted like a request, asked to end when the process closes.

The handshake is an HTTP request, so the same steps judge it; besides, a browser sends cookies with a
handshake to any host, so its Origin must be this host's or an allowed one (RFC 6455 §10.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

from ...errors import APIError, ForbiddenError, Limit, UnavailableError, refused_by
from ...exits import is_apps_own
from ...types import Message, Receive, Scope, Send
from ..exchange import Exchange, Reply, current_exchange
from ..frameworks import EXCHANGE_KEY
from ..logs.routing import handshake_answered
from ..pipeline import Pass
from ..routes import RouteRule
from ..tasks import was_cancelled_within
from .departures import CLIENT_CLOSED_REQUEST
from .scope import show_client
from .testing_clients import raises_to

__all__ = ("WebSocketConversation",)

# RFC 6455 §7.4.1: 1008 is a policy violation, 1011 a failure; 1012 (registered with IANA) is a service
# restart.
_POLICY, _FAILED, _RESTART = 1008, 1011, 1012
# ASGI, "Close": what a server answers when the app closes a WebSocket that it has not accepted.
_FORBIDDEN = 403


class WebSocketConversation:
    """Carries a WebSocket from its handshake to its close.

    The handshake has the deadline of a request. An open WebSocket has no deadline, nor has what its handler
    starts.

    Parameters:
        pass_: the items.
        exchange: the handshake as the request that it is.
        scope: what the app is called with.
        receive: the server's ASGI ``receive``.
        send: the server's ASGI ``send``.
    """

    def __init__(self, pass_: Pass, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        exchange.service = pass_
        exchange.carrier = self
        self.exchange = exchange
        self._pass = pass_
        self._scope = scope
        self._receive = receive
        self._send = send
        self._accepted = False
        self._closed = False
        self._verdict: APIError | None = None
        self._answered = False
        self._task: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Serve the WebSocket from its handshake to its record."""
        pass_, exchange = self._pass, self.exchange
        token = current_exchange.set(exchange)
        self._scope[EXCHANGE_KEY] = exchange
        self._task = asyncio.current_task()
        pass_.live.add(self)
        pass_.deadlines.begin(exchange)
        try:
            refused = await self._refusal()
            if refused is not None:
                await self._refuse(refused)
                return
            if pass_.behind_proxies:
                show_client(exchange, self._scope)
            await pass_.app(self._scope, self._receive, self.send)
            if not (self._accepted or self._answered):
                await self._unanswered()
        except BaseException as exception:
            cancelled = isinstance(exception, asyncio.CancelledError)
            if cancelled and self._task is not None and (self._closed or self._verdict):
                self._task.uncancel()
                if self._verdict is not None and not self._answered:
                    await self._deny(self._verdict)
                return
            closing = pass_.shutdown.state == "closing"
            if not is_apps_own(exception, self._task) and (
                closing or not was_cancelled_within(exception, self._task)
            ):
                raise
            if isinstance(exception, APIError) and exception is exchange.error and not self._accepted:
                # Refused by the rule of the route that the app chose, and nothing of the app has answered it.
                if not (self._answered or self._closed):
                    await self._deny(exception)
            else:
                await self._failed(exception)
        finally:
            pass_.live.discard(self)
            exchange.route = self.named_route() or exchange.route
            if self._answered:
                handshake_answered.set(True)
            current_exchange.reset(token)
            # The two hold each other; left so, every WebSocket would wait for the collector.
            exchange.carrier = None
            pass_.finish(exchange)

    # -- what the exchange asks

    def named_route(self) -> str | None:
        """Return the template of the route that the app has named."""
        return self._pass.framework.route_of(self._scope)

    async def overrule(self, rule: RouteRule | None) -> APIError | None:
        """Put the handshake under another rule; return the refusal if the rule refuses it."""
        refused = await self._pass.overrule(self.exchange, rule)
        if refused is not None:
            self.exchange.error = refused
        return refused

    def hold_for(self, settle: Callable[[int], Awaitable[None]]) -> bool:
        """Return False: a WebSocket has no response whose head could wait."""
        del settle
        return False

    def is_served_here(self) -> bool:
        """Return False: a unit of work does not stay open for as long as a WebSocket does."""
        return False

    # -- the handshake

    async def _failed(self, exception: BaseException) -> None:
        self.exchange.exception = exception
        error = self.exchange.error = self._pass.errors.from_exception(exception, self.exchange.method)
        if error.status >= 500 and raises_to(self._pass, self._receive):
            # It comes out of the client, which looks for it when there is no answer.
            self.exchange.status = self.exchange.status or error.status
            raise exception
        if not (self._accepted or self._answered):
            await self._deny(error)
        elif not self._closed:
            self._closed = True
            await self._say_close(_FAILED)

    async def _refusal(self) -> APIError | None:
        exchange, pass_ = self.exchange, self._pass
        for note in (pass_.request_id.admit, pass_.tracing.admit, pass_.client.admit):
            note(exchange)
        if exchange.repeat is not None:
            return exchange.repeat
        for step in (pass_.host.admit, pass_.find_rule, pass_.limiter.admit):
            outcome = step(exchange)
            if outcome is not None and not isinstance(outcome, (Reply, APIError)):
                outcome = await outcome
            if isinstance(outcome, APIError):
                return outcome
        origin = exchange.headers.get(b"origin")
        if origin is not None and not pass_.cors.websocket_allowed(
            origin, exchange.headers.get(b"host", b"")
        ):
            error = ForbiddenError("This origin may not open a WebSocket here")
            return refused_by(error, Limit("CORS_ORIGINS"))
        return None

    async def _refuse(self, error: APIError) -> None:
        self.exchange.route = self._pass.name_route(self.exchange)
        self._pass.tracing.refused(self.exchange)
        await self._receive()  # websocket.connect
        await self._deny(error)

    async def _deny(self, error: APIError) -> None:
        self.exchange.error = error
        self.exchange.status = error.status
        self._answered = True
        # The client may have left meanwhile; then there is nobody to answer.
        with suppress(OSError):
            if "websocket.http.response" in (self._scope.get("extensions") or {}):
                reply = self._pass.errors.encode(self.exchange, error)
                headers = [*reply.headers, (b"x-request-id", self.exchange.request_id.encode())]
                await self._send(
                    {"type": "websocket.http.response.start", "status": reply.status, "headers": headers}
                )
                await self._send({"type": "websocket.http.response.body", "body": reply.body})
            else:
                await self._send({"type": "websocket.close", "code": _POLICY, "reason": error.message})

    async def send(self, message: Message) -> None:
        """Pass a message of the app on."""
        if self._closed:
            return
        late = self.exchange.error
        if late is not None and not (self._accepted or self._answered):
            # Refused by the rule of the route that the app chose; what the app makes of it is not wanted.
            self._closed = True
            await self._deny(late)
            return
        if message["type"] == "websocket.accept":
            self._accepted = True
            self._pass.tracing.respond(self.exchange)
            self.exchange.status = 101
            self.exchange.deadline = inf
        elif not self._accepted:
            self._denied_by_app(message)
        await self._send(message)
        if self._accepted and self._pass.shutdown.state == "closing":
            self.ask_to_end()

    def _denied_by_app(self, message: Message) -> None:
        self._answered = True
        if message["type"] == "websocket.close":
            self.exchange.status = _FORBIDDEN
        elif message["type"] == "websocket.http.response.start":
            self.exchange.status = message["status"]

    async def _unanswered(self) -> None:
        """The app is done and has not answered the handshake."""
        if await self._has_left():
            self.exchange.status = CLIENT_CLOSED_REQUEST
        else:
            await self._failed(RuntimeError("the app returned without answering the handshake"))

    async def _has_left(self) -> bool:
        """Return whether the client has left already: who returns then has not failed."""
        while True:
            asked = asyncio.ensure_future(self._receive())
            await asyncio.wait((asked,), timeout=0)
            if not asked.done():
                asked.cancel()
                return False
            if asked.exception() is not None or asked.result()["type"] == "websocket.disconnect":
                return True

    def expire(self) -> None:
        """End a handshake that the app has not answered in time; an open WebSocket has no deadline."""
        if not self._answered:
            self._pass.deadlines.exceeded += 1
            self._end_handshake(self._pass.deadlines.verdict(self.exchange))
        self.exchange.deadline = inf

    def _end_handshake(self, error: APIError) -> None:
        if self._task is not None and self._verdict is None:
            self._verdict = error
            self._task.cancel()

    def ask_to_end(self) -> None:
        """Close the WebSocket with 1012, so that the client connects again elsewhere.

        A handshake that is not answered yet is refused: its WebSocket would be closed at once.
        """
        if not (self._accepted or self._answered):
            self._end_handshake(UnavailableError("This server is shutting down"))
        elif self._accepted and not self._closed:
            self._closed = True
            self._closing = asyncio.ensure_future(self._say_close(_RESTART))

    async def _say_close(self, code: int) -> None:
        # The client may have left at the same moment; then there is nobody to close it for.
        with suppress(Exception):
            await self._send({"type": "websocket.close", "code": code})

    def cut(self) -> None:
        """End the handler that has not noticed the close."""
        if self._task is not None:
            self._closed = True
            self._task.cancel()
