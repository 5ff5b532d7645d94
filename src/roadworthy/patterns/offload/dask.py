"""A Dask cluster as those who carry out offloaded work.

Dask cannot end a task that runs (dask/distributed#4694). A piece that nobody waits for any more is taken
back if it has not begun; else it keeps its place until it is done, so that the bound holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...settings import SettingsError, cluster_problems
from .dask_link import Link, Piece
from .job import AwayError, Job
from .travel import pack

if TYPE_CHECKING:
    from ...settings import Settings

__all__ = ("Cluster",)

_FAREWELL = 1.6
"""Seconds for the connection to be closed, at most."""
_RETRY_AFTER = 2
"""Seconds after which a client's repeat is worth it while the scheduler is away."""

_log = logging.getLogger("roadworthy.offload")


class Cluster:
    """Work in a Dask cluster, no more pieces at once than were agreed.

    Parameters:
        settings: ``offload``, the certificates, and ``pool_timeout``, seconds for a connection.
        size: pieces at once; as many as the cluster's workers have threads when None.

    Raises:
        SettingsError: the certificates cannot be used, or the package ``distributed`` is missing.
    """

    def __init__(self, settings: Settings, size: int | None) -> None:
        problems = cluster_problems(settings)
        if problems:
            raise SettingsError(problems)
        self.restarts = 0
        self._fixed = size
        self._threads = 0
        self._away = "the connection to the Dask scheduler is not open"
        self._pieces: dict[Job, Piece] = {}
        self._free: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settings = settings
        self._link: Link | None = None
        self._first: asyncio.Future[str] | None = None

    @property
    def size(self) -> int:
        """How many pieces are done at once: one at least, because some clusters grow when there is work."""
        return self._fixed or max(1, self._threads)

    @property
    def trouble(self) -> str:
        """Why there is no work to be had, "" when there is."""
        return self._away or ("" if self._threads else "the Dask cluster has no workers")

    @property
    def busy(self) -> int:
        """How many pieces are with the cluster."""
        return len(self._pieces)

    @property
    def abandoned(self) -> int:
        """How many of them nobody waits for any more."""
        return sum(job.future.done() for job in self._pieces)

    async def start(self, free: Callable[[], None]) -> None:
        """Connect to the scheduler; workers may come later.

        Raises:
            RuntimeError: it does not answer, or is of another version.
        """
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._first = self._loop.create_future()
        self._link = Link(self._settings, self)
        self._link.start()
        trouble = await self._first
        if trouble:
            _log.error("offloaded work has no workers: %s", trouble)
            raise RuntimeError(trouble)

    async def stop(self) -> None:
        """Take back what has not begun and leave; what runs in the cluster ends by itself."""
        link, self._link = self._link, None
        if link is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await link.close()

    def prepare(self, job: Job) -> None:
        """Pickle the job."""
        job.payload = pack(job)

    def take(self, job: Job) -> bool:
        """Send the job, or fail it while there is no connection."""
        if self._away or self._link is None:
            job.fail(AwayError("The cluster for this work cannot be reached", retry_after=_RETRY_AFTER))
            return True
        if len(self._pieces) >= self.size:
            return False
        piece = self._pieces[job] = Piece(job)
        self._link.call(self._link.begin, piece)
        return True

    def end(self, job: Job, patience: float) -> None:
        """Take it back if it has not begun."""
        piece = self._pieces.get(job)
        if piece is not None and self._link is not None:
            self._link.call(piece.leave)

    def tell(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have the loop that serves call something; from the link's thread."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(call, *arguments)

    def found(self, threads: int) -> None:
        """The scheduler answers, and its workers have that many threads."""
        grown = threads > self._threads or bool(self._away)
        if self._away and self._first is not None and self._first.done():
            _log.warning("the Dask cluster for offloaded work is back")
        self._away, self._threads = "", threads
        self._answer_start("")
        if grown:
            self._free()

    def lost(self, why: str) -> None:
        """There is no connection."""
        if not self._away:
            _log.error("offloaded work is refused until its cluster is back: %s", why)
        self._away = why
        self._answer_start(why)
        self._free()

    def settled(self, piece: Piece, end: Callable[[Job], None] | None) -> None:
        """A piece has ended, or was taken back: there is no ``end`` then."""
        self._pieces.pop(piece.job, None)
        if end is not None:
            end(piece.job)
        self._free()

    def _answer_start(self, trouble: str) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(trouble)
