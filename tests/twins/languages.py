"""Twins in other languages: faults that are typical of Node and of Go, on services of their own."""

from tests.zoo.harness import Twin

from .graceful_shutdown import ABRUPT

__all__ = ("LANGUAGES",)

# The route that fails is asked for by each of these, and the process ends.
_DIES = frozenset({"ERR-3", "ERR-4", "ERR-8", "ERR-9"})

_NODE: dict[str, tuple[Twin, ...]] = {
    "ERR": (
        # A listener that is an async function: since Node 15 an unhandled rejection ends the process.
        Twin("err-5-rejection", "ERR-5", _DIES),
        # The same where unhandled rejections are only recorded: nobody answers.
        Twin("err-4-hangs", "ERR-4"),
        Twin("err-4-stack", "ERR-4"),
    ),
    "SHUT": (
        # The signal itself ends it, which is no clean status.
        Twin("shut-1-no-handler", "SHUT-1", ABRUPT | {"SHUT-4"}),
        Twin("shut-1-exits", "SHUT-1", ABRUPT),
        # close() destroys connections whose response is written but not yet sent.
        Twin("shut-2-cuts", "SHUT-2"),
        # Up to Node 18 close() waits for keep-alive connections that nobody uses.
        Twin("shut-3-waits-for-idle", "SHUT-3", frozenset({"SHUT-7"})),
    ),
    "VAL": (
        Twin("val-4-pollutes", "VAL-4"),
        # Every number is a double.
        Twin("val-5-rounds", "VAL-5"),
        Twin("val-6-replaces", "VAL-6"),
    ),
    "CPU-1": (Twin("cpu-1-on-the-loop", "CPU-1"),),
}

_GO: dict[str, tuple[Twin, ...]] = {
    "ERR": (
        # Text is no problem document, whatever the status.
        Twin("err-1-plain", "ERR-1", frozenset({"ERR-3"}), warns=True),
        # Patterns with a method, and "/" for the rest: it takes what would have been a 405, and OPTIONS.
        Twin("err-2-catch-all", "ERR-2", frozenset({"ERR-6"}), warns=True),
        # net/http recovers by itself, and then closes the connection without an answer.
        Twin("err-4-no-recover", "ERR-4", frozenset({"ERR-3", "ERR-8"})),
        Twin("err-4-shows-error", "ERR-4", frozenset({"ERR-3"})),
        Twin("err-5-goroutine", "ERR-5", _DIES),
    ),
    "SHUT": (
        Twin("shut-1-no-handler", "SHUT-1", ABRUPT | {"SHUT-4"}),
        # It drains before, so readiness turns and idle connections end.
        Twin("shut-1-main-returns", "SHUT-1", frozenset({"SHUT-2", "SHUT-10"})),
        # The function that signal.NotifyContext returns, called at once: the next signal kills.
        Twin("shut-10-second-term", "SHUT-10"),
    ),
    "VAL": (
        Twin("val-1-trailing", "VAL-1"),
        # null leaves a struct as it is, also at the top.
        Twin("val-3-zero-values", "VAL-3", frozenset({"VAL-1"})),
        Twin("val-5-float64", "VAL-5"),
        Twin("val-5-wraps", "VAL-5"),
        Twin("val-6-replaces", "VAL-6"),
        Twin("val-8-unlimited", "VAL-8"),
    ),
}

LANGUAGES: dict[str, dict[str, tuple[Twin, ...]]] = {"node": _NODE, "go": _GO}
"""The twins by language, and by what is checked of their good service: a family, or an assertion alone."""
