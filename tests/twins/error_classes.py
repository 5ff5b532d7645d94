"""Twins for ``error-classes``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("ecl-1-by-route", "ECL-1"),
    Twin("ecl-1-one-code", "ECL-1"),
    Twin("ecl-1-own-code", "ECL-1"),
    Twin("ecl-2-drops", "ECL-2"),
    Twin("ecl-2-flattens", "ECL-2"),
    Twin("ecl-3-class", "ECL-3"),
    Twin("ecl-3-text", "ECL-3"),
    Twin("ecl-4-unless-production", "ECL-4", frozenset({"ECL-3"})),
    Twin("ecl-4-envelope", "ECL-4"),
)
