"""Twins for ``async-errors``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("aer-1-other-id", "AER-1", frozenset({"AER-5"})),
    Twin("aer-1-twice", "AER-1"),
    Twin("aer-1-no-id", "AER-1", frozenset({"AER-5"})),
    Twin("aer-2-swallows", "AER-2"),
    Twin("aer-3-second-handler", "AER-3"),
    Twin("aer-4-leaves-tasks", "AER-4"),
    Twin("aer-4-unretrieved", "AER-4"),
    Twin("aer-5-no-cause", "AER-5"),
)
