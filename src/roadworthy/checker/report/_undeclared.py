"""What is not declared, in one sentence; the lines are :func:`~roadworthy.checker.declare.manifest_lines`."""

from __future__ import annotations

from ..events import Run

__all__ = ("invitation",)


def invitation(run: Run) -> str:
    """Return how much more can be tried, and what to declare first; empty when nothing is missing."""
    if not run.undeclared:
        return ""
    total, first = sum(len(step.assertions) for step in run.undeclared), run.undeclared[0]
    left = sum(bool(result.undeclared) and not result.waived for result in run.results) - total
    later = f" (and {left} with --profile full)" if left > 0 else ""
    file = run.manifest.file or "roadworthy.toml (roadworthy check init writes it with what was inferred)"
    return (
        f"{total} more can be tried{later}. Declare {' and '.join(first.keys)} to try "
        f"{len(first.assertions)} more; these are the lines for all of them, best first, to paste into "
        f"{file} and to adapt:"
    )
