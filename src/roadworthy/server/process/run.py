"""One process: the public listener and the operations listener in one loop, from the first bind to exit 0."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...layer import Layer
from ...layer.logging import Level
from ...settings import Settings
from .listeners import ServeError, activated, bind, bind_path, busy, close, url_of
from .machine import check_tls
from .operations import add_controls, configuration_of
from .operations_listener import OperationsListener
from .systemd import Notifier
from .uvicorn import PortTakenError, PublicServer, public_config, quiet
from .watchdog import Watchdog

__all__ = (
    "Addresses",
    "addresses_of",
    "bind_all",
    "busy_public",
    "open_operations",
    "record_start",
    "serve",
)

_log = logging.getLogger("roadworthy.server")

_HOST = "--host, ROADWORTHY_HOST or HOST"
_PORT = "--port, ROADWORTHY_PORT or PORT"
_OPS_HOST = "ROADWORTHY_OPS_HOST"
_OPS_PORT = "--ops-port or ROADWORTHY_OPS_PORT (0 takes any free one, off opens none)"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the process is reached.

    Parameters:
        public: URL of the public listener, or ``unix:`` and a path.
        operations: URL of the operations listener, None where there is none.
    """

    public: str
    operations: str | None


def serve(
    app: Layer, settings: Settings, target: str, announce: Callable[[Addresses], None] | None = None
) -> int:
    """Serve until SIGTERM or SIGINT, in this process; it is the process's last work.

    SIGTERM: readiness turns to 503, requests are served for ``drain_delay`` more seconds, the listener
    closes, what is in flight gets ``grace`` seconds, the lifespan ends. SIGINT does the same without the
    delay; a second SIGINT quits at once. The operations listener opens first and closes last. A thread that
    does not end is cut half a second after everything else, and the process with it.

    Parameters:
        app: the app with the layer around it.
        settings: host, ports, deadlines.
        target: ``module:attribute`` of the app.
        announce: called once when the listener accepts; by default a record says so.

    Returns:
        The exit code: 0 after a signal; 1 when the app did not start, or ended by ``exit_on_unhandled``; 2
        when its settings keep it from starting.

    Raises:
        ServeError: the process cannot serve as configured, such as on a busy port.
    """
    check_tls(settings)
    public, operations, ours = bind_all(settings)
    try:
        return _serve(app, settings, public, operations, announce or record_start, target, ours)
    finally:
        close([*public, *(operations or ())])


def bind_all(settings: Settings) -> tuple[list[socket.socket], list[socket.socket] | None, bool]:
    """Open the sockets of both listeners, or take those that systemd opened.

    Returns:
        The public sockets, those of the operations listener or None, and whether the public ones are ours
        alone.

    Raises:
        ServeError: one cannot be had.
    """
    passed = activated()
    if passed:
        public = passed
    elif settings.uds is not None:
        public = bind_path(settings.uds)
    else:
        public = bind(settings.host, settings.port, _PORT, _HOST)
    try:
        operations = (
            None
            if settings.ops_port == "off"
            else bind(settings.ops_host, settings.ops_port, _OPS_PORT, _OPS_HOST)
        )
    except ServeError:
        close(public)
        raise
    return public, operations, not passed


def addresses_of(
    settings: Settings, public: list[socket.socket], operations: list[socket.socket] | None
) -> Addresses:
    """Return where both listeners are reached."""
    scheme = "https" if settings.tls_cert else "http"
    return Addresses(
        url_of(public, settings.host, scheme), url_of(operations, settings.ops_host) if operations else None
    )


def busy_public(settings: Settings, public: list[socket.socket]) -> ServeError:
    """Return the error for a public port that was taken between bind and listen."""
    return busy(settings.host, public[0].getsockname()[1], _PORT)


async def open_operations(
    listener: OperationsListener, settings: Settings, sockets: list[socket.socket] | None
) -> None:
    """Open the operations listener, if there is to be one.

    Raises:
        ServeError: its port was taken between bind and listen.
    """
    if sockets is None:
        return
    try:
        await listener.open(sockets)
    except OSError:
        raise busy(settings.ops_host, sockets[0].getsockname()[1], _OPS_PORT) from None


def record_start(addresses: Addresses, **more: Any) -> None:
    """Write the record that says where the service is."""
    _log.info(
        "listening",
        extra={"url": addresses.public, "operations_url": addresses.operations, "pid": os.getpid(), **more},
    )


class _Control:
    """The operations listener's hands on this process."""

    def __init__(self, app: Layer) -> None:
        self._app = app

    def configuration(self) -> dict[str, Any]:
        return configuration_of(self._app.settings)

    def set_level(self, level: Level) -> None:
        self._app.hosting.set_level(level)

    def drain(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def _serve(
    app: Layer,
    settings: Settings,
    public: list[socket.socket],
    operations: list[socket.socket] | None,
    announce: Callable[[Addresses], None],
    target: str,
    ours: bool,
) -> int:
    if settings.log_level != "debug":
        quiet()
    # The layer learns of the drain directly; a handler of its own would only delay it.
    app.chain_sigterm = False
    hosting = app.hosting
    notifier = Notifier()
    pages = add_controls(app.operations, _Control(app))
    second = OperationsListener(pages, settings)
    addresses = addresses_of(settings, public, operations)
    hosting.on_change(lambda state: notifier.stopping() if state == "draining" else None)

    def ready() -> None:
        announce(addresses)
        notifier.ready()
        if notifier.watchdog is not None:
            _keep_alive(notifier, notifier.watchdog)

    server = PublicServer(
        public_config(app, settings, public),
        app,
        Watchdog(hosting.flush),
        before=lambda: open_operations(second, settings, operations),
        ready=ready,
        after=second.finish,
        target=target,
        last=ours,
    )
    try:
        server.run(public)
    except KeyboardInterrupt:
        return 0
    except PortTakenError:
        raise busy_public(settings, public) from None
    except SystemExit:
        return 2 if hosting.refused else 1
    return 1 if hosting.failed else 0


def _keep_alive(notifier: Notifier, seconds: float) -> None:
    """Give signs of life from the loop, so that one that hangs gives none."""
    import asyncio

    notifier.alive()
    asyncio.get_running_loop().call_later(seconds, _keep_alive, notifier, seconds)
