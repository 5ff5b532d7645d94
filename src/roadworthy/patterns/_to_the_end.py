"""Work that has to be done to its end, whatever happens to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

__all__ = ("to_the_end", "to_the_end_here")


async def to_the_end(work: Awaitable[None]) -> None:
    """Await ``work``; a cancellation takes effect when it is done.

    COMMIT and ROLLBACK cancelled half-way leave a connection in a state that nobody knows
    (sqlalchemy/sqlalchemy#8145, #12099).
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if not task.cancelled():
                cancelled = cancelled or error
        except BaseException:  # of the task, which has ended
            break
    if cancelled is None:
        task.result()
        return
    if not task.cancelled():
        task.exception()  # the cancellation is what is raised
    raise cancelled  # itself: anyio knows its own by their message


async def to_the_end_here(work: Coroutine[Any, Any, None]) -> None:
    """Do as :func:`to_the_end` without a task of its own, which costs as much as a short COMMIT.

    Parameters:
        work: awaits only what others complete, and cancels nothing to bound it: ``asyncio.timeout`` in it
            would be taken for a cancellation from outside.
    """
    cancelled: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    while True:
        try:
            awaited = work.send(None)
        except StopIteration:
            break
        except BaseException:
            if cancelled is not None:  # it is what is raised
                break
            raise
        if awaited is None:  # a bare yield gives way to others
            awaited = loop.create_future()
            loop.call_soon(awaited.set_result, None)
        else:
            awaited._asyncio_future_blocking = False  # as a task does that has got it
        while not awaited.done():
            waiter = loop.create_future()
            awaited.add_done_callback(_Waker(waiter))
            try:
                await waiter
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
    if cancelled is not None:
        raise cancelled


class _Waker:
    __slots__ = ("_waiter",)

    def __init__(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = waiter

    def __call__(self, _: object) -> None:
        if not self._waiter.done():
            self._waiter.set_result(None)
