"""Several worker processes on one port: ``WEB_CONCURRENCY=2``."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

__all__ = ("number_of_workers", "supervise")


def number_of_workers() -> int:
    """Return how many processes serve."""
    return int(os.environ.get("WEB_CONCURRENCY", "1"))


def supervise(serve: Callable[[], int]) -> int:
    """Fork the workers, pass signals on to them, and return the worst of their statuses."""
    children: list[int] = []

    def forward(number: int, _: object) -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    for number in range(number_of_workers()):
        child = os.fork()
        if not child:
            os.environ["ZOO_WORKER"] = str(number)
            os._exit(serve())
        children.append(child)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, forward)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
