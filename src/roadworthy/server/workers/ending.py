"""How a service with several workers ends: a drain, a close, and force for what does not end by itself."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from math import inf
from typing import Any

from ...settings import Settings
from ..process.listeners import close, refuse_new
from .child import SPARE, Worker
from .pool import WorkerPool

__all__ = ("Ending",)

_HASTE = 1.0
"""The grace in development, in seconds: the developer is waiting."""

_log = logging.getLogger("roadworthy.server")


class Ending:
    """The steps of the end, each sent to every worker at the same moment.

    Parameters:
        pool: the workers.
        settings: how long each step takes.
        public: the sockets that they serve.
        ours: nobody else accepts on these sockets.
        hasty: for development.

    Attributes:
        due_at: when the step that was begun is over, in seconds of ``time.monotonic``.
        cut_workers: some did not end in time.
    """

    def __init__(
        self,
        pool: WorkerPool,
        settings: Settings,
        public: Sequence[socket.socket],
        *,
        ours: bool,
        hasty: bool,
    ) -> None:
        self.due_at = inf
        self.cut_workers = False
        self._pool = pool
        self._settings = settings
        self._public = public
        self._ours = ours
        self._hasty = hasty

    def drain(self) -> None:
        """Have readiness say no, and requests served on for the drain delay."""
        delay = self._settings.drain_delay
        _log.info("draining", extra={"workers": len(self._pool.workers), "seconds": delay})
        self.due_at = time.monotonic() + delay
        for worker in self._pool.workers:
            _ask(worker, do="drain")

    def close(self) -> None:
        """Have nobody connect any more, and each worker finish what it has within the grace."""
        _log.info("closing", extra={"workers": len(self._pool.workers)})
        self._pool.forget_failures()
        grace = _HASTE if self._hasty else self._settings.grace
        self.due_at = time.monotonic() + grace + self._settings.stream_grace + SPARE
        if self._ours:
            for one in self._public:
                refuse_new(one)
        for worker in self._pool.workers:
            _ask(worker, do="close", grace=grace, last=self._ours)
        # Only now: what waits to be accepted is reset when the last process closes the socket.
        close(self._public)

    def cut(self) -> None:
        """Kill who did not end in time."""
        self.due_at = inf
        self.cut_workers = True
        for worker in self._pool.workers:
            _log.error("worker killed: it did not end in time", extra={"worker": worker.pid})
            worker.kill()


def _ask(worker: Worker, **message: Any) -> None:
    """Send a step to a worker, whether it serves or starts.

    One that starts hears the signal only, and one that serves the message only. A worker that has just begun
    to serve counts as starting until its report is read here, so it gets both.
    """
    if worker.state == "starting":
        worker.end()
    worker.send(**message)
