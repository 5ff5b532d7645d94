"""Work that handlers began and did not wait for: joined when the process closes, recorded when it is lost."""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

__all__ = ("Background",)

_log = logging.getLogger("roadworthy.server")
_UNWIND = 1.0
"""Seconds that cancelled work gets to unwind."""
_MACHINERY = (str(Path(uvicorn.__file__).parent), str(Path(__file__).parents[2]))
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_INSTALLED = ("/site-packages/", "/dist-packages/")


class Background:
    """The tasks that were begun while the service served, apart from those of servers and of this package.

    A task that ran before the first request is a loop of the service's own, which its lifespan ends. A task
    in which only libraries run is most likely a loop that nobody ends (python-socketio looks after its
    clients in one, begun by the first), so it gets less time and is not called lost.

    Parameters:
        target: ``module:attribute`` of the app that is served; its package is none of the libraries, even
            where it is installed like one.
        library_seconds: what tasks of libraries get.
    """

    def __init__(self, target: str, library_seconds: float) -> None:
        self._before = asyncio.all_tasks()
        self._own = _folder_of(target.partition(":")[0].partition(".")[0])
        self._library_seconds = library_seconds

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
            end, library_end = now() + seconds, now() + min(seconds, self._library_seconds)
            while tasks:
                own = self._own_of(tasks)
                if (left := (end if own else library_end) - now()) <= 0:
                    break
                await asyncio.wait(own or tasks, timeout=left)
                # Work may have begun further work.
                tasks = self.running()
        if tasks:
            own = self._own_of(tasks)
            if own:
                _log.warning("lost %d tasks", len(own), extra={"tasks": _names(own)})
            if len(own) < len(tasks):
                of_libraries = [task for task in tasks if task not in own]
                _log.info(
                    "ended %d tasks of libraries", len(of_libraries), extra={"tasks": _names(of_libraries)}
                )
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_UNWIND)
        return len(tasks)

    def _own_of(self, tasks: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
        """Return the tasks in which code runs that is no library's."""
        return [task for task in tasks if any(map(self._is_own, _files(task)))]

    def _is_own(self, file: str) -> bool:
        if self._own and file.startswith(self._own):
            return True
        return not (file.startswith(_STANDARD_LIBRARY) or any(part in file for part in _INSTALLED))


def _folder_of(package: str) -> str | None:
    file = getattr(sys.modules.get(package), "__file__", None)
    return str(Path(file).parent) + "/" if file and Path(file).name == "__init__.py" else file


def _names(tasks: list[asyncio.Task[Any]]) -> list[str]:
    return sorted(getattr(task.get_coro(), "__qualname__", task.get_name()) for task in tasks)


def _files(task: asyncio.Task[Any]) -> Iterator[str]:
    """Yield the files of the coroutines that wait for each other in a task, outermost first."""
    one: Any = task.get_coro()
    while (code := getattr(one, "cr_code", None) or getattr(one, "gi_code", None)) is not None:
        yield code.co_filename
        one = one.cr_await if hasattr(one, "cr_await") else one.gi_yieldfrom


def _is_machinery(task: asyncio.Task[Any]) -> bool:
    return next(_files(task), "").startswith(_MACHINERY)
