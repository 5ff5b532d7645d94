"""One assertion tried on one twin, or all that twins break on a good service."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roadworthy.checker import Options, Result, Verdict, run_check

from .catalogue import Twin, manifest_of

__all__ = ("judge_good", "judge_twin")

_LONGEST = 600.0
"""Seconds for one run; the longest assertion by itself takes less than 60."""


def judge_good(place: Path, ids: Iterable[str]) -> dict[str, str]:
    """Return the verdict of the good service for each id, with the reason where it is no pass."""
    results = _run(place, "", tuple(ids))
    return {each.id: " ".join(filter(None, (each.verdict.value, _why(each)))) for each in results}


def judge_twin(place: Path, twin: Twin) -> dict[str, Any]:
    """Return what the assertion that a twin breaks found out about it."""
    try:
        (result,) = _run(place, twin.name, (twin.breaks,))
    except Exception as error:
        return {
            "outcome": "inconclusive",
            "verdict": "error",
            "why": f"{type(error).__name__}: {error}"[:400],
        }
    outcomes = {Verdict.FAIL: "caught", Verdict.WARN: "caught", Verdict.PASS: "missed"}
    return {
        "outcome": outcomes.get(result.verdict, "inconclusive"),
        "verdict": result.verdict.value,
        "why": _why(result),
        "seconds": round(result.seconds, 1),
    }


def _why(result: Result) -> str:
    titles = dict.fromkeys(f"{finding.title} ({finding.got[:80]})" for finding in result.findings)
    return "; ".join([*filter(None, [result.reason]), *list(titles)[:2]])[:400]


def _run(place: Path, fault: str, only: tuple[str, ...]) -> tuple[Result, ...]:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Each run has a copy of its own, so that no two of them share a data file.
    with tempfile.TemporaryDirectory(prefix="blind-") as folder:
        shutil.copy(place.parent / "openapi.json", folder)
        own = Path(folder, place.name)
        shutil.copytree(place, own)
        manifest = manifest_of(own, fault)
        run = asyncio.run(asyncio.wait_for(run_check(manifest, Options(only=only)), _LONGEST))
    return tuple(result for result in run.results if result.id in only)
