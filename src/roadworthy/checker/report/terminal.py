"""The report on a terminal: live while it runs, then item by item; plain lines where there is no terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from ...checklist import ITEMS, assertion
from ..declare import manifest_lines
from ..events import Event, Notice, ProbeFinished, ProbeStarted, Run, RunFinished, RunStarted
from ..http.show import cut
from ..verdict import Finding, ItemState, Result, Verdict, WireExchange
from ._causes import PLACES, Cause, by_cause, capped, numbered
from ._kinds import kind_of, kinds_of
from ._stack import fix_for, stack_of
from ._undeclared import invitation

__all__ = ("Terminal", "write")

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.WARN: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.ERROR: "bold magenta",
}
_STATES = {
    ItemState.PROVED: "green",
    ItemState.FAILED: "bold red",
    ItemState.NOT_PROVED: "magenta",
    ItemState.WAIVED: "yellow",
    ItemState.NOT_APPLICABLE: "dim",
}

_UNTRIED = {Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE}
_SHOWN = 0.05
"""Seconds from which on the duration of a probe is shown."""
_LONGEST = 160


class Terminal:
    """Listens to the events of a run and shows them.

    Parameters:
        console: where to; Rich keeps to ``NO_COLOR`` and to what the terminal can do.
        verbose: show the notes of passes too.
        quiet: show what is wrong and the last line only.
    """

    def __init__(self, console: Console, *, verbose: bool = False, quiet: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._quiet = quiet
        self._live: Live | None = None
        self._running: dict[str, tuple[str, float]] = {}
        self._done = self._total = 0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case RunStarted():
                self._begin(event)
            case ProbeStarted():
                self._running[event.id] = (event.title, time.monotonic())
                self._refresh()
            case ProbeFinished():
                self._done += 1
                self._running.pop(event.result.id, None)
                self._tell(event.result)
                self._refresh()
            case Notice() if self._quiet:
                pass
            case Notice():
                self._console.print(Text(f"note: {event.text}", "yellow"), soft_wrap=True)
            case RunFinished():
                self.close()
                _show(event.run, self._console, verbose=self._verbose, quiet=self._quiet)
            case _:
                pass

    def close(self) -> None:
        """Take the live part away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _begin(self, event: RunStarted) -> None:
        self._total = event.total
        if self._quiet:
            self._begin_live()
            return
        self._console.print(Text.assemble(("roadworthy check ", "bold"), event.target), soft_wrap=True)
        for text in event.limits:
            self._console.print(Text(f"note: {text}", "yellow"), soft_wrap=True)
        if event.overlay:
            self._console.print(
                Text(f"for this check only: {', '.join(event.overlay)}", "dim"), soft_wrap=True
            )
        self._begin_live()

    def _begin_live(self) -> None:
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, refresh_per_second=8)
            self._live.start()

    def _tell(self, result: Result) -> None:
        if self._quiet or (
            result.verdict in _UNTRIED
            and not result.requests
            and result.seconds < _SHOWN
            and not self._verbose
        ):
            return  # nothing was declared to try it on; the summary lists all of these at once
        verdict = "waived" if result.waived else kind_of(result)
        line = Text.assemble(
            (f"{verdict:<13}", _COLOURS[result.verdict]), f"{result.id:<8}", assertion(result.id).title
        )
        if result.seconds >= _SHOWN:
            line.append(f"  {result.seconds:.1f} s", "dim")
        self._console.print(line, soft_wrap=True)

    def _refresh(self) -> None:
        if self._live is None:
            return
        grid = Grid.grid(padding=(0, 1))
        for name, (title, began) in self._running.items():
            grid.add_row(name, title, Text(f"{time.monotonic() - began:.0f} s", "dim"))
        grid.add_row(Text(f"{self._done} of {self._total}", "dim"))
        self._live.update(grid)


def write(run: Run, path: Path) -> None:
    """Write what the terminal shows, without colours."""
    text = io.StringIO()
    _show(run, Console(file=text, no_color=True, width=120), verbose=True)
    path.write_text(text.getvalue(), "utf-8", "backslashreplace")


def _show(run: Run, console: Console, *, verbose: bool = False, quiet: bool = False) -> None:
    """Print the findings and what they add up to."""
    _show_findings(run, console)
    if not quiet:
        _show_untried(run, console)
        _show_items(run, console)
        _show_waivers(run, console)
        if verbose:
            for identifier, note in ((result.id, note) for result in run.results for note in result.notes):
                console.print(Text(f"{identifier}: {note}", "dim"), soft_wrap=True)
        _show_undeclared(run, console)
        console.print(_counts(run), soft_wrap=True)
    else:
        _show_reasons(run, console, {Verdict.ERROR})
    console.print(_summary(run), soft_wrap=True)


def _show_findings(run: Run, console: Console) -> None:
    """Print a block for each cause, the worst first; what repeats within one assertion is cut."""
    causes = by_cause(run.results)
    if any(cause.finding.replay for cause in causes):
        _show_addresses(run, console)
    stack, fixed = stack_of(run), dict[str, str]()
    for cause, more in capped(causes):
        _show_cause(cause, console)
        for other in more:
            console.print(Text.assemble(("        also      ", "dim"), other.title), soft_wrap=True)
        _show_fix(cause, stack, fixed, console)


def _show_addresses(run: Run, console: Console) -> None:
    """Print once what the variables of the commands stood for, and how to have the service there again."""
    if not run.addresses:
        return
    console.print()
    given = " ".join(f"{name}={value}" for name, value in run.addresses)
    line = Text.assemble(("commands below use  ", "dim"), given)
    if run.restart:
        line.append("  where the check had the service; start it there again with  ", "dim")
        line.append(run.restart)
    console.print(line, soft_wrap=True)


