"""Twins for ``compression``; the faults themselves are in ``tests/zoo``."""

from tests.zoo.harness import Twin

__all__ = ("TWINS",)

TWINS = (
    Twin("cmp-1-none", "CMP-1"),
    Twin("cmp-1-changes", "CMP-1"),
    # A coded body that does not end is no stream either.
    Twin("cmp-1-cut", "CMP-1"),
    Twin("cmp-1-little", "CMP-1", frozenset({"CMP-6"})),
    Twin("cmp-2-none", "CMP-2"),
    Twin("cmp-2-coded-only", "CMP-2"),
    # Whoever looks for the name alone sees neither weights nor capitals.
    Twin("cmp-3-substring", "CMP-3", frozenset({"CMP-5"})),
    Twin("cmp-4-fails", "CMP-4"),
    Twin("cmp-4-other-status", "CMP-4", warns=True),
    Twin("cmp-5-order", "CMP-5"),
    Twin("cmp-5-case", "CMP-5"),
    Twin("cmp-5-unasked", "CMP-5", warns=True),
    Twin("cmp-6-grows", "CMP-6"),
    Twin("cmp-7-same-tag", "CMP-7"),
    Twin("cmp-7-no-304", "CMP-7"),
    Twin("cmp-8-twice", "CMP-8", frozenset({"CMP-1"})),
    Twin("cmp-8-codes-nothing", "CMP-8"),
    Twin("cmp-8-head-length", "CMP-8"),
    # The part is coded although Content-Range counts plain bytes; and so is every other small body.
    Twin("cmp-8-range", "CMP-8", frozenset({"CMP-6"})),
    Twin("cmp-8-image", "CMP-8"),
    Twin("cmp-9-buffers", "CMP-9"),
)
