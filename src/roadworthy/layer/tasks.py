"""Which tasks serve one request."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

__all__ = ("runs_within",)


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
