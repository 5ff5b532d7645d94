"""Encodes the answers of the server itself, and how they are encoded without a layer."""

from __future__ import annotations

import json
import logging
import os
from typing import Protocol

from ...errors import APIError
from ...layer.exchange import InvalidResponseError, Reply
from ...layer.problem import problem
from ...types import Headers, Scope
from .response_head import STATUS_LINES, default_fields, encode

__all__ = ("PlainRefusals", "RefusalEncoder", "Refuser")

_log = logging.getLogger("roadworthy.server")


class RefusalEncoder(Protocol):
    """Encodes, records and counts the answers that the server gives in place of the app. Must not raise."""

    def refused(self, error: APIError, peer: str) -> Reply:
        """Answer a request that the app never sees.

        Parameters:
            error: what is wrong with the request.
            peer: address of the other end of the connection, "" when unknown.
        """
        ...

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Answer a request that the app is at, or was, and of whose response nothing has been sent.

        Parameters:
            error: what is wrong.
            scope: the scope that the app was called with.
            exception: what came out of the app, or what is wrong with its response; None when the client is
                at fault.
        """
        ...


class PlainRefusals:
    """Problem details (RFC 9457) and records of the logger ``roadworthy.server``: for apps without the layer.

    Attributes:
        counts: how many answers of each status were given.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def refused(self, error: APIError, peer: str) -> Reply:
        """Answer a request that the app never sees."""
        request_id = os.urandom(16).hex()
        _log.warning(
            "refused a request: %s",
            error.message,
            extra={"status": error.status, "code": error.code, "client": peer, "request_id": request_id},
        )
        return self._reply(error, request_id)

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Answer in place of the app."""
        request_id = os.urandom(16).hex()
        about = {"status": error.status, "code": error.code, "request_id": request_id}
        if exception is not None:
            _log.error("the app failed: %s", exception, exc_info=exception, extra=about)
        else:
            _log.warning("refused a request: %s", error.message, extra=about)
        return self._reply(error, request_id)

    def _reply(self, error: APIError, request_id: str) -> Reply:
        self.counts[error.status] = self.counts.get(error.status, 0) + 1
        document = problem(error, request_id=request_id)
        headers = [(b"content-type", b"application/problem+json"), (b"x-request-id", request_id.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        return Reply(error.status, headers, json.dumps(document, separators=(",", ":")).encode())


class Refuser:
    """What one connection says in place of the app, whatever becomes of its encoder.

    Parameters:
        encoder: the one of the listener.
    """

    __slots__ = ("_encoder", "peer")

    def __init__(self, encoder: RefusalEncoder) -> None:
        self._encoder = encoder
        self.peer = ""
        """Address of the other end, "" when unknown."""

    def refused(self, error: APIError) -> Reply:
        """Record and encode the answer to a request that the app never sees."""
        try:
            return self._encoder.refused(error, self.peer)
        except Exception as exception:
            self.report(exception)
            return Reply(error.status, [])

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        """Record and encode what is answered in place of the app."""
        try:
            return self._encoder.overruled(error, scope, exception)
        except Exception as failure:
            self.report(failure)
            return Reply(error.status, [])

    def answer(self, error: APIError, defaults: Headers) -> bytes:
        """Return the answer to a request that the app never sees, the last one on its connection.

        Parameters:
            error: what is wrong with the request.
            defaults: fields of every response.
        """
        reply = self.refused(error)
        try:
            fields = encode(reply.headers)[0]
        except InvalidResponseError as exception:
            self.report(exception)
            fields = b""
        return b"".join(
            (
                STATUS_LINES[reply.status],
                default_fields(defaults, False),
                fields,
                # RFC 9110 §7.8: who sends `Upgrade`, as 426 does, says so in `Connection`.
                b"connection: upgrade\r\n" if reply.status == 426 else b"",
                b"content-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body),
                reply.body,
            )
        )

    def report(self, exception: BaseException) -> None:
        """Record an exception that no answer reports."""
        _log.error("a request failed: %s", type(exception).__name__, exc_info=exception)
