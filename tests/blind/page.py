"""``docs/blind-twins.md``, written from the results."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from roadworthy.checklist import Severity

from .catalogue import LANGUAGES, TWINS, Twin, assertion

__all__ = ("PAGE", "page_of", "recall")

PAGE = Path(__file__).parents[2] / "docs" / "blind-twins.md"
_HEAD = """# Faults written blind

The faults on which the probes are tried are made by those who know the probes. These are not: each was
written from the sentence of an assertion alone, without a look at the probe that tries it, as a switch in a
small good service (`tests/blind`, in Python, Node, Go and Java). Each shows in one case only, as real faults
do. A twin is caught when the assertion that it breaks reports a finding; it is not used where the good
service does not pass by itself.

`python -m tests.blind` tries all of them and writes this page.
"""


def recall(twins: list[Twin], results: dict[str, Any]) -> tuple[int, int]:
    """Return how many of the twins that say something were caught, and how many those are."""
    outcomes = Counter(results["twins"][twin.name]["outcome"] for twin in twins)
    return outcomes["caught"], sum(outcomes.values()) - outcomes["unused"]


def _share(twins: list[Twin], results: dict[str, Any]) -> str:
    caught, used = recall(twins, results)
    return f"{caught} of {used} | {100 * caught / used:.0f} %" if used else "0 of 0 |"


def _rows(outcome: str, results: dict[str, Any]) -> list[str]:
    rows = []
    for twin in TWINS:
        result = results["twins"][twin.name]
        if result["outcome"] == outcome:
            why = " ".join(result["why"].split()).replace("|", "\\|")[:160]
            rows.append(" | ".join([f"| `{twin.name}`", twin.breaks, twin.when, *filter(None, [why])]) + " |")
    return rows


def page_of(results: dict[str, Any]) -> str:
    """Return the page that tells of results.

    Parameters:
        results: what the runner stored.
    """
    twins = list(TWINS)
    lines = [
        _HEAD,
        f"{results['date']}, commit {results['commit']}, before any of the misses was mended.",
        "",
    ]
    lines += ["| twins | caught | recall |", "| --- | --- | --- |"]
    for severity in dict.fromkeys(sorted((assertion(twin.breaks).severity for twin in twins), key=_order)):
        some = [twin for twin in twins if assertion(twin.breaks).severity is severity]
        lines.append(f"| {severity.value} | {_share(some, results)} |")
    for letters, language in LANGUAGES.items():
        lines.append(
            f"| {language} | {_share([twin for twin in twins if twin.language == letters], results)} |"
        )
    lines.append(f"| all | {_share(twins, results)} |")
    for outcome, title in (("missed", "Missed"), ("inconclusive", "Inconclusive"), ("unused", "Not used")):
        rows = _rows(outcome, results)
        if rows:
            columns = ["twin", "assertion", "fault", *(["verdict"] if outcome != "missed" else [])]
            lines += [
                "",
                f"## {title}",
                "",
                f"| {' | '.join(columns)} |",
                f"|{' --- |' * len(columns)}",
                *rows,
            ]
    return "\n".join(lines) + "\n"


def _order(severity: Severity) -> int:
    return list(Severity).index(severity)
