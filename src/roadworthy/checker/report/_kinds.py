"""The kinds of results that people read about: the verdicts, and two of their own for what was not tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..verdict import Result, Verdict

__all__ = ("KINDS", "kind_of", "kinds_of")

_NOT_DECLARED = "not declared"
_LEFT_OUT = "left out"
KINDS = (*map(str, Verdict), _NOT_DECLARED, _LEFT_OUT)
"""All kinds, in the order of reports."""


def kind_of(result: Result) -> str:
    """Return the verdict of a result, or why it was not tried.

    It is ``not declared`` where lines of the manifest are missing, ``left out`` where this run does without.
    """
    if result.undeclared:
        return _NOT_DECLARED
    return _LEFT_OUT if result.left_out else str(result.verdict)


def kinds_of(results: Iterable[Result]) -> dict[str, int]:
    """Return how many results there are of each kind that occurs, in the order of :data:`KINDS`."""
    counts = Counter(map(kind_of, results))
    return {kind: counts[kind] for kind in KINDS if counts[kind]}
