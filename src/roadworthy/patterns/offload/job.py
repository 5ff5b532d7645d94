"""One piece of offloaded work, and what a pool needs of those who carry it out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

from ...ambient import request_id
from ...errors import UnavailableError

__all__ = ("AwayError", "Crew", "Job", "name_of")


class AwayError(UnavailableError):
    """Raised for work that those who should do it cannot be reached for."""


class Job:
    """A function with its arguments, and the future that the caller waits for.

    Attributes:
        context: the caller's, for records.
        began: loop time at which it was given to a worker, None before.
    """

    __slots__ = ("arguments", "began", "context", "function", "future", "payload", "request_id")

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.payload = b""
        self.context: Context = copy_context()
        self.request_id = request_id()
        self.began: float | None = None
        self.future: asyncio.Future[Any] = loop.create_future()

    def settle(self, result: object) -> None:
        """Give the result to whoever still waits for it."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Give the failure to whoever still waits."""
        if not isinstance(error, Exception) or isinstance(error, StopIteration):
            # SystemExit would end the service, and a future does not take StopIteration.
            wrapped = RuntimeError(f"offloaded work raised {type(error).__name__}")
            wrapped.__cause__ = error
            error = wrapped
        if not self.future.done():
            self.future.set_exception(error)


class Crew(Protocol):
    """Those who carry out the work of one pool."""

    restarts: int
    """Workers that were replaced."""

    @property
    def size(self) -> int:
        """How many pieces they do at once."""
        ...

    @property
    def trouble(self) -> str:
        """Why they cannot work now, "" when they can."""
        ...

    async def start(self, free: Callable[[], None]) -> None:
        """Be ready for work; call ``free`` whenever a worker becomes free."""

    async def stop(self) -> None:
        """Be gone, whatever still runs; safe when repeated."""

    @property
    def busy(self) -> int:
        """How many pieces are being done."""
        ...

    @property
    def abandoned(self) -> int:
        """How many of these go on although nobody waits for them any more, because they cannot be ended."""
        ...

    def prepare(self, job: Job) -> None:
        """Refuse what these workers can never do.

        Raises:
            TypeError: the message has the reason and the remedy.
        """

    def take(self, job: Job) -> bool:
        """Begin the job, or return False when nobody is free."""
        ...

    def end(self, job: Job, patience: float) -> None:
        """Nobody waits for this running job any more: end it after ``patience`` seconds."""


def name_of(function: Callable[..., Any]) -> str:
    """Return how a function is called in messages."""
    return getattr(function, "__qualname__", type(function).__name__)
