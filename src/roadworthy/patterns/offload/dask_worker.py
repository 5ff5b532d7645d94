"""What runs in a worker of a Dask cluster: one piece of offloaded work, at most once.

Dask runs a task again when its worker is lost, and when a result is lost with the worker that had it. Work
may have effects, so a piece begins only with its permit, a token that the service has put into a queue of the
scheduler: who takes it begins, and a second worker finds none. The service takes it itself at the deadline,
so that a piece whose caller has left never begins.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from contextvars import ContextVar
from typing import Any

from distributed import get_worker

from .worker import Forward, answer

__all__ = ("perform",)

_PATIENCE = 30.0
"""Seconds for the scheduler to give out the permit. It takes a millisecond; a scheduler that takes longer is
lost, and its work with it."""


class _ByPiece(logging.Handler):
    """Sends the records of each piece to the service that it belongs to; a worker has several at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Forward the record, or write it as Python does where nobody else would."""
        forward = _forward.get()
        if forward is not None:
            forward.emit(record)
            return
        last = logging.lastResort
        if last is not None and logging.root.handlers == [self] and record.levelno >= last.level:
            last.handle(record)


_forward: ContextVar[Forward | None] = ContextVar("roadworthy_forward", default=None)
_by_piece = _ByPiece()


def perform(key: str, topic: str, level: int, payload: bytes) -> bytes:
    """Do a piece of work and return the packed message about its end; nothing without a permit.

    Parameters:
        key: of the task, and the name of the queue with its permit.
        topic: of the scheduler's events, for records.
        level: least severe level of records that the service wants.
        payload: the id of the request, the function and its arguments, pickled.
    """
    worker: Any = get_worker()  # its types are partial
    if not _permitted(worker, key):
        return b""

    def send(message: object) -> None:
        packed = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        worker.log_event(topic, {"roadworthy": key, "message": packed})

    if _by_piece not in logging.root.handlers:
        logging.root.addHandler(_by_piece)
    if level < logging.root.level:
        logging.root.setLevel(level)
    forward = Forward(send)
    forward.setLevel(level)
    token = _forward.set(forward)
    try:
        return answer(lambda: pickle.loads(payload), forward)  # noqa: S301 - from a service of our own
    finally:
        _forward.reset(token)


def _permitted(worker: Any, key: str) -> bool:
    async def ask() -> bool:
        return bool(await worker.scheduler.queue_get(name=key, batch=True))

    try:
        return asyncio.run_coroutine_threadsafe(ask(), worker.loop.asyncio_loop).result(_PATIENCE)
    except Exception:
        # The queue is gone with its service, or the scheduler is: nobody waits for this piece.
        return False
