"""Twins for ``controllers``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("ctl-1-create-200", "CTL-1"),
    Twin("ctl-1-delete-200", "CTL-1"),
    Twin("ctl-2-no-location", "CTL-2"),
    Twin("ctl-2-elsewhere", "CTL-2"),
    # Whoever answers 200 to a resource that is not there has no way to tell a success, either.
    Twin("ctl-3-null", "CTL-3"),
    Twin("ctl-3-delete-500", "CTL-3"),
    Twin("ctl-4-one-status", "CTL-4"),
    Twin("ctl-4-first-only", "CTL-4"),
    Twin("ctl-5-500", "CTL-5"),
    Twin("ctl-5-changes", "CTL-5"),
    Twin("ctl-6-unbounded", "CTL-6"),
    Twin("ctl-6-offset", "CTL-6"),
    Twin("ctl-6-ones", "CTL-6"),
)
