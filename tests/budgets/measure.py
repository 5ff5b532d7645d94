"""Measuring what a parser costs: CPU of this thread, best of five, beside a yardstick in the same process.

A busy machine slows both sides of a ratio, and never makes a best run faster; what is above its bound is
measured again, six times at most.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ("cost", "growth", "peak", "quick", "translated", "without_collections")

_RUNS = 5
_ATTEMPTS = 6
_SAME = bytes(range(256))


@contextmanager
def without_collections() -> Iterator[None]:
    """Keep collections of this process's other objects out of the measurement, as ``timeit`` does."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def quick(run: Callable[[], object]) -> float:
    """Return the seconds of one run: enough to see which inputs are the worst."""
    began = time.thread_time()
    run()
    return time.thread_time() - began


def cost(run: Callable[[], object], least: float = 0.002) -> float:
    """Return the CPU seconds of one run, the best of five rounds of at least ``least`` seconds each."""
    once = max(quick(run), 1e-7)
    times = max(1, round(least / once))
    best = float("inf")
    for _ in range(_RUNS):
        began = time.thread_time()
        for _ in range(times):
            run()
        best = min(best, (time.thread_time() - began) / times)
    return best


def translated(data: bytes) -> float:
    """Return the CPU seconds of one ``bytes.translate`` of as many bytes, the unit of all head parsers.

    Of 1 KiB at least, for no request weighs less and the call itself has a price.
    """
    data = data.ljust(1024, b" ")
    return cost(lambda: data.translate(_SAME))


def growth(small: Callable[[], object], large: Callable[[], object], bound: float) -> float:
    """Return by how much ``large`` costs more than ``small``; in rounds of 20 ms if one run looks bad."""
    found = quick(large) / max(quick(small), 1e-7)
    for _ in range(_ATTEMPTS):
        if found <= bound * 0.9:
            break
        found = min(found, cost(large, 0.02) / cost(small, 0.02))
    return found


def peak(run: Callable[[], object]) -> int:
    """Return the most bytes of Python's memory that are in use at once while it runs."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
