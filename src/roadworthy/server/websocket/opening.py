"""The handshake of a WebSocket as a request in progress, and what the app talks through once it is open.

Until the app accepts, the connection is an HTTP connection with one request: what comes behind the
handshake waits, a refusal is an ordinary response that closes, and the end of the server finds it where it
finds every request. Only an accepted handshake makes the transport a WebSocket's.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from websockets.server import ServerProtocol

from ...types import Message, Scope
from ..http.cycle import Connection, Cycle, Served
from ..http.response_head import default_fields, encode
from .connection import ClientLeftError, WebSocket
from .handshake import accepting, negotiate, subprotocols

__all__ = ("Host", "Opening")

_NORMAL, _FAILED, _RESTART = 1000, 1011, 1012
_REFUSED: Message = {"type": "http.response.start", "status": 403, "headers": []}
_LEFT: Message = {"type": "websocket.disconnect", "code": 1006}


class Host(Connection, Protocol):
    """What an opening needs of the connection that it came over."""

    def become(self, frames: ServerProtocol, head: bytes) -> WebSocket:
        """Make the connection a WebSocket, whose first bytes are ``head``."""
        ...


class Opening(Cycle):
    """The ASGI side of one WebSocket, from its handshake on.

    Parameters:
        connection: where the handshake came from.
        scope: that of the handshake as a request.
        limit: bytes that a message may have.

    Raises:
        BadRequestError: the extensions that the client offers are malformed.
    """

    __slots__ = ("_connected", "_frames", "_host", "_line", "_socket")

    def __init__(self, connection: Host, scope: Scope, limit: int) -> None:
        headers = scope["headers"]
        self._frames, self._line = negotiate(headers, limit)
        self._host = connection
        self._socket: WebSocket | None = None
        self._connected = False
        asked: Scope = {
            **scope,
            "type": "websocket",
            "asgi": {**scope["asgi"], "spec_version": "2.4"},
            "scheme": "wss" if scope["scheme"] == "https" else "ws",
            "subprotocols": subprotocols(headers),
            "extensions": {"websocket.http.response": {}},
        }
        del asked["method"]
        super().__init__(connection, asked, keep_alive=False, expects=False)

    async def run(self, app: Served) -> None:
        """Call the app, and close what it has opened."""

        async def called(cycle: Cycle) -> None:
            code = _FAILED
            try:
                await app(cycle)
                code = _NORMAL
            except ClientLeftError:
                if self._socket is None:
                    raise
            except asyncio.CancelledError:
                code = _RESTART
                raise
            finally:
                if self._socket is not None:
                    self._socket.end(code)

        await super().run(called)

    async def receive(self) -> Message:
        """Give the app its next message (ASGI ``receive``)."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if self.news is None:
            self.news = asyncio.Event()
        while self._socket is None:
            if self.gone or self.complete:
                return dict(_LEFT)
            self.news.clear()
            await self.news.wait()
        return await self._socket.receive()

    async def send(self, message: Message) -> None:
        """Take one message of the app (ASGI ``send``)."""
        kind = message["type"]
        if self._socket is not None:
            await self._socket.send(message)
        elif kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            await super().send(_REFUSED)
            await super().send({"type": "http.response.body"})
        elif kind in ("websocket.http.response.start", "websocket.http.response.body"):
            await super().send({**message, "type": kind.removeprefix("websocket.")})
        elif self.gone or self.complete:
            raise ClientLeftError("the client has left")
        else:
            raise RuntimeError(f"expected an answer to the handshake, and the app sent {kind}")

    async def _accept(self, message: Message) -> None:
        connection = self._host
        if self.stream.write_paused and not self.lost:
            await self.stream.drain()
        if self.complete or self.status:
            return
        if self.gone:
            # It sends no more, so it can take no part.
            if not self.lost:
                connection.drop(hard=False)
            return
        fields, _, _, dated = encode(message.get("headers") or ())
        chosen = message.get("subprotocol")
        if chosen:
            fields = encode([(b"sec-websocket-protocol", chosen.encode("latin-1"))])[0] + fields
        head = (
            accepting(self.scope["headers"]),
            self._line,
            default_fields(connection.server_state.default_headers, dated),
            fields,
            b"\r\n",
        )
        self.complete = True
        self.status = 101
        self._socket = connection.become(self._frames, b"".join(head))
        if self.news is not None:
            self.news.set()
