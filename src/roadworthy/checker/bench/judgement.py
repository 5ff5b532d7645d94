"""How a probe judges: controls, samples, findings, and the one way to a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...checklist import Assertion, Severity
from ..errors import ControlFailed
from ..http.request import Request
from ..http.show import curl, shown
from ..http.wire import Answer
from ..verdict import Control, Evidence, Finding, Verdict

__all__ = ("Judgement",)


@dataclass(eq=False)
class Judgement:
    """What was seen for and against one assertion.

    Parameters:
        assertion: what is being tried.
        wanted: the fewest judged samples for a pass.
    """

    assertion: Assertion
    wanted: int
    findings: list[Finding] = field(default_factory=list[Finding], init=False)
    notes: list[str] = field(default_factory=list[str], init=False)
    controls: list[Control] = field(default_factory=list[Control], init=False)
    evidence: list[Evidence] = field(default_factory=list[Evidence], init=False)
    samples: int = field(default=0, init=False)
    unjudged: list[str] = field(default_factory=list[str], init=False)
    reason: str = field(default="", init=False)
    undeclared: tuple[str, ...] = field(default=(), init=False)

    def control(self, text: str, holds: object = True, *, undeclared: tuple[str, ...] = ()) -> None:
        """Note a positive control: what shows that a violation would have been seen.

        Parameters:
            undeclared: the manifest's keys whose absence is the reason when it does not hold.

        Raises:
            ControlFailed: it does not hold; let it pass, the runner makes it inconclusive.
        """
        self.controls.append(Control(text, bool(holds)))
        if not holds:
            raise ControlFailed(f"the control does not hold: {text}", undeclared)

    def sample(self, count: int = 1) -> None:
        """Count what was judged."""
        self.samples += count

    def missed(self, what: str, why: object) -> None:
        """Name what the manifest makes possible and what could not be judged, and why: no pass without it.

        What the manifest makes impossible is no miss: :meth:`note` it.
        """
        text = f"{what} ({why})"
        if text not in self.unjudged:
            self.unjudged.append(text)

    def fail(
        self,
        title: str,
        expected: str,
        got: str,
        *answers: Answer,
        severity: Severity | None = None,
        route: str = "",
        replay: str = "",
        evidence: Sequence[Evidence] = (),
    ) -> Verdict:
        """Add a counter-example and return the verdict so far.

        Parameters:
            title: what happened, as a sentence.
            answers: the exchanges that show it; the first gives route and replay unless they are named.
            severity: where this case is milder or worse than the assertion.
            route: method and path template.
        """
        return self._add(Verdict.FAIL, title, expected, got, answers, severity, route, replay, evidence)

    def warn(
        self,
        title: str,
        expected: str,
        got: str,
        *answers: Answer,
        severity: Severity | None = None,
        route: str = "",
        replay: str = "",
        evidence: Sequence[Evidence] = (),
    ) -> Verdict:
        """Add what works, but against a SHOULD or in a fragile way; parameters as for :meth:`fail`."""
        return self._add(Verdict.WARN, title, expected, got, answers, severity, route, replay, evidence)

    def expect(
        self, holds: object, title: str, expected: str, got: str, *answers: Answer, **options: Any
    ) -> bool:
        """Count a sample and fail unless it holds; return whether it did."""
        self.sample()
        if not holds:
            self.fail(title, expected, got, *answers, **options)
        return bool(holds)

    def note(self, text: str) -> None:
        """Tell what is worth knowing and no fault."""
        if text not in self.notes:
            self.notes.append(text)

    def show(self, evidence: Evidence | Answer) -> None:
        """Keep evidence also for a pass: a timeline, a table, an exchange."""
        self.evidence.append(shown(evidence) if isinstance(evidence, Answer) else evidence)

    def inconclusive(self, reason: str, *, undeclared: tuple[str, ...] = ()) -> Verdict:
        """Return that the precondition could not be created.

        Parameters:
            undeclared: the manifest's keys whose absence is the reason, such as ``routes.list``; reports
                show the lines to add. Keys that the manifest has do not count.
        """
        self.reason, self.undeclared = reason, undeclared
        return Verdict.INCONCLUSIVE

    def not_applicable(self, reason: str, *, undeclared: tuple[str, ...] = ()) -> Verdict:
        """Return that the precondition is absent by declaration; parameters as for :meth:`inconclusive`."""
        self.reason, self.undeclared = reason, undeclared
        return Verdict.NOT_APPLICABLE

    def verdict(self) -> Verdict:
        """Return what the findings, controls and samples add up to. This is the only way to a pass."""
        if any(finding.verdict is Verdict.FAIL for finding in self.findings):
            return Verdict.FAIL
        if self.findings:
            return Verdict.WARN
        if not self.controls:
            why = _listed(self.unjudged) or "no control was made, so nothing is proved"
            return self.inconclusive(why)
        if self.unjudged:
            return self.inconclusive(_listed(self.unjudged))
        if self.samples < self.wanted:
            return self.inconclusive(
                f"a pass takes {self.wanted} samples, and {self.samples} could be judged"
            )
        return Verdict.PASS

    def _add(
        self,
        verdict: Verdict,
        title: str,
        expected: str,
        got: str,
        answers: Sequence[Answer],
        severity: Severity | None,
        route: str,
        replay: str,
        evidence: Sequence[Evidence],
    ) -> Verdict:
        first = answers[0].request if answers else None
        found = Finding(
            verdict=verdict,
            title=title,
            expected=expected,
            got=got,
            severity=severity or self.assertion.severity,
            route=route or (self.route_of(first) if first else ""),
            replay=replay or (curl(first) if first else ""),
            evidence=(*(shown(answer) for answer in answers), *evidence),
        )
        # The same once more is no news; the first shows it.
        if not any(_is_same(found, other) for other in self.findings):
            self.findings.append(found)
        return self.verdict()

    def route_of(self, request: Request) -> str:
        """Return method and path of a request, for a finding."""
        return f"{request.method} {request.path[:120]}"


def _is_same(one: Finding, other: Finding) -> bool:
    return (one.verdict, one.title, one.severity, one.route) == (
        other.verdict,
        other.title,
        other.severity,
        other.route,
    )


def _listed(unjudged: list[str]) -> str:
    return f"not judged: {'; '.join(unjudged)}" if unjudged else ""
