"""A run with everything that a report has to show, hostile texts included."""

from __future__ import annotations

from pathlib import Path

from roadworthy.checker import ExitCode, Profile, Run, Verdict, parse_manifest
from roadworthy.checker.events import Calibration
from roadworthy.checker.verdict import (
    Control,
    Finding,
    Lines,
    Point,
    Result,
    Table,
    Timeline,
    Waiver,
    WireExchange,
    judge_item,
)
from roadworthy.checklist import ITEMS, Severity, assertion

__all__ = ("HOSTILE", "sample_run")

HOSTILE = '</pre><script>alert(1)</script>&\x00\x1b[31m\u202e\ud800 "quoted" ]]>'
"""What a service may answer: markup, controls, a turned direction, half a surrogate pair."""

_TEXT = """
[start]
command = ["node", "server.js"]
[shutdown]
style = "lame-duck"
[[waivers]]
id = "CMP-3"
reason = "the gateway compresses"
state = "in-progress"
[[waivers]]
id = "HDR-1"
reason = "nothing to see"
[[waivers]]
id = "HDR-2"
reason = "for a while"
expires = 2025-01-01
"""


def _result(identifier: str, verdict: Verdict, **more: object) -> Result:
    entry = assertion(identifier)
    known: dict[str, object] = {"severity": entry.severity, "phase": "serve", "samples": 3, "requests": 5}
    return Result(id=identifier, item=entry.item, verdict=verdict, **{**known, **more})  # type: ignore[arg-type]


def sample_run(folder: Path | None = None, exit_code: ExitCode = ExitCode.FINDINGS) -> Run:
    """Return the run; ``folder`` is the manifest's."""
    manifest = parse_manifest(_TEXT, folder=folder)
    wire = WireExchange(
        f"GET /{HOSTILE} HTTP/1.1\nHost: a", f"HTTP/1.1 200 OK\n\n{HOSTILE}", "curl -i x", 0.0123
    )
    finding = Finding(
        verdict=Verdict.FAIL,
        title=f"a request in flight was dropped {HOSTILE}",
        expected="200, complete",
        got=f"reset {HOSTILE}",
        severity=Severity.CRITICAL,
        route="GET /items/{id}",
        replay=f"curl -sS \"$URL\"'/{HOSTILE}'",
        evidence=(wire, Lines("output", (HOSTILE, '{"level":"info"}'))),
    )
    mild = Finding(
        verdict=Verdict.WARN,
        title="no HEAD",
        expected="200",
        got="405",
        severity=Severity.LOW,
        route="HEAD /x",
    )
    points = (
        Point(-0.4, "in flight", "200", 1.6),
        Point(0.0, "process", "SIGTERM"),
        *(Point(0.05 * each, "new connections", "503", 0.05 * each + 0.001) for each in range(20)),
        Point(1.1, "new connections", "refused"),
        Point(2.2, "process", "ended with status 0"),
    )
    series = Table(
        "series", ("name", "before", "after"), (("http_requests_total", "10", "35"), (HOSTILE, "", ""))
    )
    results = (
        _result("ERR-1", Verdict.PASS, controls=(Control("a known path is answered", True),)),
        _result("ERR-6", Verdict.WARN, severity=Severity.LOW, findings=(mild, mild)),
        _result("CMP-3", Verdict.FAIL, findings=(finding,), waived=manifest.waivers[0]),
        _result("SHUT-1", Verdict.FAIL, findings=(finding,), evidence=(Timeline("shutdown", points),)),
        _result("SHUT-4", Verdict.NOT_APPLICABLE, reason="the manifest declares so"),
        _result("RTL-2", Verdict.INCONCLUSIVE, reason=f"no limit {HOSTILE}", flaky=True),
        _result("MET-1", Verdict.PASS, evidence=(series,), notes=("a note",)),
        _result("ENV-1", Verdict.ERROR, reason="the service was gone", unreachable=True),
    )
    tried = [entry.id for entry in ITEMS if any(result.item == entry.id for result in results)]
    return Run(
        version="0.1.0",
        id="abc123",
        target="node server.js",
        profile=Profile.FULL,
        strict=False,
        began="2026-11-23T01:02:03+00:00",
        seconds=12.5,
        manifest=manifest,
        calibration=Calibration(0.5, 1.5, 1.0, 1024, 2),
        results=results,
        items=tuple(judge_item(identifier, results, False) for identifier in tried),
        notices=("it was started again",),
        addresses=(("URL", "http://127.0.0.1:8000"),),
        restart="PORT=8000 node server.js",
        undeclared=(),
        limits=("quick profile",),
        overlay=("LIMIT=20",),
        unused_waivers=(manifest.waivers[1],),
        expired_waivers=(Waiver(id="HDR-2", reason="for a while", expires="2025-01-01", line=14),),
        launches=3,
        requests=99,
        exit_code=exit_code,
    )
