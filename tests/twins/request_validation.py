"""Twins for ``request-validation``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("val-0-refuses", "VAL-0"),
    Twin("val-0-one-read", "VAL-0"),
    # A service that writes everything in capitals changes every text.
    Twin("val-0-changes", "VAL-0", frozenset({"VAL-6"})),
    # Whatever cannot be parsed crashes it: broken UTF-8 and numbers too long for Python as well.
    Twin("val-1-crash", "VAL-1", frozenset({"VAL-5", "VAL-6"})),
    # Nested arrays are arrays at the top.
    Twin("val-1-null", "VAL-1", frozenset({"VAL-7"})),
    Twin("val-1-empty", "VAL-1"),
    Twin("val-2-any-type", "VAL-2"),
    Twin("val-2-crash", "VAL-2"),
    Twin("val-3-missing", "VAL-3"),
    Twin("val-3-any-type", "VAL-3"),
    # Nested objects lack the field, too.
    Twin("val-3-null", "VAL-3"),
    Twin("val-3-crash", "VAL-3", frozenset({"VAL-7"})),
    Twin("val-4-stores", "VAL-4"),
    Twin("val-4-id", "VAL-4"),
    Twin("val-5-nan", "VAL-5", frozenset({"VAL-3"})),
    Twin("val-5-rounds", "VAL-5"),
    Twin("val-5-crash", "VAL-5", frozenset({"VAL-3"})),
    Twin("val-6-crash", "VAL-6"),
    Twin("val-6-strips", "VAL-6"),
    Twin("val-6-replaces", "VAL-6"),
    Twin("val-6-trims", "VAL-6", warns=True),
    Twin("val-7-crash", "VAL-7"),
    Twin("val-8-none", "VAL-8"),
    Twin("val-8-chunked", "VAL-8"),
    Twin("val-8-change", "VAL-8"),
    Twin("val-8-sign-in", "VAL-8"),
    Twin("val-9-crash", "VAL-9"),
    Twin("val-9-finds-any", "VAL-9"),
    Twin("val-9-unbounded", "VAL-9", warns=True),
    Twin("val-9-negative", "VAL-9", warns=True),
    Twin("val-9-empty", "VAL-9"),
    Twin("val-10-unnamed", "VAL-10"),
    Twin("val-10-echo", "VAL-10"),
    Twin("val-10-both-lengths", "VAL-10"),
    Twin("val-10-large-head", "VAL-10", warns=True),
)
