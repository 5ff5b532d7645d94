"""Failures that nothing handles: of a task that nothing awaits, of a callback of the event loop.

asyncio calls the loop's exception handler, whose default record bears the id of whatever request the loop
happens to serve at that moment, or none. Here it is the request that the failed work belonged to.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeAlias

from ..settings import Settings
from .exchange import current_exchange
from .logs.routing import already_recorded, forget_record

__all__ = ("KINDS", "Unhandled")

KINDS = ("task", "callback")
"""``task``: nobody waited for it, or for the future; ``callback``: anything else that the loop called."""

_Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

_log = logging.getLogger("roadworthy.unhandled")


class Unhandled:
    """Records each such failure once, with its stack and its request's id, and counts it.

    A handler that was set before keeps recording; the failures are counted all the same.

    Parameters:
        settings: ``exit_on_unhandled`` ends the process after the first.
        ending: called before the process is asked to end.
    """

    def __init__(self, settings: Settings, ending: Callable[[], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._ends = settings.exit_on_unhandled
        self._ending = ending
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: _Handler | None = None

    def start(self) -> None:
        """Be the running loop's exception handler."""
        self._loop = asyncio.get_running_loop()
        self._before = self._loop.get_exception_handler()
        self._loop.set_exception_handler(self._handle)

    def stop(self) -> None:
        """Put back what was there, unless another handler has taken the place since."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._before)

    def _handle(self, loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        exception = details.get("exception")
        # A listener that finds no descriptor free tries again by itself; what has no exception is a warning.
        if exception is None or "socket" in details:
            self._default(loop, details)
            return
        source = details.get("future") or details.get("task")
        kind = "callback" if source is None else "task"
        self.counts[kind] += 1
        if self._before is not None:
            self._before(loop, details)
        else:
            context = _context_of(source) or _context_of(details.get("handle")) or copy_context()
            try:
                context.run(_record, kind, exception, source)
            except RuntimeError:
                # uvloop calls this from within the callback's context, and none is entered twice.
                _record(kind, exception, source)
        if self._ends:
            self._ends = False
            _log.critical("the process ends: exit_on_unhandled is set")
            self._ending()
            # As a service manager would: what is in flight is finished, and resources are closed.
            os.kill(os.getpid(), signal.SIGTERM)

    def _default(self, loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        if self._before is not None:
            self._before(loop, details)
        else:
            loop.default_exception_handler(details)


def _record(kind: str, exception: BaseException, source: object) -> None:
    exchange = current_exchange.get()
    if already_recorded(exception, exchange):
        # The service has logged it and let it go on. The same object may be raised another time.
        forget_record(exception)
        return
    # The id of the request is in every record; the route is what the failures of a service are sorted by.
    about: dict[str, Any] = {} if exchange is None else {"route": exchange.known_route()}
    if kind == "task":
        about["task"] = _name(source)
        _log.error("a task failed and nobody handled it", exc_info=exception, extra=about)
    else:
        _log.error("a callback failed", exc_info=exception, extra=about)


def _name(source: Any) -> str:
    coroutine: Any = source.get_coro() if hasattr(source, "get_coro") else source
    return getattr(coroutine, "__qualname__", type(coroutine).__name__)


def _context_of(source: object) -> Context | None:
    """Return the context that a task or a handle runs in."""
    if source is None:
        return None
    get_context = getattr(source, "get_context", None)
    if get_context is not None:  # Python 3.12
        found = get_context()
        return found if isinstance(found, Context) else None
    # On 3.11 a task keeps it where only the garbage collector sees it.
    return next((one for one in gc.get_referents(source) if isinstance(one, Context)), None)
