"""Findings by their cause: what has the same title and the same expectation is one fault in many places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias

from ...checklist import Severity
from ..http.show import cut
from ..verdict import Finding, Result, Verdict

__all__ = ("PLACES", "Cause", "by_cause", "capped", "numbered")

PLACES = 3
"""How many places of a cause are named; the others are counted."""

_ORDER = (Verdict.FAIL, Verdict.WARN)
_SEVERITIES = tuple(Severity)
_CASE = re.compile(r"\s*\(([^()]*)\)$")
# A path, a URL, the name of a series or a variable: what differs from place to place.
_NAME = re.compile(r"\S*[/_]\S*")
# A path that no service has is made of these.
_MADE_UP = re.compile(r"[0-9a-f]{32}")
_LONGEST_PLACE = 80
_MOST_BLOCKS = 3
_BLANK = "…"


_Seen: TypeAlias = tuple[Result, Finding]


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault, wherever it was seen.

    Parameters:
        title: the words that all titles have in common.
        seen: the results with their findings, the worst first.
    """

    title: str
    seen: tuple[_Seen, ...]

    @property
    def result(self) -> Result:
        """The result of the worst finding."""
        return self.seen[0][0]

    @property
    def finding(self) -> Finding:
        """The worst finding, which stands for all."""
        return self.seen[0][1]

    @property
    def heading(self) -> str:
        """The title where it has a subject, else that of the worst finding: a block begins with a thing."""
        return self.finding.title if self.title.startswith(_BLANK) else self.title

    @property
    def ids(self) -> tuple[str, ...]:
        """The assertions that it breaks."""
        return tuple(dict.fromkeys(result.id for result, _ in self.seen))

    @property
    def route(self) -> str:
        """The route that it was seen on, where there is one for all."""
        routes = {finding.route for _, finding in self.seen}
        return routes.pop() if len(routes) == 1 else ""

    def places(self, most: int) -> tuple[str, ...]:
        """Return where it was seen, the first ``most`` by name; nothing for a single place."""
        several = len(self.ids) > 1
        found = list(dict.fromkeys(self._place(*pair, several=several) for pair in self.seen))
        if len(found) < 2:
            return ()
        left = len(found) - most
        return (*found[:most], f"and {left} more") if left > 0 else tuple(found)

    def _place(self, result: Result, finding: Finding, *, several: bool) -> str:
        """Return what a finding has besides the others: its assertion, its route, the rest of its title."""
        case, ending = _CASE.search(finding.title), self.title.removeprefix(_BLANK)
        detail = "" if finding.route else finding.got
        if case:
            detail = case[1] if self.route else f"({case[1]})"
        elif ending != self.title and finding.title.endswith(ending):
            detail = finding.title.removesuffix(ending).rstrip(" :")
        elif finding.title != self.title:
            words, common = finding.title.split(" "), set(self.title.split(" "))
            detail = " ".join(word for word in words if word not in common)
        route = "" if self.route else _MADE_UP.sub(_BLANK, finding.route)
        return " ".join(filter(None, (result.id if several else "", route, cut(detail, _LONGEST_PLACE))))


def by_cause(results: Iterable[Result]) -> tuple[Cause, ...]:
    """Return the causes of all findings: those that count before those that are waived, the worst first.

    What has the same title is one cause within an assertion, and over several where the expectation is the
    same too. Names, and a case in brackets at the end of a title, make no difference. Within an assertion the
    same end of a title is enough where expectation and severity are the same too: many inputs, one fault.
    """
    seen = [(result, finding) for result in results for finding in result.findings]
    groups = _merged([[pair] for pair in seen], lambda pair: (pair[0].id, _skeleton(pair[1])))
    groups = _merged(groups, lambda pair: (_skeleton(pair[1]), _bare(pair[1].expected, pair[1])))
    groups = _merged(groups, _consequence)
    causes = [_cause(group) for group in groups]
    return tuple(sorted(causes, key=lambda cause: _rank(*cause.seen[0])))


def _merged(groups: list[list[_Seen]], key: Callable[[_Seen], object]) -> list[list[_Seen]]:
    """Return the groups, those joined whose first members have the same key; a waived one stays apart."""
    found: dict[object, list[_Seen]] = {}
    for group in groups:
        found.setdefault((key(group[0]), group[0][0].waived is not None), []).extend(group)
    return list(found.values())


def capped(causes: Sequence[Cause]) -> Iterator[tuple[Cause, tuple[Cause, ...]]]:
    """Yield the causes that deserve a block, the last of an assertion with those that do not.

    An assertion that fails in ten ways is read no further than the third.
    """
    mine: dict[str, list[Cause]] = {}
    for cause in causes:
        mine.setdefault(cause.result.id, []).append(cause)
    for cause in causes:
        own = mine[cause.result.id]
        at = own.index(cause)
        if at < _MOST_BLOCKS:
            yield cause, tuple(own[_MOST_BLOCKS:]) if at == _MOST_BLOCKS - 1 else ()


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


def _cause(seen: list[_Seen]) -> Cause:
    ordered = tuple(sorted(seen, key=lambda pair: _rank(*pair)))
    return Cause(_common([finding.title for _, finding in ordered]), ordered)


def _common(titles: list[str]) -> str:
    """Return the words that titles have in common, with a sign for those that differ."""
    if len(set(titles)) > 1:
        titles = [_CASE.sub("", title) for title in titles]
    words = [title.split(" ") for title in dict.fromkeys(titles)]
    if len({len(each) for each in words}) == 1:
        shared = [each[0] if len(set(each)) == 1 else _BLANK for each in zip(*words, strict=True)]
    else:
        backwards = zip(*(reversed(each) for each in words), strict=False)
        same = [each[0] for each in takewhile(lambda each: len(set(each)) == 1, backwards)]
        shared = [_BLANK, *reversed(same)]
    return re.sub(rf"{_BLANK}(?: {_BLANK})+", _BLANK, " ".join(shared))


def _bare(text: str, finding: Finding) -> str:
    """Return a text without the names in it, and without the case that stands in brackets at its end."""
    words = _CASE.sub("", text).split(" ")
    return " ".join(_BLANK if word == finding.got or _NAME.fullmatch(word) else word for word in words)


def _skeleton(finding: Finding) -> str:
    return _bare(finding.title, finding)


def _consequence(pair: _Seen) -> object:
    result, one = pair
    return (result.id, _ending(one), _bare(one.expected, one), one.verdict, one.severity)


def _ending(finding: Finding) -> str:
    """Return what is said of a thing: the end of a title, behind a colon or of two words."""
    text = _skeleton(finding)
    return text.rpartition(": ")[2] if ": " in text else " ".join(text.split(" ")[-2:])
