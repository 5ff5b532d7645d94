"""New code under load: new workers beside the old ones, which end once all new ones are ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .child import Worker
from .pool import WorkerPool

__all__ = ("Reload",)

_POLL = 0.1

_log = logging.getLogger("roadworthy.server")


class Reload:
    """Replaces a pool by one of the next generation.

    Parameters:
        pool: whom.
        settled: called when new workers have taken over, or the old ones serve on.
        trouble: returns why no new worker could be started, empty when one can.

    Attributes:
        again: it was asked for once more meanwhile.
    """

    def __init__(self, pool: WorkerPool, settled: Callable[[], None], trouble: Callable[[], str]) -> None:
        self.again = False
        self._pool = pool
        self._settled = settled
        self._trouble = trouble
        self._refused = False
        self._task: asyncio.Task[None] | None = None

    def remember(self) -> None:
        """Have it done once more. New workers that are not ready yet are given up for newer ones at once."""
        self.again = True

    def refuse(self, worker: Worker) -> None:
        """Take note that a worker found nothing to serve: to start it again would not change that."""
        self._refused = self._refused or worker.generation == self._pool.generation

    def begin(self) -> None:
        """Begin; this returns at once."""
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Leave it as it is: the service is about to end."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        pool = self._pool
        if trouble := self._trouble():
            _log.error("not reloaded: %s; the old workers serve on", trouble)
            self._settled()
            return
        _log.info("reloading", extra={"workers": pool.wanted})
        before = pool.generation
        old = pool.current()
        pool.generation += 1
        self._refused = False
        pool.fill()
        while not pool.all_ready():
            if self.again:
                _log.info("reloading once more: the new workers are given up for newer ones")
                self._give_up(before)
                return
            if self._refused or pool.failing():
                _log.error("not reloaded: the new workers do not come up; the old ones serve on")
                self._give_up(before)
                return
            await asyncio.sleep(_POLL)
        for worker in old:
            await self._retire(worker)
        _log.info("reloaded")
        self._settled()

    def _give_up(self, before: int) -> None:
        for worker in self._pool.current():
            worker.state = "leaving"
            worker.kill()
        self._pool.generation = before
        self._pool.fill()
        self._settled()

    async def _retire(self, worker: Worker) -> None:
        if worker not in self._pool.workers:
            return
        self._pool.dismiss(worker)
        while worker in self._pool.workers:  # noqa: ASYNC110 - the pool changes ten times a second
            await asyncio.sleep(_POLL)
