"""The report as JSON; its shape is published in ``report.schema.json``, and ``schema_version`` names it."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...checklist import Assertion, assertion
from ..declare import manifest_lines
from ..events import Run
from ..verdict import Evidence, Finding, ItemResult, Lines, Result, Table, Timeline, Waiver, WireExchange

__all__ = ("SCHEMA", "document", "write")

_SCHEMA_VERSION = 1
"""Grows when a reader of the old form would misread the new one; new members alone do not change it."""

SCHEMA = Path(__file__).with_name("report.schema.json")
"""The JSON Schema of the document."""


def write(run: Run, path: Path) -> None:
    """Write the report; half a surrogate pair of a service's answer is written as its escape in JSON."""
    path.write_text(
        json.dumps(document(run), indent=2, ensure_ascii=False) + "\n", "utf-8", "backslashreplace"
    )


def document(run: Run) -> dict[str, Any]:
    """Return the report as plain data."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "tool": {"name": "roadworthy", "version": run.version},
        "run": {
            "id": run.id,
            "target": run.target,
            "profile": str(run.profile),
            "strict": run.strict,
            "began": run.began,
            "seconds": run.seconds,
            "exit_code": int(run.exit_code),
            "launches": run.launches,
            "requests": run.requests,
            "limits": list(run.limits),
            "overlay": list(run.overlay),
            "notices": list(run.notices),
            "addresses": dict(run.addresses),
            "restart": run.restart,
            "calibration": asdict(run.calibration) if run.calibration else None,
        },
        "manifest": {
            "file": run.manifest.file or None,
            "sha256": sha256(run.manifest.text.encode()).hexdigest() if run.manifest.text else None,
            "inferred": dict(run.manifest.inferred),
        },
        "items": [_item(item) for item in run.items],
        "assertions": [_result(result, run) for result in run.results],
        "undeclared": {
            "steps": [
                {"keys": list(step.keys), "assertions": list(step.assertions)} for step in run.undeclared
            ],
            "lines": list(manifest_lines(run.undeclared, run.manifest)),
        },
        "waivers": {
            "unused": [_waiver(waiver) for waiver in run.unused_waivers],
            "expired": [_waiver(waiver) for waiver in run.expired_waivers],
        },
    }


def _item(item: ItemResult) -> dict[str, Any]:
    counts = {str(verdict): count for verdict, count in item.counts.items() if count}
    return {"id": item.id, "state": str(item.state), "counts": counts}


def _result(result: Result, run: Run) -> dict[str, Any]:
    entry = assertion(result.id)
    return {
        "id": result.id,
        "item": result.item,
        "title": entry.title,
        "why": entry.why,
        "source": entry.source,
        "severity": result.severity.value,
        "verdict": str(result.verdict),
        "reason": result.reason,
        "undeclared": list(result.undeclared),
        "waived": _waiver(result.waived) if result.waived else None,
        "flaky": result.flaky,
        "phase": result.phase,
        "samples": {"judged": result.samples, "wanted": result.wanted},
        "controls": [{"text": control.text, "holds": control.holds} for control in result.controls],
        "findings": [_finding(entry, finding, run) for finding in result.findings],
        "evidence": [_evidence(each) for each in result.evidence],
        "notes": list(result.notes),
        "cost": {"requests": result.requests, "seconds": result.seconds},
    }


def _finding(entry: Assertion, finding: Finding, run: Run) -> dict[str, Any]:
    return {
        "verdict": str(finding.verdict),
        "severity": finding.severity.value,
        "title": finding.title,
        "expected": finding.expected,
        "got": finding.got,
        "route": finding.route,
        "replay": finding.replay,
        # The same finding keeps its fingerprint from run to run: no times, no ids of the run.
        "fingerprint": sha256(
            f"{entry.id}\0{finding.title}\0{finding.route}".encode(errors="backslashreplace")
        ).hexdigest()[:32],
        "line": _line(entry, run),
        "evidence": [_evidence(each) for each in finding.evidence],
    }


def _line(entry: Assertion, run: Run) -> int:
    """Return the manifest's line that a finding is shown at: where its item is configured, else the top."""
    sections = {
        "graceful-shutdown": "shutdown",
        "health-check": "health",
        "metrics": "metrics",
        "logging": "logs",
        "cors": "cors",
        "rate-limiting": "rate_limit",
        "connection-pooling": "database",
        "environment": "env",
        "compression": "compression",
        "transactions": "routes.transfers",
        "fan-out": "routes.overview",
        "cpu-offload": "routes.primes",
    }
    manifest = run.manifest
    return manifest.line(sections.get(entry.item, "routes")) or manifest.line("start") or 1


def _evidence(each: Evidence) -> dict[str, Any]:
    kinds = {WireExchange: "exchange", Lines: "lines", Timeline: "timeline", Table: "table"}
    return {"kind": kinds[type(each)], **asdict(each)}


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return asdict(waiver)
