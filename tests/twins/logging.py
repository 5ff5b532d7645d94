"""Twins for ``logging``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    # Without access records no response's id stands in one.
    Twin("log-1-none", "LOG-1", frozenset({"LOG-4"})),
    Twin("log-1-twice", "LOG-1"),
    # What comes at the end is neither there to be joined nor to tell of the start.
    Twin("log-1-buffered", "LOG-1", frozenset({"LOG-4", "LOG-8"}), warns=True),
    Twin("log-2-text", "LOG-2", frozenset({"LOG-3"})),
    Twin("log-2-stack", "LOG-2"),
    Twin("log-3-no-offset", "LOG-3"),
    Twin("log-3-no-duration", "LOG-3"),
    Twin("log-3-wrong-status", "LOG-3"),
    Twin("log-4-none", "LOG-4"),
    Twin("log-4-not-on-500", "LOG-4"),
    Twin("log-4-echo", "LOG-4"),
    Twin("log-4-injects", "LOG-4"),
    Twin("log-4-other", "LOG-4", frozenset({"LOG-1"})),
    # Where all requests have one id, each record is about all of them.
    Twin("log-4-same", "LOG-4", frozenset({"LOG-1", "LOG-3", "LOG-8"})),
    Twin("log-5-authorization", "LOG-5"),
    Twin("log-5-cookie", "LOG-5"),
    Twin("log-5-query", "LOG-5"),
    Twin("log-5-body", "LOG-5"),
    Twin("log-5-dsn", "LOG-5"),
    Twin("log-6-raw", "LOG-6", frozenset({"LOG-2"})),
    Twin("log-6-escape", "LOG-6", frozenset({"LOG-2"})),
    Twin("log-6-separator", "LOG-6", warns=True),
    Twin("log-7-ignored", "LOG-7"),
    Twin("log-7-mute", "LOG-7"),
    Twin("log-8-404-error", "LOG-8"),
    Twin("log-8-500-info", "LOG-8"),
    Twin("log-8-silent-start", "LOG-8"),
    Twin("log-8-silent-stop", "LOG-8"),
    Twin("log-9-file", "LOG-9"),
)
