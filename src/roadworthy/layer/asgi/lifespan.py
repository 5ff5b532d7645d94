"""The lifespan of a service: what opens before the first request and closes after the last.

Order at start: logging, secrets, self-test, pools, health checks, then the app's own lifespan. The end runs
backwards. A server that knows no lifespan gets the same start with the first request.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from ...exits import is_apps_own
from ...settings import SettingsError
from ...types import ASGIApp, Message, Receive, Scope, Send
from ..environment import Environment
from ..pipeline import Pass
from ..selftest import self_test
from ..unhandled import KINDS, Unhandled
from .testing_clients import raises_to

__all__ = ("Lifespan", "refuse_start")

_WITH_LIFESPAN = frozenset({"fastapi", "litestar", "starlette"})
_log = logging.getLogger("roadworthy.lifespan")


class Lifespan:
    """Starts and stops what a pass holds, once.

    Parameters:
        pass_: the items.
        chain_sigterm: put the drain in front of the server's own SIGTERM handler; for servers that are not
        ours.
    """

    def __init__(self, pass_: Pass, *, chain_sigterm: bool = True) -> None:
        self.started = False
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it was started."""
        self.chain_sigterm = chain_sigterm
        self._pass = pass_
        self._lock = asyncio.Lock()
        self._ended = False
        self._restore: Callable[[], None] | None = None
        self._unhandled = Unhandled(pass_.settings, partial(setattr, pass_.shutdown, "failed", True))
        for kind in KINDS:
            pass_.metrics.watch(
                "unhandled_exceptions_total",
                "Failures of tasks and callbacks that nobody handled.",
                partial(self._unhandled.counts.__getitem__, kind),
                labels={"kind": kind},
            )

    async def start(self) -> None:
        """Open everything, in order; what was opened is closed again when a later step fails."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            if self.started:
                if self.loop is loop or self.loop is None or not self.loop.is_closed():
                    return
                # A test client without a lifespan has an event loop for each request, and what was opened
                # for an earlier one is of no use to this.
                await self._close()
                self._begin_again()
            self.loop = loop
            pass_ = self._pass
            await pass_.logging.start()
            self._unhandled.start()
            try:
                Environment(pass_.settings).check()
                await self_test(pass_)
                await pass_.metrics.start()
                await pass_.pooling.start(pass_.health)
                await pass_.health.start()
                await pass_.limiter.start()
            except BaseException:
                await self._close()
                raise
            if self.chain_sigterm:
                self._chain()
                self._point_out_operations()
            self._point_out_cors()
            self.started = True

    async def serving(self) -> None:
        """The app has started as well: readiness may turn to 200."""
        await self._pass.settle()
        self._pass.shutdown.serving()

    async def stop(self) -> None:
        """Close everything, in the reverse order."""
        if self._restore is not None:
            self._restore()
            self._restore = None
        self._pass.shutdown.begin_drain()
        self._pass.shutdown.begin_close()
        await self._close()
        self._ended = True

    def _begin_again(self) -> None:
        """Let an app that has ended serve another lifespan: a test suite has one for each test of an app."""
        self._pass.shutdown.begin_again()
        self._pass.health.begin_again()
        self._pass.limiter.begin_again()
        self.started = self._ended = False

    async def _close(self) -> None:
        pass_ = self._pass
        pass_.deadlines.stop()
        for stop in (
            pass_.limiter.stop,
            pass_.health.stop,
            pass_.pooling.stop,
            pass_.metrics.stop,
        ):
            try:
                await stop()
            except BaseException as error:
                if not is_apps_own(error, asyncio.current_task()):
                    raise
                _log.exception("failed to stop")
        self._unhandled.stop()
        await pass_.logging.stop()

    def _point_out_operations(self) -> None:
        if self._pass.scrape is None:
            _log.info(
                "metrics and health details are not served: this server has no listener for operations. "
                "`roadworthy run` has one; or set ROADWORTHY_METRICS_PUBLIC=true and ROADWORTHY_METRICS_TOKEN"
            )

    def _point_out_cors(self) -> None:
        if not self._pass.framework.has_cors:
            return
        if self._pass.cors.enabled:
            _log.warning(
                "the app has a CORS middleware of its own beside ROADWORTHY_CORS_ORIGINS, and the two may "
                "contradict each other: take the middleware out"
            )
        else:
            _log.warning(
                "the app's own CORS middleware does not reach what is answered before the app (429, 413, "
                "503), so pages cannot read that: take it out and set ROADWORTHY_CORS_ORIGINS"
            )

    def _chain(self) -> None:
        """Put our drain before the server's own handling of SIGTERM.

        A handler set while the lifespan starts runs in uvicorn's and granian's workers before their lifespan
        shutdown (measured). The server's handler closes its listener at once, so it is called after the drain
        delay; a second SIGTERM goes straight to it.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        if previous in (None, signal.SIG_DFL, signal.SIG_IGN):
            return  # nobody would end the process after us
        loop = asyncio.get_running_loop()
        shutdown, delay = self._pass.shutdown, self._pass.settings.drain_delay

        def hand_over(number: int, frame: FrameType | None) -> None:
            shutdown.begin_close()
            signal.signal(signal.SIGTERM, previous)
            if callable(previous):
                previous(number, frame)

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            if shutdown.draining:
                loop.call_soon_threadsafe(hand_over, number, frame)
                return
            loop.call_soon_threadsafe(shutdown.begin_drain)
            loop.call_soon_threadsafe(loop.call_later, delay, hand_over, number, frame)

        signal.signal(signal.SIGTERM, on_sigterm)

        def restore() -> None:
            signal.signal(signal.SIGTERM, previous)

        self._restore = restore

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the ``lifespan`` scope: ours around the app's."""
        await receive()  # lifespan.startup
        if self._ended:
            self._begin_again()
            # That of another event loop may have bound itself to it.
            self._lock = asyncio.Lock()
        try:
            await self.start()
        except BaseException as error:
            if not is_apps_own(error, asyncio.current_task()):
                raise
            self._pass.shutdown.refused = isinstance(error, SettingsError)
            message = str(error) if isinstance(error, Exception) else f"the start raised {error!r}"
            _log.error("start refused: %s", message)
            await send({"type": "lifespan.startup.failed", "message": message})
            # As frameworks do: a test client raises what the lifespan raised. Servers have the message.
            raise
        inner = _Inner(app, scope)
        failure = await inner.startup()
        if failure is not None:
            await self.stop()
            await send(failure)
            if inner.error is not None:
                raise inner.error
            return
        if inner.error is not None and self._is_failure(receive):
            await self.stop()
            raise inner.error
        await self.serving()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        failure = await inner.shutdown()
        await self.stop()
        await send(failure or {"type": "lifespan.shutdown.complete"})
        if failure is not None and inner.error is not None:
            raise inner.error

    def _is_failure(self, receive: Receive) -> bool:
        """Return whether a lifespan that raised at once has failed: frameworks that have one do not raise."""
        pass_ = self._pass
        return pass_.framework.name in _WITH_LIFESPAN and raises_to(pass_, receive)


