"""Verdicts, findings and what stands behind them; and the one table of exit codes.

There are six verdicts, because "not failed" is not "proved": an assertion whose precondition could not be
made is inconclusive, and inconclusive never counts as a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TypeAlias

from ..checklist import Severity

__all__ = (
    "Control",
    "Evidence",
    "ExitCode",
    "Finding",
    "ItemResult",
    "ItemState",
    "Lines",
    "Point",
    "Result",
    "Table",
    "Timeline",
    "Verdict",
    "Waiver",
    "WireExchange",
    "exit_code",
    "judge_item",
    "required",
)


class Verdict(StrEnum):
    """The result of a check for one assertion."""

    PASS = "pass"  # noqa: S105
    """Proved: a control showed that the probe can see, and every sample held."""
    FAIL = "fail"
    """Disproved, with a counter-example that can be replayed."""
    WARN = "warn"
    """It works, but against a SHOULD, or in a fragile way."""
    NOT_APPLICABLE = "n/a"
    """The precondition is absent because of a declaration in the manifest."""
    INCONCLUSIVE = "inconclusive"
    """The precondition could not be created. Counts as not proved."""
    ERROR = "error"
    """The checker or the target broke while it was being tried."""


@dataclass(frozen=True, slots=True)
class WireExchange:
    """One request and what came back, as excerpts of the bytes.

    Parameters:
        curl: a command that sends the request again.
    """

    request: str
    response: str
    curl: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of output of the service, or of anything else that is a list of lines."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """Something that happened.

    Parameters:
        at: seconds since the beginning of the timeline; negative before it.
        lane: who did it, such as ``process``, ``in flight``, ``new connections``.
        until: the end of what lasted, in seconds, or None for a moment.
    """

    at: float
    lane: str
    text: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened when; drawn in the HTML report."""

    title: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers beside each other."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Evidence: TypeAlias = WireExchange | Lines | Timeline | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One counter-example.

    Parameters:
        verdict: ``fail`` or ``warn``.
        title: what happened, as a sentence.
        expected, got: the two sides of it.
        severity: where this case is worse or milder than its assertion.
        route: method and path template it was seen on.
        replay: a command line that shows it again.
    """

    verdict: Verdict
    title: str
    expected: str
    got: str
    severity: Severity
    route: str = ""
    replay: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """A positive control: what shows that a violation would have been seen."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A decision to live with findings.

    Parameters:
        id: an assertion, or the beginning of several (``CMP``).
        route: a glob over the finding's route; every route when empty.
        expires: ISO date; the finding counts again from that day on.
        line: where it stands in the manifest.
    """

    id: str
    reason: str
    route: str = ""
    expires: str = ""
    owner: str = ""
    state: str = "accepted"
    line: int = 0

    def covers(self, assertion_id: str) -> bool:
        """Tell whether the waiver is about this assertion."""
        return assertion_id == self.id or assertion_id.rpartition("-")[0] == self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was found out about one assertion.

    Parameters:
        reason: why the verdict is what it is, where the findings do not say it.
        severity: the worst of the findings, else the assertion's own.
        samples, wanted: how often it was tried, and how often it has to be for a pass.
        left_out: it was not tried because the profile does without it, or because nothing may be written.
        undeclared: the manifest's keys that it lacks, by their dotted path; with all of them it is tried.
        waived: the waiver that covers every failing finding.
    """

    id: str
    item: str
    verdict: Verdict
    severity: Severity
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    samples: int = 0
    wanted: int = 1
    requests: int = 0
    seconds: float = 0.0
    phase: str = ""
    flaky: bool = False
    unreachable: bool = False
    left_out: bool = False
    undeclared: tuple[str, ...] = ()
    waived: Waiver | None = None


_NORMAL = frozenset({Severity.CRITICAL, Severity.HIGH})
_REQUIRED = {False: _NORMAL, True: _NORMAL | {Severity.MEDIUM}}
"""The severities that decide, by ``strict``. Low ones and notes never do."""


def required(result: Result, strict: bool) -> bool:
    """Tell whether a result decides about its item and about the exit code."""
    return result.severity in _REQUIRED[strict]


class ItemState(StrEnum):
    """The result for a whole item."""

    PROVED = "proved"
    FAILED = "failed"
    NOT_PROVED = "not proved"
    WAIVED = "waived"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item or pattern: what its required assertions add up to."""

    id: str
    state: ItemState
    counts: dict[Verdict, int] = field(default_factory=dict[Verdict, int])


def judge_item(item_id: str, results: Iterable[Result], strict: bool) -> ItemResult:
    """Add up the results of one item: it is proved only when each of its required assertions is.

    A warning holds in a normal run (the service works) and does not in a strict one.
    """
    mine = [result for result in results if result.item == item_id]
    counts = {verdict: sum(result.verdict is verdict for result in mine) for verdict in Verdict}
    deciding = [result for result in mine if required(result, strict)]
    # An item must not be proved, nor left out, for want of required assertions that apply: the others decide.
    if all(result.verdict is Verdict.NOT_APPLICABLE for result in deciding):
        deciding = mine
    failing = {Verdict.FAIL, Verdict.WARN} if strict else {Verdict.FAIL}
    failed = [result for result in deciding if result.verdict in failing]
    open_ends = {Verdict.INCONCLUSIVE, Verdict.ERROR}
    if any(result.waived is None for result in failed):
        state = ItemState.FAILED
    elif not deciding or any(result.verdict in open_ends and not result.waived for result in deciding):
        state = ItemState.NOT_PROVED
    elif any(result.waived for result in deciding):
        state = ItemState.WAIVED
    elif all(result.verdict is Verdict.NOT_APPLICABLE for result in deciding):
        state = ItemState.NOT_APPLICABLE
    else:
        state = ItemState.PROVED
    return ItemResult(item_id, state, counts)


class ExitCode(IntEnum):
    """The exit codes of ``roadworthy check``; each has one meaning."""

    OK = 0
    """Nothing that decides was found, or only what is waived."""
    FINDINGS = 1
    """At least one required assertion fails."""
    USAGE = 2
    """The command line or the manifest is wrong; nothing was checked."""
    UNREACHABLE = 3
    """The service did not start, or was gone in the middle."""
    INCONCLUSIVE = 4
    """Nothing fails, but more required assertions are inconclusive than allowed."""
    INTERNAL = 70
    """The checker itself broke (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Interrupted (SIGINT, SIGTERM); the reports have the findings so far."""


def exit_code(
    results: Sequence[Result],
    *,
    strict: bool = False,
    allow_inconclusive: int = 0,
    interrupted: bool = False,
) -> ExitCode:
    """Return the exit code of a run.

    Parameters:
        allow_inconclusive: how many required assertions may stay without proof.
        interrupted: whether it was stopped before the end.
    """
    if interrupted:
        return ExitCode.INTERRUPTED
    counted = [result for result in results if required(result, strict) and result.waived is None]
    failing = {Verdict.FAIL, Verdict.WARN} if strict else {Verdict.FAIL}
    if any(result.unreachable for result in results):
        return ExitCode.UNREACHABLE
    if any(result.verdict in failing for result in counted):
        return ExitCode.FINDINGS
    if any(result.verdict is Verdict.ERROR for result in results):
        return ExitCode.INTERNAL
    left = sum(result.verdict is Verdict.INCONCLUSIVE and not result.left_out for result in counted)
    return ExitCode.INCONCLUSIVE if left > allow_inconclusive else ExitCode.OK
