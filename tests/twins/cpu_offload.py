"""Twins for ``cpu-offload``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    # One computation after the other, and whoever is computing can accept and refuse nobody.
    Twin("cpu-1-on-the-loop", "CPU-1", frozenset({"CPU-2", "CPU-4"})),
    Twin("cpu-2-no-bound", "CPU-2"),
    Twin("cpu-2-no-retry-after", "CPU-2"),
    Twin("cpu-3-stays-broken", "CPU-3"),
    Twin("cpu-3-takes-all", "CPU-3"),
    Twin("cpu-4-one-at-a-time", "CPU-4"),
    # Threads of one interpreter also make its event loop wait for their lock.
    Twin("cpu-4-threads", "CPU-4", frozenset({"CPU-1", "CPU-2"})),
)
