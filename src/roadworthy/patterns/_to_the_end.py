"""Work that has to be done to its end, whatever happens to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, Self

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


@coroutine
def to_the_end_here(
    work: Coroutine[Any, Any, None], ended: asyncio.Future[None]
) -> Generator[Any, None, None]:
    """Do as :func:`to_the_end` without a task of its own, which costs as much as a short COMMIT.

    Parameters:
        work: awaits only what others complete, and cancels nothing to bound it: ``asyncio.timeout`` in it
            would be taken for a cancellation from outside.
        ended: hears how the work ended, for others who wait for it.
    """
    kept = _Kept()
    while True:
        try:
            awaited = work.send(None)
        except StopIteration:
            ended.set_result(None)
            break
        except BaseException as error:
            ended.set_exception(error)
            ended.exception()  # raised here, too
            if kept.cancelled is not None:  # it is what is raised
                break
            raise
        try:
            if awaited is None:  # gives way to others
                yield
            else:
                yield kept.of(awaited)
        except GeneratorExit:  # nobody goes on with it
            work.close()
            raise
        except asyncio.CancelledError as error:
            if awaited is None or not awaited.cancelled():
                kept.cancelled = kept.cancelled or error
        except BaseException:  # noqa: S110 - of what was awaited, which raises it inside of the work
            pass
    if kept.cancelled is not None:
        raise kept.cancelled


class _Kept:
    """What a task waits for in place of a future that its cancellation would cancel.

    To a task anything is a future that says so (``asyncio.isfuture``). It asks it for its loop, to be woken
    up, and, where it is cancelled itself, for the cancellation, which it then regards as delivered.
    """

    __slots__ = ("_asyncio_future_blocking", "_future", "cancelled")

    def __init__(self) -> None:
        self.cancelled: asyncio.CancelledError | None = None
        """The first cancellation, with its message: anyio knows its own by that."""

    def of(self, future: asyncio.Future[Any]) -> Self:
        """Stand for ``future``."""
        future._asyncio_future_blocking = False  # as a task does that has got it
        self._asyncio_future_blocking = True
        self._future = future
        return self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the future's."""
        return self._future.get_loop()

    def add_done_callback(self, wake: Callable[[Any], object], *, context: Context) -> None:
        """Have the task woken up by the future."""
        self._future.add_done_callback(wake, context=context)

    def cancel(self, msg: Any = None) -> bool:
        """Keep the cancellation of the task for later."""
        if self.cancelled is None:
            self.cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        return True
