"""The report as one HTML page that needs nothing else: no network, no script, readable on a phone.

Verdict counts come first, then what fails, then what stayed without proof, then everything, closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...checklist import ITEMS, PATTERNS, assertion
from ..declare import manifest_lines
from ..events import Run
from ..verdict import ExitCode, ItemResult, ItemState, Result, Verdict, Waiver
from ._causes import Cause, by_cause, capped, numbered
from ._html_evidence import evidence
from ._kinds import KINDS, kind_of, kinds_of
from ._markup import Markup, many, tag
from ._stack import fix_for, stack_of
from ._undeclared import invitation

__all__ = ("write",)

_STYLE = Path(__file__).with_name("report.css")
# Whatever a service answered stands in this page: should some of it ever get through as markup, it can load,
# run and send nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_ENTRIES = {entry.id: entry for entry in (*ITEMS, *PATTERNS)}
_MOST_PLACES = 12
_OPEN = (Verdict.INCONCLUSIVE, Verdict.ERROR)
_CODES = {
    ExitCode.OK: "no required assertion failed",
    ExitCode.FINDINGS: "there are findings",
    ExitCode.UNREACHABLE: "the service did not start, or was gone",
    ExitCode.INCONCLUSIVE: "too many required assertions stayed without proof",
    ExitCode.INTERNAL: "the checker broke",
    ExitCode.INTERRUPTED: "the check was interrupted",
}


def write(run: Run, path: Path) -> None:
    """Write the report."""
    path.write_text(f"<!doctype html>\n{_page(run)}\n", "utf-8")


def _page(run: Run) -> Markup:
    title = f"roadworthy check: {run.target}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        # A style element holds text as it is; this one is a file of ours.
        tag("style", Markup(_STYLE.read_text("utf-8"))),
    )
    body = tag("body", _header(run), tag("main", *_sections(run)), _footer(run))
    return tag("html", head, body, lang="en")


def _header(run: Run) -> Markup:
    waived = sum(result.waived is not None for result in run.results)
    counts = kinds_of(result for result in run.results if result.waived is None)
    tiles = [_tile(kind, counts.get(kind, 0)) for kind in KINDS if kind in {*Verdict, *counts}]
    facts = [
        run.began.replace("T", " ").replace("+00:00", " UTC"),
        f"{run.seconds:.1f} s",
        f"{run.requests} requests",
        f"{run.launches} starts",
        f"profile {run.profile}{', strict' if run.strict else ''}",
    ]
    word = "good" if run.exit_code is ExitCode.OK else "bad"
    return tag(
        "header",
        tag("p", "roadworthy check", class_="brand"),
        tag("h1", tag("code", run.target)),
        tag("p", _proved(run), class_=f"sum {word}"),
        tag("div", *tiles, _tile("waived", waived) if waived else None, class_="tiles"),
        tag("p", " · ".join(facts), class_="facts"),
        tag("p", f"Exit code {int(run.exit_code)}: {_CODES.get(run.exit_code, '')}.", class_="facts"),
        *(tag("p", text, class_="notice") for text in (*run.limits, *run.notices)),
        tag("p", "Only for this check: ", tag("code", ", ".join(run.overlay)), class_="notice")
        if run.overlay
        else None,
    )


def _proved(run: Run) -> str:
    words: list[str] = []
    for entries, name in ((ITEMS, "items"), (PATTERNS, "patterns")):
        ids = {entry.id for entry in entries}
        mine = [item for item in run.items if item.id in ids]
        if mine:
            proved = sum(item.state is ItemState.PROVED for item in mine)
            words.append(f"{proved} of {len(mine)} {name}")
    return f"Proved {' and '.join(words)}"


def _tile(name: str, count: int) -> Markup:
    return tag(
        "div",
        tag("b", str(count)),
        tag("span", name),
        class_=f"tile {_class(name)}{' none' if not count else ''}",
    )


def _sections(run: Run) -> Iterable[Markup | None]:
    yield tag(
        "section", tag("h2", "Items"), tag("div", *(_card(item, run) for item in run.items), class_="cards")
    )
    causes = by_cause(run.results)
    if causes:
        fixes = _Fixes(stack_of(run))
        blocks = [block for pair in capped(causes) for block in _blocks(*pair, fixes)]
        yield tag("section", tag("h2", "Findings"), _addresses(run), *blocks, id="findings")
    yield _without_proof([each for each in run.results if each.verdict in _OPEN and not each.undeclared])
    yield _undeclared(run)
    yield tag("section", tag("h2", "Everything that was tried"), *(_item(item, run) for item in run.items))
    yield _waivers(run)


def _card(item: ItemResult, run: Run) -> Markup:
    kinds = kinds_of(result for result in run.results if result.item == item.id)
    parts = [
        tag("i", class_=_class(kind), style=f"flex-grow:{count}", title=f"{count} {kind}")
        for kind, count in kinds.items()
    ]
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return tag(
        "a",
        tag("b", _ENTRIES[item.id].title),
        tag("span", str(item.state), class_=f"state {_class(item.state)}"),
        tag("span", *parts, class_="bar") if parts else None,
        tag("small", counts),
        href=f"#item-{item.id}",
        class_="card",
    )


def _addresses(run: Run) -> Markup | None:
    """Return once what the variables of the commands stood for, and how to have the service there again."""
    if not run.addresses or not any(finding.replay for each in run.results for finding in each.findings):
        return None
    again = many(" Start it there again with ", tag("code", run.restart), ".") if run.restart else None
    given = " ".join(f"{name}={value}" for name, value in run.addresses)
    return tag("p", "In the commands: ", tag("code", given), ".", again, class_="facts")


@dataclass(slots=True)
class _Fixes:
    """How items are mended in a stack; open where an item is named for the first time."""

    stack: str
    shown: set[str] = field(default_factory=set[str])

    def of(self, item: str) -> Markup | None:
        """Return the fix of an item; None for a code pattern."""
        found = fix_for(item, self.stack)
        if found is None:
            return None
        name, fix = found
        first = item not in self.shown
        self.shown.add(item)
        return tag(
            "details",
            tag("summary", tag("span", f"fix, {name}", class_="kind"), fix.text),
            tag("pre", fix.snippet),
            open=first,
            class_="fix",
        )


def _undeclared(run: Run) -> Markup | None:
    """Return the lines of a manifest with which more would be tried."""
    text = invitation(run)
    if not text:
        return None
    lines = "\n".join(manifest_lines(run.undeclared, run.manifest))
    return tag("section", tag("h2", "Not declared"), tag("p", text), tag("pre", lines), id="undeclared")


def _blocks(cause: Cause, more: Sequence[Cause], fixes: _Fixes) -> Iterable[Markup]:
    """Yield the block of a cause, and those of the same assertion that it stands for, closed."""
    yield _finding(cause, fixes)
    if more:
        title = tag("summary", f"{len(more)} more of {cause.result.id}")
        yield tag("details", title, *(_finding(one, fixes) for one in more), class_="also")


def _finding(cause: Cause, fixes: _Fixes) -> Markup:
    result, finding, places = cause.result, cause.finding, cause.places(_MOST_PLACES)
    entry = assertion(result.id)
    controls = [control.text for control in result.controls if control.holds]
    waived = result.waived
    return tag(
        "article",
        tag(
            "h3",
            _chip("waived" if waived else str(finding.verdict)),
            tag("span", numbered(cause.ids), class_="id"),
            tag("span", finding.severity.value, class_="severity"),
            tag("span", cause.heading),
        ),
        tag("p", tag("code", cause.route), class_="route") if cause.route else None,
        tag("p", f"{len(cause.seen)} times: {'; '.join(places)}", class_="route") if places else None,
        tag("p", f"Waived: {waived.reason}", class_="notice") if waived else None,
        tag(
            "div",
            tag("div", tag("h4", "expected"), tag("p", finding.expected)),
            tag("div", tag("h4", "got"), tag("p", finding.got)),
            class_="sides",
        ),
        tag("p", entry.why, " ", tag("cite", entry.source)),
        tag("p", tag("span", "control", class_="kind"), controls[0], class_="control") if controls else None,
        tag("pre", finding.replay, class_="replay", aria_label="command to see it again")
        if finding.replay
        else None,
        None if waived else fixes.of(result.item),
        *map(evidence, finding.evidence),
        tag("p", tag("code", f"roadworthy explain {result.id}"), class_="more"),
        class_=f"finding {_class('waived' if waived else finding.verdict)}",
    )


def _without_proof(results: Sequence[Result]) -> Markup | None:
    """Say what stayed without proof, one entry per reason."""
    reasons: dict[tuple[Verdict, str], list[Result]] = {}
    for result in results:
        reasons.setdefault((result.verdict, result.reason), []).append(result)
    if not reasons:
        return None
    entries = [
        tag("li", _chip(str(verdict)), tag("span", ", ".join(each.id for each in mine), class_="id"), reason)
        for (verdict, reason), mine in reasons.items()
    ]
    return tag("section", tag("h2", "Without proof"), tag("ul", *entries, class_="open"))


def _item(item: ItemResult, run: Run) -> Markup:
    entry = _ENTRIES[item.id]
    mine = [result for result in run.results if result.item == item.id]
    return tag(
        "details",
        tag(
            "summary",
            tag("b", entry.title),
            tag("span", str(item.state), class_=f"state {_class(item.state)}"),
        ),
        tag("p", entry.why, " ", tag("cite", entry.source)),
        *map(_row, mine),
        id=f"item-{item.id}",
        class_="item",
    )


def _row(result: Result) -> Markup:
    cost = f"{result.samples} of {result.wanted} samples, {result.requests} requests, {result.seconds:.1f} s"
    more = many(
        tag("p", result.reason) if result.reason else None,
        tag("ul", *(tag("li", note) for note in result.notes)) if result.notes else None,
        *(
            tag("p", tag("span", "control", class_="kind"), control.text, class_="control")
            for control in result.controls
        ),
        *map(evidence, result.evidence),
        tag("p", cost, class_="facts") if result.phase else None,
    )
    head = many(
        _chip("waived" if result.waived else kind_of(result)),
        tag("span", result.id, class_="id"),
        tag("span", assertion(result.id).title),
        tag("span", "flaky", class_="severity") if result.flaky else None,
    )
    if not more:
        return tag("p", head, class_="row")
    return tag("details", tag("summary", head), more, class_="row")


def _waivers(run: Run) -> Markup | None:
    entries = [_waiver(each, "covers nothing any more") for each in run.unused_waivers]
    entries += [_waiver(each, f"expired on {each.expires}") for each in run.expired_waivers]
    return tag("section", tag("h2", "Waivers to look at"), tag("ul", *entries)) if entries else None


def _waiver(waiver: Waiver, what: str) -> Markup:
    return tag("li", tag("span", waiver.id, class_="id"), f"line {waiver.line}, {what}: {waiver.reason}")


def _footer(run: Run) -> Markup:
    machine = run.calibration
    speed = (
        f"This machine: {machine.cores} cores, a request to a built-in server takes {machine.p50:.2f} ms "
        f"(p99 {machine.p99:.2f} ms), deadlines × {machine.slowness:g}. "
        if machine
        else ""
    )
    inferred = [
        tag("li", tag("code", name), f": {how}") for name, how in sorted(run.manifest.inferred.items())
    ]
    return tag(
        "footer",
        tag("details", tag("summary", "Inferred, not declared"), tag("ul", *inferred)) if inferred else None,
        tag("p", f"{speed}roadworthy {run.version}, run {run.id}."),
        tag(
            "p",
            "Inconclusive means that the precondition could not be made: it counts as not proved. "
            "Not declared means that a line in the manifest would let it be tried. ",
            "Low findings and notes never decide.",
        ),
    )


def _chip(name: str) -> Markup:
    return tag("span", name, class_=f"chip {_class(name)}")


def _class(name: str) -> str:
    names = {
        "n/a": "na",
        "not declared": "undeclared",
        "left out": "na",
        "not proved": "inconclusive",
        "proved": "pass",
        "failed": "fail",
    }
    return names.get(str(name), str(name))
