"""Which tasks serve one request, and who has cancelled them."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

__all__ = ("runs_within", "was_cancelled_within")

_SERVERS = ("roadworthy.server", "uvicorn", "granian", "hypercorn")
"""Packages whose tasks serve one request each, and which cancel them only when they shut down."""


def runs_within(task: asyncio.Task[Any]) -> bool:
    """Return whether the running task is ``task``, or one of a task group of anyio that ``task`` waits for.

    Starlette's ``BaseHTTPMiddleware`` runs the app in such a task. A task made by ``asyncio.create_task`` may
    outlive the request by intention, and is none of them.
    """
    if asyncio.current_task() is task:
        return True
    if "anyio" not in sys.modules:
        return False
    from anyio import get_current_task, get_running_tasks

    wanted, parent = id(task), get_current_task().parent_id
    if parent is None or parent == wanted:
        return parent is not None
    parents = {one.id: one.parent_id for one in get_running_tasks()}
    while parent is not None and parent != wanted:
        parent = parents.get(parent)
    return parent is not None


def was_cancelled_within(exception: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Return whether ``exception`` is the end of ``task`` that its own request asked for, and take it back.

    A handler may cancel the task that serves it, by itself or by a callback or another task, and such a
    cancellation looks like one by the server. Only a task that a known server has made for one request is
    looked at: a client within the process (a test, a timeout around a call) calls the app in its own.

    Parameters:
        exception: what came out of the app while the server does not shut down.
        task: the task that called the app.
    """
    if not isinstance(exception, asyncio.CancelledError) or task is None or not task.cancelling():
        return False
    frame = getattr(task.get_coro(), "cr_frame", None)
    module: str = "" if frame is None else frame.f_globals.get("__name__", "")
    if not module.startswith(_SERVERS):
        return False
    while task.uncancel():
        pass
    return True
