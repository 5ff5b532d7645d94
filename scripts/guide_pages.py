"""What the pages of examples/guide say of the checks that ``scripts/guide_reports.py`` has kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadworthy.checklist import ITEMS, PATTERNS, assertion
from roadworthy.checklist.fixes import STACKS, fixes_of

__all__ = ("GUIDE", "REPORTS", "STACKS", "overview", "report")

GUIDE = Path(__file__).parent.parent / "examples" / "guide"
REPORTS = GUIDE / "reports.json"


def overview() -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table: what each stack has of every item, failures counted."""
    reports = _reports()
    rows = [
        [entry.title, *(_state(report["items"].get(entry.id, {})) for report in reports.values())]
        for entry in (*ITEMS, *PATTERNS)
    ]
    proved = (
        sum(item["state"] == "proved" for item in report["items"].values()) for report in reports.values()
    )
    rows.append(["**proved**", *(f"**{count}**" for count in proved)])
    return ["item", *(STACKS[stack] for stack in reports)], rows


def report(stack: str) -> str:
    """Tell what the check found in one stack, and what one adds for each item that failed."""
    found = _reports().get(stack)
    if found is None:
        return f"Not checked yet; `python scripts/guide_reports.py {stack}` does."
    lines = [
        f"`roadworthy check` in this folder, {found['date']}, commit {found['commit']}, "
        f"{found['seconds']} s. In parentheses: the assertions that failed or warned.",
        "",
    ]
    for entry in (*ITEMS, *PATTERNS):
        state = found["items"].get(entry.id, {}).get("state", "n/a")
        if state == "n/a":
            continue
        lines += [f"### {entry.title}: {state}", ""]
        mine = [one for one in found["findings"] if assertion(one["id"]).item == entry.id]
        lines += [f"- {'; '.join(one['titles'])} ({one['id']}{_level(one)})" for one in mine]
        lines += [
            f"- no proof: {reason} ({', '.join(ids)})" for reason, ids in _open(found, entry.id).items()
        ]
        lines += [""] * (lines[-1] != "")
        if state != "proved":
            lines += _fix(entry.id, stack)
    return "\n".join(lines).rstrip()


def _open(found: Mapping[str, Any], item_id: str) -> dict[str, list[str]]:
    """Return what stayed without proof in one item: assertions by reason."""
    mine = {
        reason: [one for one in ids if assertion(one).item == item_id]
        for reason, ids in found["open"].items()
    }
    return {reason: ids for reason, ids in mine.items() if ids}


def _reports() -> dict[str, dict[str, Any]]:
    return dict(json.loads(REPORTS.read_text()))


def _state(item: Mapping[str, Any]) -> str:
    return f"{item['fail']} failed" if item.get("fail") else str(item.get("state", "n/a"))


def _level(finding: Mapping[str, Any]) -> str:
    return f", {finding['severity']}" if finding["verdict"] == "fail" else ", warns"


def _fix(item_id: str, stack: str) -> list[str]:
    if item_id not in {entry.id for entry in ITEMS}:
        return []
    return [
        line
        for fix in fixes_of(item_id)
        if fix.stack == stack
        for line in (f"What one adds: {fix.text}", "", f"```{fix.language}", fix.snippet, "```", "")
    ]
