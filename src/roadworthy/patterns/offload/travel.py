"""What travels between a pool and its workers in other processes, and what it means on arrival."""

from __future__ import annotations

import logging
import pickle
from contextlib import suppress
from typing import Any

from .job import Job, name_of

__all__ = ("RemoteError", "WorkerCrashedError", "conclude", "pack", "unpack", "write_record")


class WorkerCrashedError(RuntimeError):
    """Raised for a piece of work whose worker process ended before it: out of memory, ``kill -9``, a
    crash."""


class RemoteError(RuntimeError):
    """Raised in place of what the work raised where that cannot travel between processes, or ends one."""


class _RemoteTraceback(Exception):
    """The cause of a failure in another process: its stack there, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def pack(job: Job) -> bytes:
    """Pickle what a worker needs of a job.

    Raises:
        TypeError: the function or an argument cannot be sent; the message has the remedy.
    """
    name = name_of(job.function)
    if getattr(job.function, "__module__", "") == "__main__":
        raise TypeError(
            f"offload cannot send {name}: it is defined in the program that was started, which a worker "
            "process does not run; move it to a module of its own"
        )
    try:
        return pickle.dumps((job.request_id, job.function, job.arguments), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError(
            f"offload cannot send {name} to a worker process: it needs a function that stands in a "
            "module (no lambda, no inner function) and arguments that can be pickled "
            f"({type(error).__name__})"
        ) from error


def unpack(frame: bytes) -> tuple[Any, ...]:
    """Return a worker's message: ``("result", value)``, ``("error", class, stack, exception)``, others."""
    try:
        message: tuple[Any, ...] = pickle.loads(frame)  # noqa: S301 - from a worker of our own
    except Exception as error:
        return "error", type(error).__name__, "its result cannot be unpickled\n", pickle.dumps(error)
    return message


def conclude(job: Job, message: tuple[Any, ...]) -> None:
    """Give the caller the result or the failure that a worker has sent."""
    if message[0] == "result":
        job.settle(message[1])
    else:
        job.fail(_remade(*message[1:]))


def write_record(job: Job | None, fields: dict[str, Any]) -> None:
    """Write a record of the work, in the context of its caller, if its logger is on here."""
    record = logging.makeLogRecord(fields)
    logger = logging.getLogger(record.name)
    if not logger.isEnabledFor(record.levelno):
        return
    if job is None:
        logger.handle(record)
    else:
        job.context.run(logger.handle, record)


def _remade(kind: str, text: str, packed: bytes | None) -> Exception:
    error: Exception = RemoteError(f"the work raised {kind}, which cannot travel between processes")
    if packed is not None:
        # It was made again over there; here its class may be missing.
        with suppress(Exception):
            error = pickle.loads(packed)  # noqa: S301 - from a worker of our own
    error.__cause__ = _RemoteTraceback(text)
    return error
