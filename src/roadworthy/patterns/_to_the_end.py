"""Work that has to be done to its end, whatever happens to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

__all__ = ("to_the_end",)


async def to_the_end(work: Awaitable[None]) -> None:
    """Await ``work``; a cancellation takes effect when it is done.

    COMMIT and ROLLBACK cancelled half-way leave a connection in a state that nobody knows
    (sqlalchemy/sqlalchemy#8145, #12099).
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is None:
        task.result()
        return
    if not task.cancelled():
        task.exception()  # the cancellation is what is raised
    raise cancelled  # itself: anyio knows its own by their message
