"""Twins for ``fan-out``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("fan-1-sequential", "FAN-1"),
    Twin("fan-2-unbounded", "FAN-2"),
    Twin("fan-3-arrival", "FAN-3"),
    Twin("fan-3-compacts", "FAN-3"),
    Twin("fan-4-goes-on", "FAN-4"),
)
