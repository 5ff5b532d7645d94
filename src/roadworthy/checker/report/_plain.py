"""A finding as plain text, for the forms that have one field for all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ("as_text",)


def as_text(entry: dict[str, Any], finding: dict[str, Any], places: Sequence[str] = ()) -> str:
    """Return title, expected and got, the reason and the command that shows it again, a line each.

    Parameters:
        entry: the assertion as the JSON report has it.
        finding: one of its findings.
        places: where it was seen, if in several.
    """
    controls = [control["text"] for control in entry["controls"] if control["holds"]]
    lines = {
        "where": "; ".join(places),
        "expected": finding["expected"],
        "got": finding["got"],
        "why": f"{entry['why']} ({entry['source']})",
        "control": controls[0] if controls else "",
        "replay": finding["replay"],
        "more": f"roadworthy explain {entry['id']}",
    }
    head = f"{finding['verdict'].upper()} {entry['id']} {finding['severity']}: {finding['title']}"
    route = f"  [{finding['route']}]" if finding["route"] else ""
    return "\n".join([head + route, *(f"  {name:<9} {text}" for name, text in lines.items() if text)])
