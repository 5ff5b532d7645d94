"""All targets, by name."""

from __future__ import annotations

from . import bodies, fields, records
from .target import Target

__all__ = ("TARGETS",)

TARGETS: tuple[Target, ...] = (*bodies.TARGETS, *fields.TARGETS, *records.TARGETS)
