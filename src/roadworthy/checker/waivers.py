"""Which waiver covers a finding."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from .verdict import Finding, Result, Verdict, Waiver

__all__ = ("covering", "is_expired")


def covering(result: Result, waivers: Iterable[Waiver]) -> tuple[Waiver, ...]:
    """Return the waivers in force that cover a result: one for each of its findings, or none at all."""
    if result.verdict not in {Verdict.FAIL, Verdict.WARN, Verdict.INCONCLUSIVE}:
        return ()
    valid = [each for each in waivers if each.covers(result.id) and not is_expired(each)]
    found: list[Waiver] = []
    for finding in result.findings or (None,):
        one = next((each for each in valid if _is_in_scope(each, finding)), None)
        if one is None:
            return ()
        found.append(one)
    return tuple(found)


def is_expired(waiver: Waiver) -> bool:
    """Return whether its day has come."""
    return bool(waiver.expires) and date.fromisoformat(waiver.expires) <= datetime.now(UTC).date()


def _is_in_scope(waiver: Waiver, finding: Finding | None) -> bool:
    """Return whether it covers the route of a finding; None stands for a verdict without any."""
    if not waiver.route:
        return True
    path = finding.route.rpartition(" ")[2] if finding else ""
    return fnmatchcase(path, waiver.route) or bool(finding and fnmatchcase(finding.route, waiver.route))
