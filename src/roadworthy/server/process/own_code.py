"""Which tasks and threads run code of the service, and not of libraries alone."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

__all__ = ("OwnCode", "files_of_task")

_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_INSTALLED = ("/site-packages/", "/dist-packages/")


class OwnCode:
    """Tells the code of a service from that of libraries, by the files that it is in.

    A task or thread in which libraries alone run is most likely a loop that nobody ends: python-socketio
    looks after its clients in a task, and marimo waits for its kernels in threads.

    Parameters:
        target: ``module:attribute`` of the app, which has been imported. Its package is the service's own,
            even where it is installed like a library.
    """

    def __init__(self, target: str) -> None:
        package = target.partition(":")[0].partition(".")[0]
        file = getattr(sys.modules.get(package), "__file__", None)
        self._own = _folder(file) if file else None

    def runs_in_task(self, task: asyncio.Task[Any]) -> bool:
        """Return whether one of the coroutines that wait for each other in the task is the service's."""
        return self._is_among(files_of_task(task))

    def runs_in_thread(self, thread: Thread) -> bool:
        """Return whether one of the functions that run in the thread is the service's."""
        return self._is_among(_files_of_thread(thread))

    def _is_among(self, files: Iterable[str]) -> bool:
        return any(map(self._is_own, files))

    def _is_own(self, file: str) -> bool:
        if self._own and file.startswith(self._own):
            return True
        # What is in no file, such as a cell of a notebook, is somebody's own. "<frozen …>" is Python's.
        installed = any(part in file for part in _INSTALLED)
        return not (installed or file.startswith((_STANDARD_LIBRARY, "<frozen ")))


def files_of_task(task: asyncio.Task[Any]) -> Iterator[str]:
    """Yield the files of the coroutines that wait for each other in a task, outermost first."""
    one: Any = task.get_coro()
    while (code := getattr(one, "cr_code", None) or getattr(one, "gi_code", None)) is not None:
        yield code.co_filename
        one = one.cr_await if hasattr(one, "cr_await") else one.gi_yieldfrom


def _files_of_thread(thread: Thread) -> Iterator[str]:
    frame = sys._current_frames().get(thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _folder(file: str) -> str:
    return f"{Path(file).parent}/" if Path(file).name == "__init__.py" else file
