"""The tables of docs/reliability.md, read from docs/reliability.json, for `scripts/generate_docs.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ("COMMAND", "RESULTS", "page")

RESULTS = Path(__file__).parent.parent / "docs" / "reliability.json"
COMMAND = "make faults"


def page() -> str:
    """Return the generated part of the page: how often what held, versions, and a table for each group."""
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    servers: dict[str, str] = results["servers"]
    groups: list[dict[str, Any]] = results["groups"]
    parts = [_summary(servers, groups), _versions(groups)]
    parts += [_group(servers, group) for group in groups]
    return "\n\n".join(parts)


def _summary(servers: dict[str, str], groups: list[dict[str, Any]]) -> str:
    lines = [f"| {' | '.join(['group', *servers.values(), 'date', 'commit', 'took'])} |"]
    lines.append("|" + " --- |" * (len(servers) + 4))
    for group in groups:
        held = [_held(group, server) for server in servers]
        took = f"{group['seconds'] / 60:.0f} min"
        cells = [group["title"], *held, group["date"], f"`{group['commit']}`", took]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _held(group: dict[str, Any], server: str) -> str:
    verdicts = [row["cells"][server]["verdict"] for row in group["rows"] if server in row["cells"]]
    tried = [verdict for verdict in verdicts if verdict != "n/a"]
    return f"{tried.count('holds')} of {len(tried)} hold"


def _versions(groups: list[dict[str, Any]]) -> str:
    """Name the versions once, or for each set of groups that had their own."""
    sets: dict[str, list[str]] = {}
    for group in groups:
        text = ", ".join(f"{name} {version}" for name, version in group["versions"].items())
        sets.setdefault(text, []).append(group["title"])
    if len(sets) == 1:
        return f"Command: `{COMMAND}`. Versions: {next(iter(sets))}."
    told = "\n".join(f"- {', '.join(titles)}: {text}." for text, titles in sets.items())
    return f"Command: `{COMMAND}`. Versions:\n\n{told}"


def _group(servers: dict[str, str], group: dict[str, Any]) -> str:
    lines = [f"## {group['title']}", ""]
    lines.append(f"| {' | '.join(['id', 'what is done', 'holds when', *servers.values()])} |")
    lines.append("|" + " --- |" * (len(servers) + 3))
    for row in group["rows"]:
        cells = [row["id"], row["what"], row["passes"], *(_cell(row["cells"].get(one)) for one in servers)]
        lines.append(f"| {' | '.join(map(_plain, cells))} |")
    return "\n".join(lines)


def _cell(cell: dict[str, str] | None) -> str:
    if cell is None:
        return "not run"
    word = "**fails**" if cell["verdict"] == "fails" else cell["verdict"]
    return f"{word}: {cell['seen']}" if cell["seen"] else word


def _plain(text: str) -> str:
    """Keep what a server answered from being read as a table's end or as a tag."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
