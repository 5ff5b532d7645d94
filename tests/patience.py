"""How long a test waits for what has to happen.

Seconds that are plenty on one machine are too few on another, or on the same one while it does something
else. So the measure is a start of the product, taken when the tests begin. What must *not* happen, and what a
setting of the test brings about, have times of their own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ("DEADLINE", "eventually", "until")

_LEAST = 60.0
_STARTS = 120
"""How many starts fit into the deadline: 0.25 s each on a machine that does nothing else."""
_POLL = 0.005


def _one_start() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "roadworthy", "--version"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begun


DEADLINE = max(_LEAST, _STARTS * _one_start())
"""Seconds after which waiting counts as failed."""


class _Wait:
    """One wait: over at the deadline, or later if a start takes longer by then than when the tests began."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = time.monotonic()
        self._seconds = DEADLINE

    def go_on(self) -> None:
        """Fail if it has been long enough."""
        waited = time.monotonic() - self._begun
        if waited < self._seconds:
            return
        self._seconds = max(self._seconds, _STARTS * _one_start())
        assert waited < self._seconds, f"not within {self._seconds:.0f} s: {self._what}"


def until(condition: Callable[[], Any], what: str = "it came about") -> Any:
    """Return the first true value of ``condition``; fail at the deadline."""
    wait = _Wait(what)
    while not (found := condition()):
        wait.go_on()
        time.sleep(_POLL)
    return found


async def eventually(condition: Callable[[], Any], what: str = "it came about") -> Any:
    """Return the first true value of ``condition``, while the loop goes on; fail at the deadline."""
    wait = _Wait(what)
    while not (found := condition()):
        wait.go_on()
        await asyncio.sleep(_POLL)
    return found
