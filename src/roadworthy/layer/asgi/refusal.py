"""What the server itself refuses: encoded, recorded and counted as the layer does with its own refusals."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import APIError, RequestTimeoutError
from ...types import Scope
from ..exchange import Exchange, Reply, current_exchange
from ..frameworks import EXCHANGE_KEY
from ..pipeline import Pass

__all__ = ("Refusals",)


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
        exchange = Exchange.of_refusal(peer)
        pass_.request_id.admit(exchange)
        pass_.client.admit(exchange)
        reply = _encoded(pass_, exchange, error)
        pass_.finish(exchange)
        return reply

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Answer in place of the app, of whose response nothing has left.

        The exchange is still running and makes its own record at its end, with this status.
        """
        exchange: Exchange | None = scope.get(EXCHANGE_KEY)
        if exchange is None and exception is not None:
            # The app is done, and it is the layer's own answer that could not be sent.
            exchange = current_exchange.get()
        if exchange is None:
            client = scope.get("client")
            return self.refused(error, client[0] if client else "")
        if exchange.exception is None:
            exchange.exception = exception
        exchange.error = error
        exchange.known_route()
        if isinstance(error, RequestTimeoutError) and exchange.carrier is not None:
            # Whatever the app does with a body that never came is of no use any more.
            exchange.carrier.expire()
        return _encoded(self._pass(), exchange, error)


def _encoded(pass_: Pass, exchange: Exchange, error: APIError) -> Reply:
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
