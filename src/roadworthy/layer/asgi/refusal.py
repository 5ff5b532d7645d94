"""What the server refuses by itself, told, recorded and counted as the layer does with its own refusals."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import APIError, RequestTimeoutError
from ...types import Message, Scope
from ..exchange import Exchange, Reply, current_exchange
from ..frameworks import EXCHANGE_KEY
from ..pipeline import Pass
from .http import Conversation

__all__ = ("Refusals",)


async def _nothing_comes() -> Message:
    return {"type": "http.disconnect"}


async def _nothing_goes(message: Message) -> None:
    del message


class Refusals:
    """Gives the server the answers to what never gets to the app, or has to be answered in its place.

    Parameters:
        pass_: gives the items; they may be built after the server.
    """

    def __init__(self, pass_: Callable[[], Pass]) -> None:
        self._pass = pass_

    def refused(self, error: APIError, peer: str) -> Reply:
        """Answer a request that could not be understood or that took too long to arrive.

        Nothing is known of such a request, so its record has no method and no path, and counts as unmatched.
        """
        pass_ = self._pass()
        scope: Scope = {
            "type": "http",
            "method": "",
            "path": "",
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "client": (peer, 0) if peer else None,
            "headers": [],
        }
        exchange = Conversation(pass_, scope, _nothing_comes, _nothing_goes)
        pass_.request_id.admit(exchange)
        pass_.client.admit(exchange)
        reply = _told(pass_, exchange, error)
        pass_.finish(exchange)
        return reply

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Answer in place of the app, of whose response nothing has left.

        The exchange is still running and makes its own record at its end, with this status.
        """
        exchange: object = scope.get(EXCHANGE_KEY)
        if exchange is None and exception is not None:
            # The app is done, and it is the layer's own answer that could not be sent.
            exchange = current_exchange.get()
        if not isinstance(exchange, Conversation):
            client = scope.get("client")
            return self.refused(error, client[0] if client else "")
        if exchange.exception is None:
            exchange.exception = exception
        exchange.error = error
        exchange.known_route()
        if isinstance(error, RequestTimeoutError):
            # Whatever the app does with a body that never came is of no use any more.
            exchange.expire()
        return _told(self._pass(), exchange, error)


def _told(pass_: Pass, exchange: Exchange, error: APIError) -> Reply:
    exchange.error = error
    exchange.ended = True
    reply = pass_.errors.encode(exchange, error)
    exchange.status = reply.status
    exchange.bytes_sent = len(reply.body)
    exchange.lines = None
    exchange.response_headers = list(reply.headers)
    exchange.response_names = dict(reply.headers)
    pass_.respond(exchange)
    return Reply(reply.status, exchange.response_headers, reply.body)
