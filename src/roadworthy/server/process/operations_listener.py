"""The operations listener: a second listener in the loop of whoever opens it."""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate
from typing import Any

from ...settings import Settings
from ...types import ASGIApp
from .listeners import listen
from .uvicorn import operations_config
from .uvicorn_names import ServerState

__all__ = ("OperationsListener",)

_LONGEST_END = 2.0
"""Seconds for what is in flight at the end: a scrape is short, and the process is about to end."""
_UNWIND = 1.0
"""Seconds that cancelled requests get to unwind."""
_POLL = 0.02


class OperationsListener:
    """Serves the operations pages, without signals and without a ``uvicorn.Server``.

    Apps look for the ``uvicorn.Server`` of their process, to stop it or to know its address (NiceGUI searches
    the garbage collector's objects). So there is one alone, and it serves the app.

    Parameters:
        app: the pages.
        settings: deadlines and limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._clock: asyncio.TimerHandle | None = None

    async def open(self, sockets: list[socket.socket]) -> None:
        """Listen.

        Raises:
            OSError: another process listened on the port between bind and listen.
        """
        # uvloop 0.23 reports no error when a socket that it was given cannot listen.
        listen(sockets)
        loop = asyncio.get_running_loop()
        config = operations_config(self._app, self._settings)
        config.load()
        made: Any = config.http_protocol_class
        self._set_date()
        for one in sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: made(config=config, server_state=self._state, app_state={}, _loop=loop), sock=one
                )
            )

    def _set_date(self) -> None:
        """Keep the field ``date`` of what the listener answers, which changes every second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1.0, self._set_date)

    async def finish(self) -> None:
        """Close the listener, and return when what was in flight is done or cut."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        end = time.monotonic() + _LONGEST_END
        while self._state.connections or self._state.tasks:
            if time.monotonic() >= end:
                break
            await asyncio.sleep(_POLL)
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel(msg="the process ends")
        if tasks:
            await asyncio.wait(tasks, timeout=_UNWIND)
        if self._clock is not None:
            self._clock.cancel()
