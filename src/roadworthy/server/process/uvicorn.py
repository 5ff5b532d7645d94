"""The one place that depends on how uvicorn's server works inside.

Names used of :class:`uvicorn.Server` besides its documented ones: ``run``, ``startup``, ``shutdown``,
``on_tick``, ``handle_exit``, ``capture_signals``, ``lifespan`` with ``startup``, ``shutdown``,
``should_exit`` and ``state``, ``started``, ``should_exit``, ``force_exit``, ``servers``, ``server_state``
with ``connections`` and ``tasks``, ``config`` with ``http_protocol_class`` and ``ssl``; of the connections
``shutdown``, and ``cycle`` of uvicorn's own. None begins with an underscore. Overriding ``handle_exit``
without calling the original also keeps uvicorn from raising the signal again at the end, which made the
exit code -15 instead of 0. It is called when the server closes, for those who replace it; ``capture_signals``
does not call uvicorn's, which would raise what that call has noted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from ...layer import Layer
from ...settings import Settings
from ...types import ASGIApp
from ..http.factory import http_protocol
from ..websocket.connection import WebSocket
from .background import Background
from .descriptors import operations_room
from .event_loop import new_loop, run_to_the_end
from .listeners import BACKLOG, listen, refuse_new
from .own_code import OwnCode
from .watchdog import Watchdog, threads_in_the_way

__all__ = (
    "PortTakenError",
    "PublicServer",
    "operations_config",
    "public_config",
    "quiet",
)

_HANDSHAKE = 0.2
"""Seconds for handshakes on their way to complete once no new ones are let in: once around the world."""
_FIRST_REQUEST = 1.0
"""Seconds that a connection without a request gets for its first one when the listener closes."""
_POLL = 0.02
_UNWIND = 1.0
"""Seconds that cancelled requests get to unwind."""
_LEAST = 1.0
"""Seconds that the lifespan's end gets even when the grace is used up."""

_UVICORN = str(Path(uvicorn.__file__).parent)

_log = logging.getLogger("roadworthy.server")


