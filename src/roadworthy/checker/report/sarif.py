"""The report as SARIF 2.1.0, so that code hosts show findings beside the code.

A code host wants a place in the repository and refuses a URL (CodesWhat/drydock#404), so every result points
at the manifest's line where its item is configured; route and replay stand in the message. Every rule is
declared, whether it fired or not. What stayed without proof is a notification of the run and no result: it
would become an alert about a fault that nobody saw.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...checklist import ASSERTIONS, Assertion
from ..events import Run
from ..probe import Probe
from ..registry import probe_of
from ..verdict import ExitCode, Verdict
from ._plain import as_text
from .json import document

__all__ = ("write",)

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
# The ranges by which code hosts name a security severity: above 9 critical, from 7 high, from 4 medium.
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.1"}
_SECURITY = {"cors", "security-headers", "request-validation", "rate-limiting"}
_LONGEST_DESCRIPTION = 1024


def write(run: Run, path: Path) -> None:
    """Write the report."""
    path.write_text(json.dumps(_log(run), indent=2, ensure_ascii=False) + "\n", "utf-8", "backslashreplace")


def _log(run: Run) -> dict[str, Any]:
    data = document(run)
    driver = {
        "name": "roadworthy",
        "version": run.version,
        "semanticVersion": run.version,
        "rules": [_rule(entry) for entry in ASSERTIONS],
    }
    notices = [*(("note", text) for text in (*run.limits, *run.overlay, *run.notices)), *_open(run)]
    invocation = {
        "executionSuccessful": run.exit_code in {ExitCode.OK, ExitCode.FINDINGS, ExitCode.INCONCLUSIVE},
        "exitCode": int(run.exit_code),
        "startTimeUtc": run.began.replace("+00:00", "Z"),
        "toolExecutionNotifications": [
            {"level": level, "message": {"text": text}} for level, text in notices
        ],
    }
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": "roadworthy-check/"},
                "columnKind": "unicodeCodePoints",
                "invocations": [invocation],
                "results": _results(data, run),
                "properties": {
                    "target": run.target,
                    "profile": str(run.profile),
                    "strict": run.strict,
                    **dict(run.addresses),
                },
            }
        ],
    }


def _rule(entry: Assertion) -> dict[str, Any]:
    found = probe_of(entry.id)
    level = _LEVELS[entry.severity.value]
    properties: dict[str, Any] = {
        "precision": "high",
        "problem.severity": {"error": "error", "warning": "warning"}.get(level, "recommendation"),
        "tags": [entry.item],
    }
    if entry.item in _SECURITY:
        properties["security-severity"] = _SCORES[entry.severity.value]
        properties["tags"].append("security")
    return {
        "id": entry.id,
        "name": entry.id,
        "shortDescription": {"text": entry.title},
        "fullDescription": {"text": entry.why[:_LONGEST_DESCRIPTION]},
        "help": _help(entry, found),
        "defaultConfiguration": {"level": level},
        "properties": properties,
    }


def _help(entry: Assertion, found: Probe | None) -> dict[str, str]:
    how = f" {found.how}" if found else " It has no probe yet."
    more = f"roadworthy explain {entry.id}"
    return {
        "text": f"{entry.why} Source: {entry.source}.{how} More: {more}",
        "markdown": f"{entry.why}\n\n**Source:** {entry.source}\n\n**Probed:**{how}\n\n`{more}`",
    }


def _results(data: dict[str, Any], run: Run) -> list[dict[str, Any]]:
    rules = {entry.id: index for index, entry in enumerate(ASSERTIONS)}
    uri = _uri(run)
    seen: Counter[str] = Counter()
    results: list[dict[str, Any]] = []
    for entry in data["assertions"]:
        for finding in entry["findings"]:
            seen[finding["fingerprint"]] += 1
            results.append(_result(entry, finding, uri, rules[entry["id"]], seen[finding["fingerprint"]]))
    return results


def _result(
    entry: dict[str, Any], finding: dict[str, Any], uri: str, rule: int, number: int
) -> dict[str, Any]:
    level = _LEVELS[finding["severity"]]
    if finding["verdict"] == Verdict.WARN and level == "error":
        level = "warning"
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": max(finding["line"], 1)},
        }
    }
    if finding["route"]:
        place["logicalLocations"] = [{"fullyQualifiedName": finding["route"], "kind": "resource"}]
    result: dict[str, Any] = {
        "ruleId": entry["id"],
        "ruleIndex": rule,
        "kind": "fail",
        "level": level,
        "message": {"text": as_text(entry, finding)},
        "locations": [place],
        # The second of two equal findings gets a number, as code hosts number equal lines.
        "partialFingerprints": {"primaryLocationLineHash": f"{finding['fingerprint']}:{number}"},
        "properties": {
            name: finding[name] for name in ("verdict", "severity", "expected", "got", "route", "replay")
        },
    }
    waiver = entry["waived"]
    if waiver:
        status = "underReview" if waiver["state"] == "in-progress" else "accepted"
        result["suppressions"] = [{"kind": "external", "status": status, "justification": waiver["reason"]}]
    return result


def _open(run: Run) -> list[tuple[str, str]]:
    levels = {Verdict.INCONCLUSIVE: "warning", Verdict.ERROR: "error"}
    return [
        (levels[result.verdict], f"{result.id} {result.verdict}: {result.reason}")
        for result in run.results
        if result.verdict in levels
    ]


def _uri(run: Run) -> str:
    """Return the manifest's path from the root of its repository, as a URI reference."""
    file = run.manifest.folder / (run.manifest.file or "roadworthy.toml")
    root = next((parent for parent in file.parents if (parent / ".git").exists()), Path.cwd())
    path = os.path.relpath(file, root)
    return quote(path if not path.startswith("..") else file.name)
