"""All targets, by name."""

from __future__ import annotations

from . import bodies, checks, connections, environment, fields, records, rules
from .target import Target

__all__ = ("TARGETS",)

TARGETS: tuple[Target, ...] = (
    *connections.TARGETS,
    *bodies.TARGETS,
    *fields.TARGETS,
    *rules.TARGETS,
    *records.TARGETS,
    *environment.TARGETS,
    *checks.TARGETS,
)
