"""Twins for ``service-layer``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("svc-1-own-check", "SVC-1"),
    Twin("svc-1-unchecked", "SVC-1"),
    Twin("svc-1-empty-put", "SVC-1"),
    Twin("svc-1-long-put", "SVC-1"),
    Twin("svc-2-cache", "SVC-2"),
    Twin("svc-2-stale", "SVC-2"),
    Twin("svc-2-old-list", "SVC-2"),
    Twin("svc-3-row", "SVC-3"),
    Twin("svc-3-overview", "SVC-3"),
    Twin("svc-4-other", "SVC-4"),
)
