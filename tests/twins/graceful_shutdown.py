"""Twins for ``graceful-shutdown``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("ABRUPT", "TWINS")

# Whoever drops what is in flight also ends before readiness can be seen to turn.
ABRUPT = frozenset({"SHUT-2", "SHUT-5", "SHUT-6", "SHUT-7", "SHUT-10"})

TWINS = (
    Twin("shut-1-drops", "SHUT-1", ABRUPT),
    Twin("shut-2-truncates", "SHUT-2"),
    Twin("shut-3-hangs", "SHUT-3", frozenset({"SHUT-4", "SHUT-6", "SHUT-7", "SHUT-8", "SHUT-10"})),
    Twin("shut-4-status-1", "SHUT-4"),
    Twin("shut-5-silent", "SHUT-5", frozenset({"SHUT-6"})),
    Twin("shut-6-ready-stays", "SHUT-6"),
    Twin("shut-6-live-stops", "SHUT-6"),
    Twin("shut-7-keeps-alive", "SHUT-7"),
    Twin("shut-8-orphan", "SHUT-8"),
    Twin("shut-9-loses-writes", "SHUT-9"),
    Twin("shut-10-ignores-int", "SHUT-10"),
    Twin("shut-10-second-term", "SHUT-10"),
    Twin("shut-10-silent", "SHUT-10"),
)
