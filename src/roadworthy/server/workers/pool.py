"""The workers of a service together: as many as are wanted, each replaced when it ends or hangs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ...settings import Settings
from .backoff import ATTEMPTS, Backoff
from .child import SPARE, Worker

__all__ = ("WorkerPool",)

_FIRST_WORD = 60.0
"""Seconds that an interpreter gets to start and to import this package, on a machine that is busy."""

_log = logging.getLogger("roadworthy.server")


class WorkerPool:
    """Starts workers and looks after them.

    Parameters:
        hire: starts a worker of the generation it is given.
        wanted: how many there are to be.
        settings: how long a worker may be silent, and how long it gets to end.
        hopeless: called when no worker has come up after several attempts.
        replaces: a worker that ends by itself gets a successor; not in development, where a change of the
            source brings it.

    Attributes:
        workers: all that run, those that are about to end included.
        generation: of the code that is current; a reload makes the next.
        restarts: workers that were replaced.
        settled: all have been ready once.
    """

    def __init__(
        self,
        hire: Callable[[int], Worker],
        wanted: int,
        settings: Settings,
        hopeless: Callable[[], None],
        *,
        replaces: bool,
    ) -> None:
        self.workers: list[Worker] = []
        self.wanted = wanted
        self.generation = 0
        self.restarts = 0
        self.settled = False
        self._hire = hire
        self._settings = settings
        self._hopeless = hopeless
        self._replaces = replaces
        self._due: list[float] = []
        self._backoff = Backoff()

    # -- who is there

    def current(self) -> list[Worker]:
        """Return the workers of the current code that are to stay."""
        return [one for one in self.workers if one.generation == self.generation and one.state != "leaving"]

    def all_ready(self) -> bool:
        """Tell whether as many as are wanted accept."""
        return sum(one.state == "ready" for one in self.current()) >= self.wanted

    def failing(self) -> bool:
        """Tell whether so many starts in a row have failed that the next will, too."""
        return self._backoff.failing

    # -- coming and going

    def fill(self) -> None:
        """Start as many as are missing, at once."""
        self.forget_failures()
        for _ in range(self.wanted - len(self.current())):
            self.start()

    def start(self) -> None:
        """Start one more; when the machine has no room for a process, again after a pause."""
        try:
            self.workers.append(self._hire(self.generation))
        except OSError as error:
            _log.error("a worker could not be started: %s", error.strerror)
            self._plan(self._backoff.pause(None))

    def settle(self) -> None:
        """Remember that all have been ready."""
        self.settled = True
        self._backoff.forget()

    def forget_failures(self) -> None:
        """Plan no start any more, and count failed ones anew."""
        self._due.clear()
        self._backoff.forget()

    def dismiss(self, worker: Worker) -> None:
        """Have a worker take nobody new, finish what it has and end; it is killed when it does not."""
        settings = self._settings
        worker.state = "leaving"
        worker.send(do="retire", delay=settings.drain_delay)
        worker.kill_at = (
            time.monotonic() + settings.drain_delay + settings.grace + settings.stream_grace + SPARE
        )

    def change(self) -> None:
        """Have one worker with new code take the place of the others soon, for development."""
        for worker in self.current():
            worker.state = "leaving"
            worker.kill_at = time.monotonic() + SPARE
            if worker.ready_at is None:
                worker.kill()
            else:
                worker.send(do="close", grace=1.0)
        self.start()

    def let_go(self, worker: Worker) -> None:
        """Replace a worker that received SIGTERM from outside."""
        if worker.state == "ready":
            self.restarts += 1
            self.dismiss(worker)
            if worker.generation == self.generation:
                self.start()

    def kill(self) -> None:
        """Kill all."""
        for worker in self.workers:
            worker.kill()

    def close(self) -> None:
        """Kill all and wait for their ends; this is the last that is done."""
        for worker in self.workers:
            worker.kill()
            worker.process.wait()
            worker.gone()

    # -- looking after them

    def tend(self, now: float, *, ending: bool) -> None:
        """Bury who has ended, kill who hangs, start who is due.

        Parameters:
            now: time of the monotonic clock.
            ending: the service is about to end: nobody is replaced.
        """
        for worker in [one for one in self.workers if one.gone()]:
            self.workers.remove(worker)
            fields = {"worker": worker.pid, "code": worker.process.returncode}
            if ending or worker.state == "leaving":
                _log.info("worker ended", extra=fields)
            else:
                _log.error("a worker ended by itself", extra=fields)
                self._replace(worker)
        for worker in self.workers:
            self._check(worker, now)
        for due in [one for one in self._due if one <= now]:
            self._due.remove(due)
            if not ending:
                self.start()

    def forgive(self, seconds: float) -> None:
        """Leave out a time in which nobody could be heard, for it was this process that stood still."""
        for worker in self.workers:
            worker.heard_at += seconds

    def _check(self, worker: Worker, now: float) -> None:
        silent = now - worker.heard_at
        patience = self._settings.worker_timeout
        if not worker.spoke:
            patience = max(patience, _FIRST_WORD)
        if worker.kill_at is not None and now >= worker.kill_at:
            worker.kill_at = None
            _log.error("worker killed: it did not end in time", extra={"worker": worker.pid})
            worker.kill()
        elif silent > patience and worker.state != "leaving":
            _log.error(
                "worker killed: its event loop gave no sign of life",
                extra={"worker": worker.pid, "seconds": round(silent, 1)},
            )
            worker.heard_at = now
            worker.kill()

    def _replace(self, worker: Worker) -> None:
        if not self._replaces:
            _log.info("waiting for a source file to change")
            return
        if worker.generation != self.generation:
            return  # the reload that is under way brings its successor
        ready_at = worker.ready_at
        if self._plan(self._backoff.pause(None if ready_at is None else time.monotonic() - ready_at)):
            self.restarts += 1

    def _plan(self, pause: float) -> bool:
        if not self.settled and self.failing():
            _log.critical("not started: workers ended %d times before the first was ready", ATTEMPTS)
            self._hopeless()
            return False
        self._due.append(time.monotonic() + pause)
        return True
