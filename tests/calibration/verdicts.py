"""What the checker says about a target."""

from __future__ import annotations

from collections.abc import Sequence

from roadworthy.checker.manifest.model import Manifest
from roadworthy.checker.registry import probe_of
from roadworthy.checker.runner import Options, run_check

__all__ = ("judged_on", "verdicts_on")

_UNJUDGED = ("n/a", "inconclusive")


async def verdicts_on(manifest: Manifest, families: Sequence[str]) -> dict[str, str]:
    """Return the verdict on every assertion of the families that has a probe."""
    run = await run_check(manifest, Options(only=tuple(families), calibrated=False))
    return {result.id: result.verdict.value for result in run.results if probe_of(result.id)}


async def judged_on(manifest: Manifest, families: Sequence[str]) -> dict[str, str]:
    """Return the verdicts on the assertions that could be judged."""
    found = await verdicts_on(manifest, families)
    return {identifier: verdict for identifier, verdict in found.items() if verdict not in _UNJUDGED}
