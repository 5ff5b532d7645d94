"""Twins for ``metrics``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("met-1-page", "MET-1"),
    Twin("met-1-no-type", "MET-1"),
    Twin("met-1-no-version", "MET-1", warns=True),
    Twin("met-2-no-line-end", "MET-2"),
    Twin("met-2-late-type", "MET-2", frozenset({"MET-3"})),
    Twin("met-2-scattered", "MET-2"),
    Twin("met-2-repeats", "MET-2"),
    Twin("met-2-no-inf", "MET-2"),
    # A decimal comma hides the sums of the durations.
    Twin("met-2-comma", "MET-2", frozenset({"MET-8"})),
    Twin("met-3-no-help", "MET-3"),
    Twin("met-3-millis", "MET-3"),
    Twin("met-3-camel", "MET-3"),
    # What never moves measures nothing at all.
    Twin("met-4-static", "MET-4", frozenset({"MET-5", "MET-8"})),
    Twin("met-4-skips-404", "MET-4", frozenset({"MET-5", "MET-8"})),
    Twin("met-4-doubles", "MET-4", frozenset({"MET-5", "MET-8"})),
    Twin("met-4-no-status", "MET-4", frozenset({"MET-5", "MET-8"})),
    Twin("met-4-rounds", "MET-4", frozenset({"MET-5", "MET-8"})),
    Twin("met-5-per-worker", "MET-5"),
    Twin("met-6-paths", "MET-6"),
    Twin("met-7-paths", "MET-7"),
    Twin("met-7-methods", "MET-7"),
    Twin("met-7-hosts", "MET-7"),
    Twin("met-7-agents", "MET-7", frozenset({"MET-9"})),
    Twin("met-8-millis", "MET-8"),
    Twin("met-8-silent", "MET-8"),
    Twin("met-8-leaks", "MET-8"),
    Twin("met-8-blind", "MET-8"),
    Twin("met-8-no-failures", "MET-8", frozenset({"MET-4", "MET-5"})),
    Twin("met-9-leaks", "MET-9"),
    Twin("met-9-public", "MET-9", warns=True, replace=(("public = true", "public = false"),)),
    Twin("met-9-limited,rtl-9-limits-metrics", "MET-9"),
)
