"""Work that handlers began and did not wait for: joined when the process closes, recorded when it is lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from contextvars import Context
from pathlib import Path
from typing import Any

import uvicorn

from ...layer.exchange import current_exchange
from .own_code import OwnCode, files_of_task

__all__ = ("Background",)

_log = logging.getLogger("roadworthy.server")
_UNWIND = 1.0
"""Seconds that cancelled work gets to unwind."""
_MACHINERY = (str(Path(uvicorn.__file__).parent), str(Path(__file__).parents[2]))


class Background:
    """The tasks that were begun while the service served, apart from those of servers and of this package.

    What a request began and left is its work. Two kinds of tasks are most likely loops, and get less time. In
    some of a request only libraries run: python-socketio looks after its clients in one, begun by the first.
    They are ended then. Others no request began: they belong to what the lifespan began, and it ends them.

    Parameters:
        own_code: tells the tasks of the service from those of libraries.
        loop_seconds: what tasks get that are no work of a request.
    """

    def __init__(self, own_code: OwnCode, loop_seconds: float) -> None:
        self._before = asyncio.all_tasks()
        self._own_code = own_code
        self._loop_seconds = loop_seconds

    def running(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done."""
        current = asyncio.current_task()
        return [
            task
            for task in asyncio.all_tasks()
            if task is not current and task not in self._before and not _is_machinery(task)
        ]

    async def join(self, seconds: float) -> int:
        """Wait for the tasks until the time is over; cancel and record what is left, return its number."""
        tasks = self.running()
        if tasks and seconds > 0:
            _log.info("waiting for %d background tasks", len(tasks), extra={"tasks": _names(tasks)})
            now = asyncio.get_running_loop().time
            end, loop_end = now() + seconds, now() + min(seconds, self._loop_seconds)
            while tasks:
                work = self._work_of(tasks)
                if (left := (end if work else loop_end) - now()) <= 0:
                    break
                await asyncio.wait(work or tasks, timeout=left)
                # Work may have begun further work.
                tasks = self.running()
        begun = [task for task in tasks if _has_request(task)]
        work = self._work_of(begun)
        if work:
            _log.warning("lost %d tasks", len(work), extra={"tasks": _names(work)})
        if len(work) < len(begun):
            loops = [task for task in begun if task not in work]
            _log.info("ended %d tasks of libraries", len(loops), extra={"tasks": _names(loops)})
        for task in begun:
            task.cancel()
        if begun:
            await asyncio.wait(begun, timeout=_UNWIND)
        return len(begun)

    def _work_of(self, tasks: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
        """Return the tasks that a request began, and in which code runs that is no library's."""
        return [task for task in tasks if _has_request(task) and self._own_code.runs_in_task(task)]


def _names(tasks: list[asyncio.Task[Any]]) -> list[str]:
    return sorted(getattr(task.get_coro(), "__qualname__", task.get_name()) for task in tasks)


def _has_request(task: asyncio.Task[Any]) -> bool:
    """Return whether a task began within a request: it has a copy of the request's context."""
    if sys.version_info >= (3, 12):
        return task.get_context().get(current_exchange) is not None
    held = (one for one in gc.get_referents(task) if isinstance(one, Context))
    return any(context.get(current_exchange) is not None for context in held)


def _is_machinery(task: asyncio.Task[Any]) -> bool:
    return next(files_of_task(task), "").startswith(_MACHINERY)
