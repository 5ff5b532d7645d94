"""One finding for all kinds of response, or of request, that have the same fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...bench import Bench
from ...http.wire import Answer

__all__ = ("Wrong", "judge_kinds")

_SHOWN = 3
_LISTED = 8

Wrong = Mapping[str, tuple[str, Answer]]
"""What was seen and where, by the kind that it was seen on."""


def judge_kinds(
    bench: Bench, title: str, expected: str, wrong: Wrong, *, warns: bool = False, **options: Any
) -> None:
    """Add one finding unless nothing is wrong; options are those of :meth:`.Judgement.fail`."""
    if not wrong:
        return
    kinds: dict[str, list[str]] = {}
    for kind, (value, _) in wrong.items():
        kinds.setdefault(value, []).append(kind)
    got = "; ".join(f"{value} ({_listed(each)})" for value, each in kinds.items())
    answers = [answer for _, answer in wrong.values()][:_SHOWN]
    (bench.warn if warns else bench.fail)(title, expected, got, *answers, **options)


def _listed(kinds: list[str]) -> str:
    more = len(kinds) - _LISTED
    return ", ".join([*kinds[:_LISTED], *([f"and {more} more"] if more > 0 else [])])
