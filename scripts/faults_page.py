"""The tables of docs/reliability.md, read from docs/reliability.json, for `scripts/generate_docs.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ("COMMAND", "RESULTS", "page")

RESULTS = Path(__file__).parent.parent / "docs" / "reliability.json"
COMMAND = "make faults"


def page() -> str:
    """Return the generated part of the page: how much holds where, versions, and a table for each group."""
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    servers: dict[str, str] = results["servers"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        groups.setdefault(row["group"], []).append(row)
    parts = [_summary(servers, groups), _versions(results["rows"])]
    parts += [_group(servers, title, rows) for title, rows in groups.items()]
    return "\n\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _summary(servers: dict[str, str], groups: dict[str, list[dict[str, Any]]]) -> str:
    lines = [[title, *(_held(rows, one) for one in servers), _took(rows)] for title, rows in groups.items()]
    every = [row for rows in groups.values() for row in rows]
    lines.append(["all", *(_held(every, one) for one in servers), _took(every)])
    return _table(["cases that hold", *servers.values(), "took"], lines)


def _held(rows: list[dict[str, Any]], server: str) -> str:
    verdicts = [row["cells"][server]["verdict"] for row in rows if server in row["cells"]]
    tried = [verdict for verdict in verdicts if verdict != "n/a"]
    return f"{tried.count('holds')} of {len(tried)}"


def _took(rows: list[dict[str, Any]]) -> str:
    seconds = sum(cell["seconds"] for row in rows for cell in row["cells"].values())
    return f"{seconds / 60:.1f} min"


def _versions(rows: list[dict[str, Any]]) -> str:
    """Name the versions once, or for each set of rows that had their own."""
    sets: dict[str, list[str]] = {}
    for row in rows:
        text = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        scale = "" if row["scale"] == 1 else f" (with {row['scale']:g} of the numbers)"
        sets.setdefault(f"`{COMMAND}`{scale} with {text}", []).append(row["id"])
    if len(sets) == 1:
        return f"{next(iter(sets))}."
    return "\n".join(f"- {', '.join(ids)}: {text}." for text, ids in sets.items())


def _group(servers: dict[str, str], title: str, rows: list[dict[str, Any]]) -> str:
    head = ["id", "what is done", "holds when", *servers.values(), "run"]
    lines = [
        [
            *map(_plain, (row["id"], row["what"], row["passes"])),
            *(_plain(_cell(row["cells"].get(one))) for one in servers),
            f"{row['date']} `{row['commit']}`",
        ]
        for row in rows
    ]
    return f"## {title}\n\n{_table(head, lines)}"


def _cell(cell: dict[str, str] | None) -> str:
    if cell is None:
        return "not run"
    word = "**fails**" if cell["verdict"] == "fails" else cell["verdict"]
    return f"{word}: {cell['seen']}" if cell["seen"] else word


def _plain(text: str) -> str:
    """Keep what a server answered from being read as a table's end or as a tag."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
