"""Which waiver covers a finding."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from .verdict import Finding, Waiver

__all__ = ("is_expired", "is_in_scope")


def is_expired(waiver: Waiver) -> bool:
    """Return whether its day has come."""
    return bool(waiver.expires) and date.fromisoformat(waiver.expires) <= datetime.now(UTC).date()


def is_in_scope(waiver: Waiver, finding: Finding | None) -> bool:
    """Return whether it covers the route of a finding; None stands for a verdict without any."""
    if not waiver.route:
        return True
    path = finding.route.rpartition(" ")[2] if finding else ""
    return fnmatchcase(path, waiver.route) or bool(finding and fnmatchcase(finding.route, waiver.route))
