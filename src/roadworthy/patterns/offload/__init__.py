"""Offloaded work: what computes for long runs beside the event loop, in bounded number, and can be ended.

A second of computing on the event loop is a second in which every other request waits. In a thread it is
little better, unless the work releases the interpreter's lock. So it goes to processes, which can also be
killed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import os
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, cast

from ...errors import TimeoutError, UnavailableError
from .executor import Borrowed
from .job import AwayError, Crew, Job, name_of
from .processes import Processes
from .travel import RemoteError, WorkerCrashedError

if TYPE_CHECKING:
    from ...layer.resources import Watch
    from ...settings import Settings

__all__ = ("OffloadPool", "OffloadStats", "RemoteError", "WorkerCrashedError", "offload")

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")

_PATIENCE = 0.1
"""Seconds that work gets to complete once its caller is gone. A new process costs as much computing: short
work must not cost that whenever a client leaves."""
_NICENESS = 10
"""How far workers stand back where the cores are short: at 10 they get a tenth of what the serving process
does (sched(7): each step is a factor of 1.25)."""
_LONGEST_ADVICE = 60
_OUTCOMES = ("ok", "error", "timeout", "crashed", "cancelled", "refused", "unavailable")

_log = logging.getLogger("roadworthy.offload")
_open: list[OffloadPool] = []


@dataclass(frozen=True, slots=True)
class OffloadStats:
    """Numbers of a pool.

    Parameters:
        workers: pieces that can be done at once.
        busy: pieces that are being done.
        waiting: pieces in the queue.
        queue: how many may wait there.
    """

    workers: int
    busy: int
    waiting: int
    queue: int


class OffloadPool:
    """Those who work for :func:`offload`, opened and closed with the service: processes, or a Dask cluster.

    ``app = roadworthy(app, resources=[OffloadPool()])``; in a script or a test ``async with OffloadPool():``.

    Parameters:
        settings: those whose names begin with ``offload``; read from the environment when left out.
        workers: pieces of work at once, at least 1.
        queue: pieces that may wait for a worker, 0 or more; further ones are refused.
        timeout: seconds from the call to the result, more than 0.
        executor: do the work there instead of in processes of the pool's own: a ``ThreadPoolExecutor`` for
            work that releases the interpreter's lock (compression, hashes, numpy). It is shut down
            with the pool. What runs in it cannot be ended: at the deadline the caller gets the error; the
            work keeps its place to its end.
        niceness: by how much worker processes stand back behind the one that serves, 0 to 19.
        name: for records, metrics and health.

    Raises:
        ValueError: a number is out of its range.
        SettingsError: a file or a package for the Dask cluster is missing.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        workers: int | None = None,
        queue: int | None = None,
        timeout: float | None = None,
        executor: Executor | None = None,
        niceness: int = _NICENESS,
        name: str = "offload",
    ) -> None:
        if settings is None:
            # Their library takes half a second to import; a pool with settings of its own has them already.
            from ...settings import load_settings

            settings = load_settings()
        self.name = name
        self._queue = settings.offload_queue if queue is None else queue
        self._timeout = settings.offload_timeout if timeout is None else timeout
        if (workers is not None and workers < 1) or self._queue < 0 or self._timeout <= 0:
            raise ValueError("an offload pool has workers >= 1, queue >= 0, timeout > 0")
        # Of the time that the layer gives to a resource for closing, this is for the work.
        self._grace = 0.8 * settings.pool_timeout
        self._crew = _crew(settings, workers or settings.offload_workers, executor, niceness)
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._outcomes: Counter[str] = Counter()
        self._seconds = 0.0
        self._repeats = 0
        self._is_open = False

    async def start(self) -> None:
        """Start the workers and wait until they are ready.

        Raises:
            RuntimeError: they do not come up.
        """
        try:
            await self._crew.start(self._assign)
        except BaseException:
            await self._crew.stop()
            raise
        self._is_open = True
        _open.append(self)

    async def ping(self) -> None:
        """Raise when there are no workers to be had. A full queue is load and not a fault.

        Raises:
            RuntimeError: says what happens to them.
        """
        if not self._is_open:
            raise RuntimeError("the offload pool is closed")
        if self._crew.trouble:
            raise RuntimeError(self._crew.trouble)

    async def stop(self) -> None:
        """Refuse new work, wait for what there is as long as the layer lets a resource, end the rest."""
        if self._is_open:
            self._is_open = False
            _open.remove(self)
        try:
            if self._jobs:
                await asyncio.wait([job.future for job in self._jobs], timeout=self._grace)
        finally:
            if self._jobs:
                _log.warning("cut %d pieces of offloaded work", len(self._jobs))
            self._waiting.clear()
            for job in tuple(self._jobs):
                job.fail(UnavailableError("The service is shutting down"))
            await self._crew.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def stats(self) -> OffloadStats:
        """Return the numbers of this moment."""
        return OffloadStats(self._crew.size, self._crew.busy, len(self._waiting), self._queue)

    def report_to(self, watch: Watch) -> None:
        """Put the pool's numbers into the metrics; the layer calls it once."""
        labels = {"pool": self.name}
        gauges: list[tuple[str, str, Callable[[], float]]] = [
            ("offload_workers", "Pieces of work that can be done at once.", lambda: self._crew.size),
            ("offload_busy", "Pieces of work that are being done.", lambda: self._crew.busy),
            ("offload_queued", "Pieces of work that wait for a worker.", lambda: len(self._waiting)),
            (
                "offload_abandoned",
                "Pieces of work that go on although nobody waits for them, because they cannot be ended.",
                lambda: self._crew.abandoned,
            ),
        ]
        for name, text, read in gauges:
            watch(name, text, read, kind="gauge", labels=labels)
        for outcome in _OUTCOMES:
            watch(
                "offload_tasks_total",
                "Pieces of work by how they ended.",
                partial(self._outcomes.__getitem__, outcome),
                labels={**labels, "outcome": outcome},
            )
        watch(
            "offload_seconds_total",
            "Time spent on the work that ended.",
            lambda: self._seconds,
            labels=labels,
        )
        watch(
            "offload_repeats_total",
            "Pieces of work that were begun again after their worker was lost.",
            lambda: self._repeats,
            labels=labels,
        )
        watch(
            "offload_worker_restarts_total",
            "Workers replaced after a crash, a deadline or a caller that left.",
            lambda: self._crew.restarts,
            labels=labels,
        )

    async def run(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        timeout: float | None,
        repeats: int = 0,
    ) -> Any:
        """Do the work; :func:`offload` is the same with types."""
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"offload calls what computes, and {name_of(function)} is async; await it instead"
            )
        if repeats < 0:
            raise ValueError("work is repeated 0 times or more often")
        deadline = asyncio.get_running_loop().time() + (self._timeout if timeout is None else timeout)
        self._admit()
        outcome = "error"
        try:
            while True:
                try:
                    result = await self._attempt(function, arguments, deadline)
                except WorkerCrashedError:
                    if not repeats:
                        raise
                    repeats -= 1
                    self._repeats += 1
                else:
                    outcome = "ok"
                    return result
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except WorkerCrashedError:
            outcome = "crashed"
            raise
        except AwayError:
            outcome = "unavailable"
            raise
        except _DeadlineError:
            outcome = "timeout"
            raise TimeoutError("The work took longer than its deadline") from None
        finally:
            self._outcomes[outcome] += 1

    def _admit(self) -> None:
        if not self._is_open:
            raise UnavailableError("The service is shutting down")
        vacant = self._crew.size - self._crew.busy
        if len(self._waiting) >= self._queue + vacant:
            self._outcomes["refused"] += 1
            raise UnavailableError("The workers' queue is full", retry_after=self._advice())

    async def _attempt(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], deadline: float
    ) -> Any:
        if not self._is_open:
            raise UnavailableError("The service is shutting down")
        loop = asyncio.get_running_loop()
        job = Job(function, arguments, loop)
        self._crew.prepare(job)
        self._jobs.add(job)
        self._waiting.append(job)
        self._assign()
        timer = loop.call_at(deadline, self._expire, job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._leave(job, _PATIENCE)
            raise
        finally:
            timer.cancel()
            self._jobs.discard(job)
            if job.began is not None:
                self._seconds += loop.time() - job.began

    def _assign(self) -> None:
        while self._waiting:
            job = self._waiting[0]
            if not job.future.done():
                if not self._crew.take(job):
                    return
                job.began = asyncio.get_running_loop().time()
            self._waiting.popleft()

    def _expire(self, job: Job) -> None:
        job.fail(_DeadlineError())
        self._leave(job, 0.0)

    def _leave(self, job: Job, patience: float) -> None:
        if job.began is None:
            with suppress(ValueError):
                self._waiting.remove(job)
        else:
            self._crew.end(job, patience)

    def _advice(self) -> int:
        """Return the seconds in which the queue has probably become shorter by one piece for each worker."""
        done = self._outcomes.total() - self._outcomes["refused"]
        mean = self._seconds / done if done else 1.0
        return min(math.ceil(mean), _LONGEST_ADVICE)


class _DeadlineError(Exception):
    """The deadline of a piece of work, distinct from a timeout that the work itself raised."""


async def offload(
    function: Callable[[*_Arguments], _Result],
    *arguments: *_Arguments,
    timeout: float | None = None,
    repeats: int = 0,
    pool: OffloadPool | None = None,
) -> _Result:
    """Call a function in a worker process and return what it returns.

    ``count = await offload(count_primes, n)``. The function stands in a module, and arguments and result can
    be pickled; ``functools.partial`` takes keyword arguments. What the work logs is logged here, with the id
    of the request. A caller that is cancelled (by the request's deadline, or because its client has left
    and ``cancel_on_disconnect`` is set) ends the work.

    Parameters:
        function: what to call; synchronous.
        arguments: its positional arguments.
        timeout: seconds from now to the result; the pool's when left out. Then the work is ended, by killing
            its process. What runs in threads or in a Dask cluster cannot be ended and goes on unheard.
        repeats: how often the work may be begun again when its worker is lost, before the deadline; 0 or
            more. None by default, because work may have had effects by then.
        pool: where; the pool that the service opened first when left out.

    Raises:
        Exception: what the function raised, caused by the text of its stack over there.
        RemoteError: it raised what cannot travel between processes.
        UnavailableError: workers and queue are full, with ``Retry-After``; the service is shutting down; the
            Dask cluster cannot be reached.
        roadworthy.TimeoutError: the deadline passed.
        WorkerCrashedError: the process ended before the work, as often as it may be repeated and once more.
            Other work is not concerned.
        TypeError: the function or an argument cannot be sent, or the function is async.
        RuntimeError: no pool is open.
    """
    if pool is None:
        if not _open:
            raise RuntimeError(
                "no offload pool is open: give the service one, roadworthy(app, resources=[OffloadPool()])"
            )
        pool = _open[0]
    return cast("_Result", await pool.run(function, arguments, timeout, repeats))


def _crew(settings: Settings, size: int | None, executor: Executor | None, niceness: int) -> Crew:
    if executor is None and settings.offload is not None:
        # Dask is there only where it is asked for.
        from .dask import Cluster

        return Cluster(settings, size)
    count = size or _spare_cores(settings.workers)
    return Processes(count, niceness) if executor is None else Borrowed(executor, count)


def _spare_cores(serving: int) -> int:
    """Return how many cores remain beside one for the loop, for each of the serving processes; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, (cores - 1) // serving)
