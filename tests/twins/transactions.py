"""Twins for ``transactions``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("txn-1-one-by-one", "TXN-1"),
    Twin("txn-1-many-commits", "TXN-1"),
    Twin("txn-2-answers-first", "TXN-2", frozenset({"TXN-1", "TXN-3", "TXN-4", "TXN-5", "TXN-6"})),
    Twin("txn-3-late", "TXN-3", frozenset({"TXN-1", "TXN-2", "TXN-4", "TXN-5", "TXN-6"})),
    Twin("txn-4-unlocked", "TXN-4"),
    Twin("txn-5-orphans", "TXN-5"),
    Twin("txn-5-two-units", "TXN-5"),
    Twin("txn-6-ignores", "TXN-6"),
    Twin("txn-6-race", "TXN-6"),
)
