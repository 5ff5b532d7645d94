"""What the layer writes into the scope (ASGI) that the app is called with."""

from __future__ import annotations

from ...types import Scope
from ..exchange import Exchange

__all__ = ("show_client",)


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
