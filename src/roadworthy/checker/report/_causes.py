"""Findings by their cause: what has the same title and the same expectation is one fault in many places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...checklist import Severity
from ..http.show import cut
from ..verdict import Finding, Result, Verdict

__all__ = ("Cause", "by_cause", "capped", "numbered")

_ORDER = (Verdict.FAIL, Verdict.WARN)
_SEVERITIES = tuple(Severity)
_CASE = re.compile(r"\s*\(([^()]*)\)$")
# A path, a URL, the name of a series or a variable: what differs from place to place.
_NAME = re.compile(r"\S*[/_]\S*")
_LONGEST_PLACE = 80
_MOST_BLOCKS = 3
_BLANK = "…"


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault, wherever it was seen.

    Parameters:
        title: the words that all titles have in common.
        seen: the results with their findings, the worst first.
    """

    title: str
    seen: tuple[tuple[Result, Finding], ...]

    @property
    def result(self) -> Result:
        """The result of the worst finding."""
        return self.seen[0][0]

    @property
    def finding(self) -> Finding:
        """The worst finding, which stands for all."""
        return self.seen[0][1]

    @property
    def ids(self) -> tuple[str, ...]:
        """The assertions that it breaks."""
        return tuple(dict.fromkeys(result.id for result, _ in self.seen))

    def places(self, most: int) -> tuple[str, ...]:
        """Return where it was seen, the first ``most`` by name; nothing for a single place."""
        several = len(self.ids) > 1
        found = list(dict.fromkeys(_place(result, one, several=several) for result, one in self.seen))
        if len(found) < 2:
            return ()
        left = len(found) - most
        return (*found[:most], f"and {left} more") if left > 0 else tuple(found)


def by_cause(results: Iterable[Result]) -> tuple[Cause, ...]:
    """Return the causes of all findings: those that count before those that are waived, the worst first."""
    groups: dict[tuple[str, str, bool], list[tuple[Result, Finding]]] = {}
    for result in results:
        for finding in result.findings:
            key = (_skeleton(finding.title, finding), _skeleton(finding.expected, finding))
            groups.setdefault((*key, result.waived is not None), []).append((result, finding))
    causes = (_cause(seen) for seen in groups.values())
    return tuple(sorted(causes, key=lambda cause: _rank(*cause.seen[0])))


def capped(causes: Sequence[Cause]) -> Iterator[tuple[Cause, tuple[str, ...]]]:
    """Yield the causes that deserve a block, the last of an assertion with the titles of those that do not.

    An assertion that fails in ten ways is read no further than the third.
    """
    mine: dict[str, list[Cause]] = {}
    for cause in causes:
        mine.setdefault(cause.result.id, []).append(cause)
    for cause in causes:
        own = mine[cause.result.id]
        at = own.index(cause)
        if at < _MOST_BLOCKS:
            yield cause, tuple(one.title for one in own[_MOST_BLOCKS:]) if at == _MOST_BLOCKS - 1 else ()


def numbered(ids: Iterable[str]) -> str:
    """Return ids as people list them: ``VAL-0 to 10, CTL-1``."""
    runs: list[tuple[str, int, int]] = []
    for identifier in ids:
        family, _, number = identifier.rpartition("-")
        if runs and runs[-1][0] == family and runs[-1][2] + 1 == int(number):
            runs[-1] = (family, runs[-1][1], int(number))
        else:
            runs.append((family, int(number), int(number)))
    return ", ".join(
        f"{family}-{first}" if first == last else f"{family}-{first} to {last}"
        for family, first, last in runs
    )


def _rank(result: Result, finding: Finding) -> tuple[bool, int, int]:
    return (result.waived is not None, _ORDER.index(finding.verdict), _SEVERITIES.index(finding.severity))


def _cause(seen: list[tuple[Result, Finding]]) -> Cause:
    ordered = tuple(sorted(seen, key=lambda pair: _rank(*pair)))
    titles = {finding.title for _, finding in ordered}
    if len(titles) > 1:
        titles = {_CASE.sub("", title) for title in titles}
    return Cause(titles.pop() if len(titles) == 1 else _skeleton(ordered[0][1].title, ordered[0][1]), ordered)


def _skeleton(text: str, finding: Finding) -> str:
    """Return a text without the names in it, and without the case that stands in brackets at its end."""
    words = _CASE.sub("", text).split(" ")
    return " ".join(_BLANK if word == finding.got or _NAME.fullmatch(word) else word for word in words)


def _place(result: Result, finding: Finding, *, several: bool) -> str:
    case = _CASE.search(finding.title)
    detail = f"({case[1]})" if case else "" if finding.route else finding.got
    words = (result.id if several else "", finding.route, cut(detail, _LONGEST_PLACE))
    return " ".join(filter(None, words))