async def refuse_start(error: Exception, receive: Receive, send: Send) -> None:
    """Report that the layer cannot be made: to servers, what is raised without a report means "no lifespan".

    Parameters:
        error: why; it is to be raised afterwards, for a test client.
        receive: the server's ASGI ``receive``.
        send: the server's ASGI ``send``.
    """
    await receive()  # lifespan.startup
    await send({"type": "lifespan.startup.failed", "message": str(error)})


class _Inner:
    """The app's own lifespan, driven from ours. An app that does not know the scope is left alone."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None
        self._knows = False
        self._failure_reported = False
        self._exit: BaseException | None = None
        self.error: BaseException | None = None
        """What came out of it besides its message of a failure."""

    async def startup(self) -> Message | None:
        """Start the app; return its failure, if it reports one."""
        self._task = asyncio.ensure_future(self._run())
        answer = await self._ask({"type": "lifespan.startup"})
        return answer if answer is not None and answer["type"] == "lifespan.startup.failed" else None

    async def shutdown(self) -> Message | None:
        """Stop the app; return its failure, if it reports one."""
        answer = await self._ask({"type": "lifespan.shutdown"})
        return answer if answer is not None and answer["type"] == "lifespan.shutdown.failed" else None

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except BaseException as error:
            if not is_apps_own(error, self._task):
                raise
            # A framework has reported it by a message. Raising before the first message means that the app
            # has no lifespan, as for every server; raising after it is a failure that nothing else reports.
            self.error = error
            if self._failure_reported:
                return
            if not isinstance(error, Exception):
                # An exit wants the process to end, and never means that there is no lifespan.
                self._exit = error
                _log.error("the app's lifespan raised %r", error, exc_info=error)
            elif self._knows:
                _log.error("the app's lifespan failed", exc_info=error)
            else:
                _log.debug("the app has no lifespan: %s", type(error).__name__)

    async def _send(self, message: Message) -> None:
        self._failure_reported |= message["type"].endswith(".failed")
        self._from_app.put_nowait(message)

    async def _receive(self) -> Message:
        message = await self._to_app.get()
        self._knows = True
        return message

    async def _ask(self, message: Message) -> Message | None:
        task = self._task
        if task is None or task.done():
            return None
        self._to_app.put_nowait(message)
        answer = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait((answer, task), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            if answer.result()["type"].endswith((".failed", "shutdown.complete")):
                await asyncio.wait((task,), timeout=1.0)
            return answer.result()
        answer.cancel()
        if self._exit is None:
            return None
        return {"type": f"{message['type']}.failed", "message": f"the app's lifespan raised {self._exit!r}"}
