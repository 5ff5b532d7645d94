"""Any ``concurrent.futures.Executor`` as those who carry out offloaded work: threads, Dask, others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from .job import Job

__all__ = ("Borrowed",)


class Borrowed:
    """Work in an executor, no more pieces at once than were agreed.

    An executor cannot end what it has begun: a piece that nobody waits for any more keeps its place until it
    is done, so that the bound holds.

    Parameters:
        executor: shut down when the pool closes.
        size: pieces at once.
    """

    def __init__(self, executor: Executor, size: int) -> None:
        self.size = size
        self.restarts = 0
        self.trouble = ""
        self._executor = executor
        self._running: dict[Future[Any], Job] = {}
        self._free: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, free: Callable[[], None]) -> None:
        """Note whom to call."""
        self._free = free
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Take nothing more and drop what has not begun; a thread at work ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self) -> int:
        """How many pieces are at work."""
        return len(self._running)

    @property
    def abandoned(self) -> int:
        """How many of them nobody waits for any more."""
        return sum(job.future.done() for job in self._running.values())

    def prepare(self, job: Job) -> None:
        """Refuse nothing: the executor itself knows what it can do."""

    def take(self, job: Job) -> bool:
        """Submit the job."""
        if len(self._running) >= self.size:
            return False
        try:
            if isinstance(self._executor, ThreadPoolExecutor):
                future = self._executor.submit(job.context.run, job.function, *job.arguments)
            else:
                future = self._executor.submit(job.function, *job.arguments)
        except Exception as error:
            job.fail(error)
            return True
        self._running[future] = job
        future.add_done_callback(self._done)
        return True

    def end(self, job: Job, patience: float) -> None:
        """Take it back if it has not begun."""
        for future, running in tuple(self._running.items()):
            if running is job:
                future.cancel()

    def _done(self, future: Future[Any]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, future)

    def _settle(self, future: Future[Any]) -> None:
        job = self._running.pop(future)
        if not future.cancelled():
            failure = future.exception()
            if failure is None:
                job.settle(future.result())
            else:
                job.fail(failure)
        self._free()
