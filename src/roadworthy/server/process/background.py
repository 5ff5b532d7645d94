"""Work that handlers began and did not wait for: joined when the process closes, recorded when it is lost."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import uvicorn

__all__ = ("Background",)

_log = logging.getLogger("roadworthy.server")
_UNWIND = 1.0
"""Seconds that cancelled work gets to unwind."""
_MACHINERY = (str(Path(uvicorn.__file__).parent), str(Path(__file__).parents[2]))


class Background:
    """The tasks that were begun while the service served, apart from those of servers and of this package.

    A task that ran before the first request is a loop of the service's own, which its lifespan ends.
    """

    def __init__(self) -> None:
        self._before = asyncio.all_tasks()

    def running(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done."""
        current = asyncio.current_task()
        return [
            task
            for task in asyncio.all_tasks()
            if task is not current and task not in self._before and not _is_machinery(task)
        ]

    async def join(self, seconds: float) -> int:
        """Wait for the tasks until the time is over; cancel what is left, say so, and return its number."""
        tasks = self.running()
        if tasks and seconds > 0:
            _log.info("waiting for %d background tasks", len(tasks), extra={"tasks": _names(tasks)})
            end = asyncio.get_running_loop().time() + seconds
            while tasks and (left := end - asyncio.get_running_loop().time()) > 0:
                await asyncio.wait(tasks, timeout=left)
                # Work may have begun further work.
                tasks = self.running()
        if tasks:
            _log.warning("lost %d tasks", len(tasks), extra={"tasks": _names(tasks)})
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_UNWIND)
        return len(tasks)


def _names(tasks: list[asyncio.Task[Any]]) -> list[str]:
    return sorted(getattr(task.get_coro(), "__qualname__", task.get_name()) for task in tasks)


def _is_machinery(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    file = getattr(code, "co_filename", "")
    return file.startswith(_MACHINERY)
