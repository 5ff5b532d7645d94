"""Running the event loop to the end of the server, whatever tasks and callbacks of the app raise.

asyncio and uvloop hand ``SystemExit`` and ``KeyboardInterrupt`` out of the loop, whichever task or callback
raised them. The layer keeps those of the request's own task in (:mod:`roadworthy.exits`), and cannot
those of a task that the app or its framework starts: a streamed body of Starlette, an app behind its
``BaseHTTPMiddleware``, a view of Django, a task group. By then asyncio has given the exception to the task's
future, so whoever awaits it gets it, and a task that nobody awaits is recorded like any other
(``layer/unhandled.py``). So the loop simply runs on.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from ...exits import comes_from_signal

__all__ = ("new_loop", "run_to_the_end")

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_GENERATOR


def new_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop of a server: uvloop's where it is installed, asyncio's elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_to_the_end(
    main: Coroutine[Any, Any, None], loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Run ``main`` in a new event loop until it is done, and close the loop.

    Parameters:
        main: the server. What it raises itself is raised.
        loop_factory: makes the loop.

    Raises:
        BaseException: what ``main`` raised, or a signal handler.
    """
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        while True:
            try:
                loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as exception:
                if task.done() or comes_from_signal(exception):
                    raise
                _record(loop, exception)
            else:
                return


def _record(loop: asyncio.AbstractEventLoop, exception: BaseException) -> None:
    """Have what a callback raised recorded; what a task raised is heard of by way of the task."""
    if not _ran_in_task(exception.__traceback__):
        loop.call_exception_handler({"message": "a callback raised an exit", "exception": exception})


def _ran_in_task(trace: TracebackType | None) -> bool:
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_flags & _COROUTINE and code is not run_to_the_end.__code__:
            return True
        trace = trace.tb_next
    return False
