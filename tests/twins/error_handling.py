"""Twins for ``error-handling``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("EXACT", "TWINS")

EXACT = (('request_timeout = "2s"', 'request_timeout = "500ms"'),)
"""The limit that the store's client keeps to the millisecond: the answer comes when it is over."""

TWINS = (
    Twin("err-1-html", "ERR-1", frozenset({"ERR-3", "ERR-9"}), warns=True),
    Twin("err-1-200", "ERR-1"),
    Twin("err-2-no-allow", "ERR-2", frozenset({"ERR-6"})),
    Twin("err-2-404", "ERR-2", frozenset({"ERR-6"}), warns=True),
    Twin("err-2-short-allow", "ERR-2"),
    Twin("err-3-two-shapes", "ERR-3"),
    Twin("err-4-no-answer", "ERR-4", frozenset({"ERR-3", "ERR-8"})),
    Twin("err-4-stack", "ERR-4", frozenset({"ERR-3"})),
    Twin("err-4-message", "ERR-4"),
    Twin("err-5-dies", "ERR-5", frozenset({"ERR-3", "ERR-4", "ERR-8", "ERR-9"})),
    Twin("err-6-trace", "ERR-6"),
    Twin("err-6-unknown-method", "ERR-6"),
    Twin("err-6-head-body", "ERR-6"),
    Twin("err-7-hangs", "ERR-7"),
    Twin("err-7-leaks", "ERR-7", warns=True),
    Twin("err-8-silent", "ERR-8"),
    Twin("err-8-twice", "ERR-8"),
    Twin("err-8-uncounted", "ERR-8"),
    Twin("err-9-cached", "ERR-9"),
    Twin("err-9-bare", "ERR-9"),
)
