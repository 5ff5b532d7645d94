"""The one place that depends on how uvicorn works inside.

Names used of :class:`uvicorn.Server` besides its documented ones: ``startup``, ``shutdown``, ``on_tick``,
``handle_exit``, ``capture_signals``, ``lifespan``, ``started``, ``should_exit``, ``force_exit``. None begins
with an underscore. Overriding ``handle_exit`` without calling the original also keeps uvicorn from raising
the signal again at the end, which made the exit code -15 instead of 0.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from ..settings import Settings
from ..types import ASGIApp

__all__ = (
    "OperationsServer",
    "PortTakenError",
    "PublicServer",
    "operations_config",
    "public_config",
    "quiet",
)

_BACKLOG = 2048
"""Connections that may wait to be accepted: uvicorn's own default."""


def public_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration of the public listener."""
    return _config(
        app,
        lifespan="auto",
        timeout_keep_alive=math.ceil(settings.keep_alive),
        timeout_graceful_shutdown=math.ceil(settings.grace),
    )


def operations_config(app: ASGIApp) -> uvicorn.Config:
    """Return uvicorn's configuration of the operations listener."""
    # One second: a scrape is short, and the process is about to end.
    return _config(app, lifespan="off", timeout_keep_alive=75, timeout_graceful_shutdown=1)


def _config(app: ASGIApp, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        workers=1,  # else uvicorn reads WEB_CONCURRENCY by itself
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        log_config=None,
        **more,
    )


def quiet() -> None:
    """Drop uvicorn's progress records below warning: the layer records each step of the process's life."""
    logging.getLogger("uvicorn.error").addFilter(_at_least_warning)


def _at_least_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


class PortTakenError(Exception):
    """Raised when another process listened on the public port between bind and listen."""


class _ThenListen:
    """An app's lifespan whose start ends with listening.

    uvloop 0.23 reports no error when a socket that it was given cannot listen, so that a server that nobody
    can reach would call itself started. Listening by ourselves does report it.
    """

    def __init__(self, lifespan: Any, sockets: list[socket.socket]) -> None:
        self._lifespan = lifespan
        self._sockets = sockets

    @property
    def should_exit(self) -> bool:
        return bool(self._lifespan.should_exit)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._lifespan.state
        return state

    async def startup(self) -> None:
        await self._lifespan.startup()
        if not self.should_exit:
            _listen(self._sockets)

    async def shutdown(self) -> None:
        await self._lifespan.shutdown()


def _listen(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.listen(_BACKLOG)


class PublicServer(uvicorn.Server):
    """uvicorn with a drain: after SIGTERM it goes on accepting for ``drain_delay`` seconds.

    Parameters:
        config: uvicorn's configuration.
        drain_delay: seconds between SIGTERM and closing the listener.
        before: awaited before the app's lifespan starts.
        ready: called when the listener accepts.
        draining: called on the loop at the first signal.
        closing: called on the loop right before the listener closes.
        after: awaited when the app's lifespan has ended.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        drain_delay: float,
        before: Callable[[], Awaitable[None]],
        ready: Callable[[], None],
        draining: Callable[[], None],
        closing: Callable[[], None],
        after: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._drain_delay = drain_delay
        self._before = before
        self._ready = ready
        self._draining = draining
        self._closing = closing
        self._after = after
        self._close_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start what has to run first, then the app, then listen."""
        self._loop = asyncio.get_running_loop()
        await self._before()
        self.lifespan: Any = _ThenListen(self.lifespan, sockets or [])
        try:
            await super().startup(sockets)
        except OSError:
            # Listening failed, and that is after the app has started.
            await self.lifespan.shutdown()
            raise PortTakenError from None
        if not self.should_exit:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM, close on SIGINT or during start-up, quit on a second SIGINT."""
        if sig == signal.SIGINT and self.should_exit:
            self.force_exit = True
            if not self.started:
                raise KeyboardInterrupt
            return
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._draining)
        if sig == signal.SIGINT or not self.started:
            self.should_exit = True
        elif self._close_at is None:
            self._close_at = time.monotonic() + self._drain_delay

    async def on_tick(self, counter: int) -> bool:
        """Look whether the drain delay is over; called every 100 ms."""
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell streams to end, then let uvicorn close the listener and wait for what is in flight."""
        self._closing()
        await super().shutdown(sockets)
        await self._after()


class OperationsServer(uvicorn.Server):
    """A second listener in the same loop, which leaves signals to the first."""

    _task: asyncio.Task[None] | None = None
    _listening: asyncio.Future[None] | None = None

    async def open(self, sockets: list[socket.socket]) -> None:
        """Serve in the background; returns when the listener accepts.

        Raises:
            OSError: another process listened on the port between bind and listen.
        """
        _listen(sockets)
        loop = asyncio.get_running_loop()
        self._listening = loop.create_future()
        self._task = loop.create_task(self.serve(sockets))
        await asyncio.wait((self._listening, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()

    async def finish(self) -> None:
        """Close the listener and wait until it is closed."""
        self.should_exit = True
        if self._task is not None:
            await self._task

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self._listening is not None:
            self._listening.set_result(None)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture none."""
        yield