def public_config(app: ASGIApp, settings: Settings, sockets: list[socket.socket]) -> uvicorn.Config:
    """Return uvicorn's configuration of the public listener.

    The server accepts on the sockets; host, port and path are there for apps that look up where they are.
    """
    name = sockets[0].getsockname()
    path = name if sockets[0].family == socket.AF_UNIX else None
    return _config(
        app,
        host=settings.host,
        port=settings.port if path is not None else name[1],
        uds=path,
        lifespan="auto",
        http=http_protocol(settings, app.refusals if isinstance(app, Layer) else None),
        timeout_keep_alive=math.ceil(settings.keep_alive),
        root_path=settings.root_path,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def operations_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration of the operations listener."""
    return _config(app, lifespan="off", http=http_protocol(settings, room=operations_room()))


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
    """Drop what uvicorn records of the process's life: the layer records each step of it.

    Apps write records of their own to uvicorn's logger; these stay.
    """
    news = _News()
    logging.getLogger("roadworthy.lifespan").addFilter(news.noted)
    logging.getLogger("uvicorn.error").addFilter(news.is_new)


class _News:
    """Knows which of uvicorn's records have been made already."""

    def __init__(self) -> None:
        self._noted = ""

    def noted(self, record: logging.LogRecord) -> bool:
        """Remember why the layer does not start."""
        self._noted = record.getMessage()
        return True

    def is_new(self, record: logging.LogRecord) -> bool:
        """Return whether a record is an app's, or reports what nobody else does."""
        if not record.pathname.startswith(_UVICORN):
            return True
        message = record.getMessage()
        # That it ends is seen, and why is in the record before.
        is_repeated = message == "Application startup failed. Exiting." or self._noted.endswith(message)
        return record.levelno >= logging.WARNING and not is_repeated


class PortTakenError(Exception):
    """Raised when another process listened on the public port between bind and listen."""


class PublicServer(uvicorn.Server):
    """uvicorn with a drain, and with a shutdown that loses no connection and always ends.

    Steps: ``drain`` (readiness is 503, requests are served on), ``drain_delay`` seconds later ``close``: the
    listener closes, what is in flight finishes within ``grace``, background tasks and the lifespan end.

    Parameters:
        config: uvicorn's configuration.
        app: the app with the layer around it.
        watchdog: ends the process when the shutdown hangs.
        before: awaited before the app's lifespan starts.
        ready: called when the listener accepts.
        after: awaited when the app's lifespan has ended.
        target: ``module:attribute`` of the app, to tell its own tasks from those of libraries.
        last: nobody else accepts on these sockets, so that a connection that waits there would be lost.

    Attributes:
        grace: seconds for what is in flight once the listener closes.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: Layer,
        watchdog: Watchdog,
        *,
        before: Callable[[], Awaitable[None]],
        ready: Callable[[], None],
        after: Callable[[], Awaitable[None]],
        target: str,
        last: bool = True,
    ) -> None:
        super().__init__(config)
        self.grace = app.settings.grace
        self.last = last
        self._app = app
        self._watchdog = watchdog
        self._before = before
        self._ready = ready
        self._after = after
        self._own_code = OwnCode(target)
        self._close_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._background: Background | None = None
        self._is_ending = False
        self._end = 0.0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end, in a loop that an exit raised by the app does not end."""
        run_to_the_end(self.serve(sockets=sockets), new_loop)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start what has to run first, then the app, then listen."""
        self._loop = asyncio.get_running_loop()
        await self._before()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(1)
        self.servers = []
        if not self.should_exit:
            try:
                await self._listen(sockets or [])
            except OSError:
                await self.lifespan.shutdown()
                raise PortTakenError from None
        self.started = True
        self._background = Background(self._own_code, self._app.settings.stream_grace)
        if not self.should_exit:
            self._ready()

    async def _listen(self, sockets: list[socket.socket]) -> None:
        assert self._loop is not None
        # uvloop 0.23 reports no error when a socket that it was given cannot listen.
        listen(sockets)
        for one in sockets:
            self.servers.append(
                await self._loop.create_server(self._protocol, sock=one, backlog=BACKLOG, **self._tls())
            )

    def _tls(self) -> dict[str, Any]:
        """Return how connections are encrypted. A handshake is bounded like the header section behind it."""
        if self.config.ssl is None:
            return {}
        return {"ssl": self.config.ssl, "ssl_handshake_timeout": self._app.settings.header_timeout or None}

    def drain(self) -> None:
        """Turn readiness to 503, and close after the drain delay; on the loop. Nothing when repeated."""
        if not self.started:
            self._stop_starting()
        elif self._close_at is None:
            self._app.begin_drain()
            self._close_at = time.monotonic() + self._app.settings.drain_delay

    def retire(self, delay: float) -> None:
        """Accept no more, and close after ``delay`` seconds: other workers serve on; on the loop."""
        if not self.started:
            self._stop_starting()
        elif self._close_at is None:
            self._app.hosting.retire()
            for server in self.servers:
                server.close()
            self._close_at = time.monotonic() + delay

    def close(self, grace: float | None = None) -> None:
        """Close now; on the loop.

        Parameters:
            grace: seconds for what is in flight, if less than so far.
        """
        if grace is not None and grace < self.grace:
            self.grace = grace
            self._end = min(self._end, time.monotonic() + grace)
        if self.started:
            self._app.begin_drain()
        else:
            self._stop_starting()
        self.should_exit = True

    def _stop_starting(self) -> None:
        """End once the app has started, for it cannot be stopped within its start; or when it does not."""
        self.should_exit = True
        self._watchdog.expect("start", self.grace)

    def quit(self) -> None:
        """End without waiting for anything."""
        self.force_exit = True
        self.should_exit = True
        self._watchdog.expect("rest", _LEAST)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on SIGTERM and SIGHUP, close on SIGINT, quit on a second SIGINT."""
        if sig == signal.SIGINT and self.should_exit:
            self.quit()
            if not self.started:
                raise KeyboardInterrupt
        elif self._loop is None:
            self._stop_starting()
        else:
            self._loop.call_soon_threadsafe(self.close if sig == signal.SIGINT else self.drain)
            if not self._is_ending:
                # A loop that is held does not come to do it.
                self._is_ending = True
                delay = 0.0 if sig == signal.SIGINT else self._app.settings.drain_delay
                self._watchdog.expect("requests", delay + self.grace + 2 * _UNWIND + _LEAST)
            if sig == signal.SIGINT:
                self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGHUP as well: the terminal is gone. Leave alone what was ignored when the process began.

        nohup(1) has SIGHUP ignored, a shell's ``&`` without job control SIGINT (POSIX, XCU 2.11).
        """
        before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        for one, handler in before.items():
            if one == signal.SIGTERM or handler != signal.SIG_IGN:
                signal.signal(one, self.handle_exit)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def on_tick(self, counter: int) -> bool:
        """Look whether the drain delay is over; called every 100 ms."""
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener, finish what is in flight, end the lifespan; each step is a record."""
        began = time.monotonic()
        self._end = began + self.grace
        self._watchdog.expect("requests", self.grace + 2 * _UNWIND + _LEAST)
        self._report_exit()
        self._app.begin_drain()
        self._app.begin_close()
        await self._stop_accepting(sockets or [])
        await self._finish_requests(began)
        if self._background is not None and not self.force_exit:
            await self._background.join(self._end - time.monotonic())
        await self._end_lifespan()
        # Offloaded work: asyncio and the interpreter join its threads next.
        self._watchdog.expect("threads", max(self._seconds_for_threads(), _LEAST / 2))
        await self._after()

    def _seconds_for_threads(self) -> float:
        if self.force_exit:
            return 0.0
        left = self._end - time.monotonic()
        own = any(map(self._own_code.runs_in_thread, threads_in_the_way()))
        return left if own else min(left, self._app.settings.stream_grace)

    def _report_exit(self) -> None:
        """Call uvicorn's own handler of signals, which libraries replace to hear of the end.

        sse-starlette ends its event streams by it. Called now and not at the signal: until the drain delay is
        over, clients would come straight back.
        """
        try:
            super().handle_exit(signal.SIGTERM, None)
        except Exception:
            _log.exception("what replaces uvicorn.Server.handle_exit failed")

    async def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        if self.last and not self.force_exit:
            for one in sockets:
                refuse_new(one)
        copies = [one.dup() for one in sockets] if self.last else []
        if not self.force_exit:
            # Answers that go out meanwhile close their connections, so that no client is surprised.
            await asyncio.sleep(_HANDSHAKE)
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        await asyncio.gather(*map(self._accept_rest, copies))
        _log.info("listener closed")
        self._tell_connections()

    async def _accept_rest(self, listener: socket.socket) -> None:
        """Serve the connections that wait: closing the listener would reset them."""
        assert self._loop is not None
        waiting: list[socket.socket] = []
        with listener, suppress(OSError):
            while True:
                waiting.append(listener.accept()[0])
        # All at once: with TLS each is waited for until its handshake is done, and some never are.
        tls = self._tls() and {"ssl": self.config.ssl, "ssl_handshake_timeout": _FIRST_REQUEST}
        for one in waiting:
            one.setblocking(False)
        await asyncio.gather(
            *(self._loop.connect_accepted_socket(self._protocol, one, **tls) for one in waiting),
            return_exceptions=True,
        )

    def _protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=self._loop,
        )
        return made

    def _tell_connections(self) -> None:
        """Have connections close when they have nothing to do; those without a request yet a little later."""
        assert self._loop is not None
        later: list[tuple[float, Any]] = []
        connections: list[Any] = list(self.server_state.connections)
        for connection in connections:
            if isinstance(connection, WebSocket):
                # The layer closes it with 1012; this is for a handler that does not notice.
                later.append((self._app.settings.stream_grace, connection))
            elif getattr(connection, "cycle", connection) is None:
                later.append((_FIRST_REQUEST, connection))
            else:
                connection.shutdown()
        for seconds, connection in later:
            self._loop.call_later(seconds, self._tell_late, connection)

    def _tell_late(self, connection: Any) -> None:
        if connection in self.server_state.connections:
            connection.shutdown()

    async def _finish_requests(self, began: float) -> None:
        state = self.server_state
        while (state.connections or self._app.hosting.busy) and not self.force_exit:
            if time.monotonic() >= self._end:
                break
            await asyncio.sleep(_POLL)
        left = self._end - time.monotonic()
        if state.tasks and left > 0 and not self.force_exit:
            await asyncio.wait(state.tasks, timeout=left)
        tasks = list(state.tasks)
        unfinished = self._app.hosting.unfinished()
        if tasks and not self.force_exit:
            if unfinished:
                _log.warning("cut %d requests", len(unfinished), extra={"requests": unfinished})
            if len(tasks) > len(unfinished):
                # The response is out, and what the framework does after it is not done.
                _log.warning("lost %d tasks", len(tasks) - len(unfinished))
            for task in tasks:
                task.cancel(msg="the grace is over")
            await asyncio.wait(tasks, timeout=_UNWIND)
        elif not tasks:
            _log.info("requests finished", extra={"seconds": round(time.monotonic() - began, 3)})

    async def _end_lifespan(self) -> None:
        if self.force_exit:
            return
        seconds = max(self._end - time.monotonic(), self._app.settings.stream_grace, _LEAST)
        self._watchdog.expect("lifespan", seconds + _UNWIND)
        ending = asyncio.ensure_future(self.lifespan.shutdown())
        done, _ = await asyncio.wait((ending,), timeout=seconds)
        if done:
            _log.info("lifespan ended")
        else:
            ending.cancel()
            _log.error("cut: the lifespan did not end within %.1f s", seconds)
