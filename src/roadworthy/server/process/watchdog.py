"""Ends the process when its own shutdown hangs, and says what was cut."""

from __future__ import annotations

import concurrent.futures.thread
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Literal

__all__ = ("Step", "Watchdog", "threads_in_the_way")

Step = Literal["start", "requests", "lifespan", "threads", "rest"]

_log = logging.getLogger("roadworthy.server")


class Watchdog:
    """A thread that ends the process once a step of the shutdown has taken too long.

    asyncio and the interpreter wait for threads without an end, and a handler may hold the loop for ever.

    Parameters:
        flush: writes out the records before the end.
    """

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._news = threading.Condition()
        self._step: Step = "requests"
        self._end = 0.0
        self._thread: threading.Thread | None = None

    def expect(self, step: Step, seconds: float) -> None:
        """Give the step that begins now this long; the one before it is over."""
        with self._news:
            self._step = step
            self._end = time.monotonic() + seconds
            self._news.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="roadworthy-watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with self._news:
            while (left := self._end - time.monotonic()) > 0:
                self._news.wait(left)
            step = self._step
        if step == "threads":
            names = [one.name for one in threads_in_the_way()]
            _log.warning("cut %d threads that did not end", len(names), extra={"threads": names})
        else:
            _log.error("cut: the event loop is held, or the %s did not end", step)
        self._flush()
        # What remains before or after the requests does not make them any less answered.
        os._exit(1 if step == "requests" else 0)


def threads_in_the_way() -> list[threading.Thread]:
    """Return the threads that the interpreter waits for at its end; also daemons, of executors."""
    of_executors = getattr(concurrent.futures.thread, "_threads_queues", {})
    others = [one for one in threading.enumerate() if one is not threading.main_thread()]
    return [one for one in others if not one.daemon or one in of_executors]
