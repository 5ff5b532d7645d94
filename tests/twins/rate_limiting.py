"""Twins for ``rate-limiting``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("rtl-1-never", "RTL-1", frozenset({"RTL-6"})),
    Twin("rtl-2-race", "RTL-2"),
    Twin("rtl-2-one-more", "RTL-2", frozenset({"RTL-5", "RTL-6"})),
    Twin("rtl-2-one-less", "RTL-2", frozenset({"RTL-5", "RTL-6"})),
    Twin("rtl-3-never-says-when", "RTL-3"),
    Twin("rtl-3-at-once", "RTL-3", frozenset({"RTL-4"})),
    Twin("rtl-3-far-away", "RTL-3"),
    Twin("rtl-3-plain", "RTL-3"),
    Twin("rtl-4-bans", "RTL-4"),
    Twin("rtl-5-always-full", "RTL-5"),
    Twin("rtl-5-malformed", "RTL-5", warns=True),
    Twin("rtl-5-other-limit", "RTL-5"),
    # Fifty requests to two processes have to fit into one window on a busy machine, too.
    Twin(
        "rtl-6-per-process",
        "RTL-6",
        replace=(('window = "2s"', 'window = "10s"'), ('"20/2"', '"20/10"')),
    ),
    Twin("rtl-7-forwarded", "RTL-7"),
    Twin("rtl-7-real-ip", "RTL-7"),
    Twin("rtl-7-leftmost", "RTL-7"),
    Twin("rtl-8-one-for-all", "RTL-8"),
    Twin("rtl-9-limits-health", "RTL-9"),
    Twin("rtl-9-limits-metrics", "RTL-9"),
    Twin("rtl-9-limits-preflights", "RTL-9"),
    Twin("rtl-10-works-first", "RTL-10"),
    Twin("rtl-10-silent", "RTL-10"),
    Twin("rtl-10-free-guesses", "RTL-10"),
)
