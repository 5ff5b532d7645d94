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


def until(condition: Callable[[], Any], what: str = "it came about") -> Any:
    """Return the first true value of ``condition``; fail at the deadline."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(_POLL)
    return found


async def eventually(condition: Callable[[], Any], what: str = "it came about") -> Any:
    """Return the first true value of ``condition``, while the loop goes on; fail at the deadline."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {DEADLINE:.0f} s: {what}"
        await asyncio.sleep(_POLL)
    return found
