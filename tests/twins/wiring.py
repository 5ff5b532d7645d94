"""Twins for ``wiring``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("wir-1-too-early", "WIR-1"),
    Twin("wir-2-pool-first", "WIR-2"),
    Twin("wir-2-silent", "WIR-2"),
    Twin("wir-2-order", "WIR-2"),
    Twin("wir-3-other-store", "WIR-3"),
    Twin("wir-3-fixed-level", "WIR-3"),
    Twin("wir-4-status-0", "WIR-4"),
    Twin("wir-4-orphan", "WIR-4"),
    Twin("wir-5-left-in", "WIR-5"),
)