def _show_cause(cause: Cause, console: Console) -> None:
    result, finding = cause.result, cause.finding
    entry = assertion(result.id)
    word = "waived" if result.waived else str(finding.verdict).upper()
    head = Text.assemble(
        (f"{word:<7}", _COLOURS[finding.verdict]),
        (f"{numbered(cause.ids)} ", "bold"),
        (f"{finding.severity.value}  ", "dim"),
        (cause.heading, "bold"),
    )
    places = cause.places(PLACES)
    if cause.route:
        head.append(f"  {cause.route}", "dim")
    console.print()
    console.print(head, soft_wrap=True)
    lines = _lines(result, finding, entry.why, entry.source)
    if places:
        lines.insert(0, ("where", f"{len(cause.seen)} times: {'; '.join(places)}"))
    for name, text in lines:
        console.print(Text.assemble((f"        {name:<9} ", "dim"), text), soft_wrap=True)


def _show_fix(cause: Cause, stack: str, fixed: dict[str, str], console: Console) -> None:
    """Print how the item of a cause is mended, once for each item.

    Parameters:
        fixed: the assertion at which the fix of an item stands already, by item; added to here.
    """
    result = cause.result
    found = None if result.waived else fix_for(result.item, stack)
    if found is None:
        return
    name, fix = found
    if result.item in fixed:
        text = f"see {fixed[result.item]}"
        console.print(Text.assemble(("        fix       ", "dim"), text), soft_wrap=True)
        return
    fixed[result.item] = result.id
    console.print(Text.assemble(("        fix       ", "dim"), f"{name}: {fix.text}"), soft_wrap=True)
    for line in fix.snippet.splitlines():
        console.print(Text(f"                    {line}".rstrip(), "dim"), soft_wrap=True)


def _lines(result: Result, finding: Finding, why: str, source: str) -> list[tuple[str, str]]:
    control = next((control.text for control in result.controls if control.holds), "")
    found = [("expected", finding.expected), ("got", finding.got), ("why", f"{why} ({source})")]
    if control:
        found.append(("control", control))
    if finding.replay:
        found.append(("replay", finding.replay))
    if result.waived:
        found.append(("waived", result.waived.reason))
    else:
        found.append(("more", f"roadworthy explain {result.id}"))
    sent = next((each for each in finding.evidence if isinstance(each, WireExchange)), None)
    if sent is not None:
        found.insert(0, ("sent", cut(sent.request.partition("\n")[0], _LONGEST)))
    return found


def _show_untried(run: Run, console: Console) -> None:
    """Print what stayed without proof and what does not apply, one line per reason."""
    _show_reasons(run, console, {Verdict.INCONCLUSIVE, Verdict.ERROR})
    _show_reasons(run, console, {Verdict.NOT_APPLICABLE})


def _show_reasons(run: Run, console: Console, verdicts: set[Verdict]) -> None:
    reasons: dict[tuple[str, Verdict], list[str]] = {}
    for result in run.results:
        if result.verdict in verdicts and not result.undeclared:
            reasons.setdefault((f"{result.verdict}: {result.reason}", result.verdict), []).append(result.id)
    if reasons:
        console.print()
    for (reason, verdict), ids in reasons.items():
        console.print(Text.assemble((f"{numbered(ids)}  ", _COLOURS[verdict]), reason), soft_wrap=True)


def _show_undeclared(run: Run, console: Console) -> None:
    """Print the lines of a manifest with which more would be tried, best first."""
    text = invitation(run)
    if not text:
        return
    console.print()
    console.print(Text.assemble(("not declared: ", "cyan"), text), soft_wrap=True)
    for line in manifest_lines(run.undeclared, run.manifest):
        console.print(Text(f"  {line}", "dim" if line.startswith("#") else ""), soft_wrap=True)


def _show_items(run: Run, console: Console) -> None:
    console.print()
    grid = Grid.grid(padding=(0, 2))
    for item in run.items:
        counts = _words(result for result in run.results if result.item == item.id)
        grid.add_row(Text(item.id), Text(str(item.state), _STATES[item.state]), Text(counts, "dim"))
    console.print(grid)


def _show_waivers(run: Run, console: Console) -> None:
    for waiver in run.unused_waivers:
        text = f"note: the waiver of {waiver.id} (line {waiver.line}) covers nothing any more"
        console.print(Text(text, "yellow"), soft_wrap=True)
    for waiver in run.expired_waivers:
        text = f"note: the waiver of {waiver.id} (line {waiver.line}) expired on {waiver.expires}"
        console.print(Text(text, "yellow"), soft_wrap=True)


def _words(results: Iterable[Result]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds_of(results).items())


def _counts(run: Run) -> Text:
    count = len(run.results)
    return Text(f"\n{count} assertion{'s' * (count != 1)}: {_words(run.results)}")


def _summary(run: Run) -> Text:
    main = {entry.id for entry in ITEMS}
    counts = {state: sum(item.state is state for item in run.items if item.id in main) for state in ItemState}
    total = sum(counts.values())
    text = Text()
    text.append(f"proved {counts[ItemState.PROVED]} of {total} items", "bold")
    for state in (ItemState.FAILED, ItemState.NOT_PROVED, ItemState.WAIVED, ItemState.NOT_APPLICABLE):
        if counts[state]:
            text.append(f", {state} {counts[state]}", _STATES[state])
    patterns = [item for item in run.items if item.id not in main]
    if patterns:
        proved = sum(item.state is ItemState.PROVED for item in patterns)
        text.append(f"; {proved} of {len(patterns)} patterns")
    text.append(f"   {run.seconds:.1f} s, {run.requests} requests, {run.launches} starts", "dim")
    return text
