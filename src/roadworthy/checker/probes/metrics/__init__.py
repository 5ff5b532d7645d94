"""Probes of ``metrics`` (MET): the exposition itself. Counting is in ``numbers``."""

from __future__ import annotations

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.fields import media_type_parameters
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.exposition import read_exposition
from ...verdict import Lines, Verdict
from . import exposure, numbers, series
from .names import lint

__all__ = ("PROBES",)

# What Prometheus 3 sends; whoever knows OpenMetrics may answer with it.
_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
_PLAIN = "text/plain;version=0.0.4"
_LISTED = 8
_VERSIONS = {"text/plain": {"0.0.4", "1.0.0"}, "application/openmetrics-text": {"0.0.1", "1.0.0"}}


async def _scrape(bench: Bench, accept: str) -> Answer:
    return await bench.get(
        bench.manifest.metrics.path, {"Accept": accept}, address=bench.target.metrics_address, patient=False
    )


# What an exposition has to escape in a label (Prometheus exposition formats, "Comments, help text, and type
# information"), as far as a field and a query can hold it.
_AWKWARD = 'check "quoted" \\ {braces}, ä\t=#'


async def _worked(bench: Bench) -> None:
    """Make some requests, so that there is something to count; some with what labels have to escape."""
    route = bench.manifest.routes.by_role.get("list")
    path = route.path if route else bench.unknown_path()
    awkward = {"User-Agent": _AWKWARD, "Referer": _AWKWARD}
    for fields in ({}, awkward):
        for _ in range(2):
            await bench.get(path, fields)
            await bench.get(bench.unknown_path(), fields)
    await bench.get(f"{bench.unknown_path()}/%22%5C%0A%7B%7D?q=%22", awkward)
    for method in ("POST", "HEAD", "OPTIONS"):
        await bench.request(method, bench.unknown_path(), awkward)


@probe("MET-1", phase=Phase.SERVE, needs=(Need.METRICS,), samples=2)
async def _prometheus_can_read_it(bench: Bench) -> Verdict:
    """Asks as Prometheus 3 does, and as an older one does, and reads status and media type."""
    other = await bench.get(bench.unknown_path(), address=bench.target.metrics_address)
    bench.control("another path is answered otherwise", not other.ok)
    for accept in (_ACCEPT, _PLAIN):
        answer = await _scrape(bench, accept)
        bench.sample()
        content_type = answer.field("content-type") or ""
        version = (media_type_parameters(answer) or {}).get("version")
        known = _VERSIONS.get(answer.media_type)
        if answer.status != 200 or not answer.complete:
            bench.fail("the metrics endpoint does not answer a scrape", "200", str(answer), answer)
        elif known is None:
            expected = "text/plain; version=0.0.4, or application/openmetrics-text"
            bench.fail("a media type that Prometheus 3 refuses", expected, content_type or "none", answer)
        elif version is None:
            bench.warn("the media type has no version", "version=0.0.4", content_type, answer)
        elif version not in known:
            bench.fail("an unknown version of the format", " or ".join(sorted(known)), content_type, answer)
    return bench.verdict()


@probe("MET-2", phase=Phase.SERVE, needs=(Need.METRICS,), varies=(Dimension.METHOD,))
async def _every_line_is_valid(bench: Bench) -> Verdict:
    """Makes requests and reads the scrape as strictly as Prometheus does, in each format that is offered."""
    await _worked(bench)
    answers = {answer.media_type: answer for answer in [await _scrape(bench, a) for a in (_PLAIN, _ACCEPT)]}
    bench.control(
        "there are samples to judge",
        any(read_exposition(answer.body).families for answer in answers.values() if answer.status == 200),
    )
    for media_type, answer in answers.items():
        found = read_exposition(answer.body, media_type)
        bench.sample(sum(len(family.values) for family in found.families.values()))
        if found.problems:
            lines = answer.text.split("\n")
            shown = tuple(
                f"line {number}: {text}: {lines[number - 1][:160] if number <= len(lines) else ''}"
                for number, text in found.problems[:20]
            )
            number, text = found.problems[0]
            # What Prometheus scrapes all the same loses nobody a number.
            severity = Severity.LOW if found.is_scraped else None
            bench.fail(
                f"the exposition is not valid: {text}",
                "every line as the format has it",
                f"{len(found.problems)} breaches, the first in line {number}",
                answer,
                evidence=(Lines(f"breaches in {media_type or 'a scrape'}", shown),),
                severity=severity,
            )
    return bench.verdict()


@probe("MET-3", phase=Phase.SERVE, needs=(Need.METRICS,))
async def _names_follow_the_conventions(bench: Bench) -> Verdict:
    """Applies the rules of Prometheus' linter to each family; what a language's runtime exports is noted."""
    await _worked(bench)
    answer = await _scrape(bench, _PLAIN)
    found = read_exposition(answer.body)
    judged = [family for family in found.families.values() if family.values]
    bench.control(f"{len(judged)} families were read", judged)
    bench.sample(len(judged))
    broken: dict[str, list[str]] = {}
    for name, text, own in lint(found):
        if own:
            broken.setdefault(text, []).append(name)
        else:
            bench.note(f"{name} {text}")
    for text, names in broken.items():
        title = f"{names[0]} {text}" if len(names) == 1 else f"each of {len(names)} families {text}"
        got = ", ".join(names[:_LISTED]) + (
            f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        )
        bench.fail(title, "as the naming conventions have it", got, severity=Severity.LOW)
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _prometheus_can_read_it,
    _every_line_is_valid,
    _names_follow_the_conventions,
    *numbers.PROBES,
    *series.PROBES,
    *exposure.PROBES,
)
