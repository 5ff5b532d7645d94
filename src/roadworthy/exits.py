"""Exceptions that end more than what raised them: SystemExit, KeyboardInterrupt, and others beside Exception.

A library that an app calls may raise ``SystemExit`` (argparse, click), and so may a handler. asyncio lets it
and ``KeyboardInterrupt`` through the task and out of the event loop, so that one request ends the process and
all others with it. So they are caught inside of the coroutine that calls the app. What comes from outside is
not caught: a signal, a cancellation, the end of the interpreter.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Generator, Iterator
from types import CodeType, TracebackType
from typing import Any

__all__ = ("Contained", "ExitInTaskError", "comes_from_signal", "is_apps_own")


class ExitInTaskError(RuntimeError):
    """Raised in a task in place of an exit (its cause), which would end the event loop as well."""

    def __init__(self, exception: BaseException) -> None:
        super().__init__(f"{type(exception).__name__} was raised in a task; it does not end the process")


class Contained(Coroutine[Any, Any, Any]):
    """A coroutine out of which an exit comes as :class:`ExitInTaskError`; for tasks made for the app's code.

    A class and not a coroutine around it: one that is cancelled before its first step has to close its inner
    one, and a coroutine that has not begun can do nothing.

    Parameters:
        inner: the coroutine of the app.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner
        self.__qualname__ = getattr(inner, "__qualname__", type(inner).__name__)

    def send(self, value: Any) -> Any:
        """Take one step."""
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as exception:
            raise self._instead(exception) from exception

    def throw(self, *exception: Any) -> Any:
        """Raise within the coroutine: a cancellation."""
        try:
            return self._inner.throw(*exception)
        except (SystemExit, KeyboardInterrupt) as exit_:
            raise self._instead(exit_) from exit_

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._inner.__await__()

    def _instead(self, exception: BaseException) -> BaseException:
        return exception if comes_from_signal(exception) else ExitInTaskError(exception)


def is_apps_own(exception: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Return whether ``exception`` is a failure of the app's code, and not a request from outside to end.

    ``CancelledError`` is the app's own unless ``task`` was cancelled (it awaited a task that was
    cancelled, or raised it). ``GeneratorExit`` is unless the interpreter closes a coroutine that nobody runs.
    ``SystemExit``, ``KeyboardInterrupt`` and every other are unless a signal handler raised them.

    Parameters:
        exception: what came out of the app.
        task: the task that called the app.
    """
    if isinstance(exception, Exception):
        return True
    if isinstance(exception, asyncio.CancelledError):
        return task is not None and not task.cancelling()
    if isinstance(exception, GeneratorExit):
        return task is not None and _running_task() is task
    return not comes_from_signal(exception)


def comes_from_signal(exception: BaseException) -> bool:
    """Return whether a signal handler raised ``exception``; Python runs handlers amid whatever is running.

    The handler's frame is in the traceback. Only Python's own for SIGINT has none: where it is installed,
    every ``KeyboardInterrupt`` of the main thread may be Ctrl-C.
    """
    if isinstance(exception, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is _PYTHONS_OWN:
        return threading.current_thread() is threading.main_thread()
    handlers = set(_handlers())
    return any(code in handlers for code in _codes(exception.__traceback__))


_PYTHONS_OWN = signal.default_int_handler


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # functools.partial
        code = getattr(handler, "__code__", None)
        if code is None and callable(handler):
            code = getattr(type(handler).__call__, "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _codes(trace: TracebackType | None) -> Iterator[CodeType]:
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
