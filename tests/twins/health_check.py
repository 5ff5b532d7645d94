"""Twins for ``health-check``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("hlt-1-redirect", "HLT-1", frozenset({"HLT-4"})),
    # The checker has no credentials either, so whoever asks liveness sees the refusal.
    Twin("hlt-1-wants-login", "HLT-1", frozenset({"HLT-2", "HLT-4", "HLT-7", "HLT-8"})),
    Twin("hlt-1-no-head", "HLT-1", warns=True),
    Twin(
        "hlt-2-same",
        "HLT-2",
        # A path that must not depend on the store cannot say whether the service can serve.
        frozenset({"HLT-3", "HLT-5"}),
        warns=True,
        replace=(('ready = "/readyz"', 'ready = "/livez"'),),
    ),
    Twin("hlt-2-none", "HLT-2", replace=(('ready = "/readyz"', ""),)),
    Twin("hlt-3-always-ready", "HLT-3", frozenset({"HLT-5"})),
    Twin("hlt-4-asks-store", "HLT-4"),
    Twin("hlt-4-gives-up", "HLT-4"),
    Twin("hlt-5-ignores-store", "HLT-5", frozenset({"HLT-3"})),
    Twin("hlt-6-queues-for-the-store", "HLT-6", frozenset({"HLT-3"})),
    Twin("hlt-7-cached", "HLT-7"),
    Twin("hlt-7-limited", "HLT-7", frozenset({"HLT-6"})),
    Twin("hlt-7-counted", "HLT-7"),
    Twin("hlt-8-says-down", "HLT-8"),
    Twin("hlt-8-says-ok", "HLT-8"),
    Twin("hlt-9-leaks", "HLT-9"),
)
