"""One process: the public listener and the operations listener in one loop, from the first bind to exit 0."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..settings import Settings, settings_sources
from ..types import ASGIApp, Receive, Scope, Send
from ._uvicorn import OperationsServer, PortTakenError, PublicServer, operations_config, public_config, quiet
from .listeners import ServeError, bind, busy, close, url_of

__all__ = ("Addresses", "Served", "serve")

_log = logging.getLogger("roadworthy.server")

_PORT = "--port, ROADWORTHY_PORT or PORT"
_OPS_PORT = "--ops-port or ROADWORTHY_OPS_PORT (0 takes any free one, off opens none)"


class Served(Protocol):
    """What is served: an app with the layer around it."""

    chain_sigterm: bool

    @property
    def operations(self) -> ASGIApp:
        """The app of the operations listener."""
        ...

    def begin_drain(self) -> None:
        """Turn readiness to 503 and go on serving."""
        ...

    def begin_close(self) -> None:
        """Tell streams and WebSockets to end."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        ...


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the process is reached.

    Parameters:
        public: URL of the public listener.
        operations: URL of the operations listener, None where there is none.
    """

    public: str
    operations: str | None


def serve(app: Served, settings: Settings, announce: Callable[[Addresses], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, in this process.

    SIGTERM: readiness turns to 503, requests are served for ``drain_delay`` more seconds, the listener
    closes, what is in flight gets ``grace`` seconds, the lifespan ends. SIGINT does the same without the
    delay; a second SIGINT quits at once. The operations listener opens first and closes last.

    Parameters:
        app: the app with the layer around it.
        settings: host, ports, deadlines.
        announce: called once when the listener accepts; by default a record says so.

    Returns:
        The exit code: 0 after a signal, 1 when the app did not start.

    Raises:
        ServeError: the process cannot serve as it was told (a busy port, several workers).
    """
    if settings.workers > 1:
        raise ServeError(_several_workers(settings))
    public = bind(settings.host, settings.port, _PORT)
    try:
        operations = (
            None if settings.ops_port == "off" else bind(settings.ops_host, settings.ops_port, _OPS_PORT)
        )
    except ServeError:
        close(public)
        raise
    try:
        return _serve(app, settings, public, operations, announce or _record)
    finally:
        close([*public, *(operations or ())])


def _serve(
    app: Served,
    settings: Settings,
    public: list[socket.socket],
    operations: list[socket.socket] | None,
    announce: Callable[[Addresses], None],
) -> int:
    if settings.log_level != "debug":
        quiet()
    # The drain is told to the layer directly; a handler of its own would only delay it.
    app.chain_sigterm = False
    addresses = Addresses(
        url_of(public, settings.host), url_of(operations, settings.ops_host) if operations else None
    )
    second = OperationsServer(operations_config(app.operations))

    async def before() -> None:
        if operations is None:
            return
        try:
            await second.open(operations)
        except OSError:
            raise busy(settings.ops_host, operations[0].getsockname()[1], _OPS_PORT) from None

    server = PublicServer(
        public_config(app, settings),
        drain_delay=settings.drain_delay,
        before=before,
        ready=lambda: announce(addresses),
        draining=app.begin_drain,
        closing=app.begin_close,
        after=second.finish,
    )
    try:
        server.run(public)
    except KeyboardInterrupt:
        return 0
    except PortTakenError:
        raise busy(settings.host, public[0].getsockname()[1], _PORT) from None
    except SystemExit:
        return 1
    return 0


def _record(addresses: Addresses) -> None:
    _log.info(
        "listening",
        extra={"url": addresses.public, "operations_url": addresses.operations, "pid": os.getpid()},
    )


def _several_workers(settings: Settings) -> str:
    source = settings_sources(settings)["workers"]
    return (
        f"{source} asks for {settings.workers} workers, and one process runs one for now. Set it to 1 and "
        "start several processes on ports of their own behind a load balancer, or several containers."
    )
