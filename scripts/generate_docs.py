"""Write the parts of the documentation that are read off the code, between marker comments.

``python scripts/generate_docs.py`` writes them; with ``--check`` nothing is written, and the exit status is 1
with a diff on standard output when a page is stale. To add a generated part: write a function that returns
Markdown, name it in :func:`blocks`, and put its two markers into the page.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from difflib import unified_diff
from functools import partial
from itertools import product
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin

import faults_page
import guide_pages
import manifest_page
from pydantic import SecretStr

from roadworthy.checklist import ITEMS, PATTERNS, assertions_of
from roadworthy.settings import (
    PREFIX,
    WELL_KNOWN,
    Rate,
    Settings,
    WrittenRule,
    parse_duration,
    parse_size,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

MEASURED = ("layer-cost", "layer-cost-workers", "equipped-fastapi", "protocol")
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"

Block: TypeAlias = tuple[str, str, Callable[[], str]]
"""A page, relative to the repository; the name in its markers; what writes the text between them."""


def blocks() -> Iterator[Block]:
    """Name every generated part of the documentation."""
    yield "README.md", "numbers", numbers
    yield "docs/performance.md", "performance", performance
    yield "docs/performance.md", "data", data
    yield "docs/settings.md", "settings", settings_table
    yield "docs/reliability.md", "faults", faults_page.page
    yield "docs/manifest.md", "keys", manifest_page.page
    yield "docs/checklist/README.md", "items", items_table
    yield "docs/checklist/README.md", "patterns", patterns_table
    for item in ITEMS:
        yield f"docs/checklist/{item.id}.md", "assertions", partial(assertions_table, item.id)
    for pattern in PATTERNS:
        yield "docs/checklist/patterns.md", pattern.id, partial(pattern_section, pattern.id)
    yield "examples/guide/README.md", "states", lambda: _table(*guide_pages.overview())
    for stack in guide_pages.STACKS:
        yield f"examples/guide/{stack}/README.md", "report", partial(guide_pages.report, stack)


def numbers() -> str:
    """Summarise the benchmarks in three lines."""
    cpu, _, rate, protocol = (_result(name)["result"] for name in MEASURED)
    return f"""\
- every item on, for a bare ASGI app: **{cpu["run_added_cpu_us"]} µs** of CPU a request more than
  uvicorn alone
- a FastAPI route with the whole checklist: **{rate["run_ratio"]} times** the requests per second of
  the usual packages
- the protocol class by itself, under uvicorn: **{protocol["ratio_per_second"]} times** uvicorn's own"""


def performance() -> str:
    """Write what the benchmarks measured, with the machine and the command that repeats them."""
    results = {name: _result(name) for name in MEASURED}
    cost = results["layer-cost"]
    cpu, workers, rate, protocol = (results[name]["result"] for name in MEASURED)
    machine = cost["machine"]
    return f"""\
- every item on, for a bare ASGI app with one worker: **{cpu["run_added_cpu_us"]} µs** of CPU a request
  more than uvicorn alone ({cpu["bare_cpu_us"]} µs), served by `roadworthy run`
  ({cpu["least_run_added_cpu_us"]} µs between the best rounds of both);
  {cpu["layered_added_cpu_us"]} µs more when plain uvicorn serves the layer
- with two workers, which share counts and limits: {workers["run_added_cpu_us"]} µs more than with two
  of uvicorn's ({workers["bare_cpu_us"]} µs) while one of them serves, {workers["both_run_added_cpu_us"]} µs
  more ({workers["both_bare_cpu_us"]} µs) while both are busy on one core and evict each other's caches
- the protocol class by itself, under uvicorn: **{protocol["ratio_per_second"]} times** the requests per
  second of uvicorn's own over the same parser
- the same FastAPI route equipped for the checklist, on plain uvicorn: **{rate["ratio"]} times** the
  requests per second of slowapi + prometheus-fastapi-instrumentator + asgi-correlation-id + Starlette's CORS
  and gzip + secure + structlog; {rate["run_ratio"]} times with `roadworthy run`

Medians of {cost["rounds"]} rounds of wrk, server and load on a core each, the servers loaded in turn for a
second; {machine["cpu"]}, Python {machine["python"]}, {cost["date"]}, commit {cost["commit"]}. `make bench`
repeats them, `make proof` runs the long proofs."""


_STORES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_OPERATIONS = {"point": "a row by its key", "page": "twenty rows", "add": "an insert"}
_PEERS = (
    "roadworthy",
    "roadworthy, repository",
    "sqlalchemy core",
    "sqlalchemy orm",
    "advanced-alchemy",
    "sqlspec",
)


def data() -> str:
    """Tabulate what reads and writes cost, beside the driver by hand and other libraries."""
    whole = _result("data")
    found, machine = whole["result"], whole["machine"]
    rows = []
    for store, operation in product(_STORES, _OPERATIONS):
        name = f"{store}, {operation}"
        ratios = (f"{found[f'{name}, {peer}']['of_by_hand']:g}" for peer in _PEERS)
        of_others = (f"{found[f'{name}, sqlalchemy {peer}']['ours_of_it']:g}" for peer in ("core", "orm"))
        rows.append(
            (
                f"{_STORES[store]}: {_OPERATIONS[operation]}",
                f"{found[f'{name}, by hand']['cpu_us']:g} µs",
                *ratios,
                *of_others,
            )
        )
    ours = ("`Statement`", "`TableRepository`")
    others = ("SQLAlchemy Core", "SQLAlchemy ORM", "advanced-alchemy", "sqlspec")
    heads = ("", "the driver by hand", *ours, *others, "`Statement` of Core", "of ORM")
    return f"""\
{_table(heads, rows)}

CPU of the client, ten at a time; by hand in µs, the others as a multiple of it. Medians of {whole["rounds"]}
rounds in which all took turns in one process; {machine["cpu"]}, Python {machine["python"]}, {whole["date"]},
commit {whole["commit"]}. `python -m benchmarks data` repeats them."""


def _result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return result


def items_table() -> str:
    """List the items, each with a link to its page."""
    rows = ((f"[{item.title}]({item.id}.md)", item.family, _count(item.id), item.why) for item in ITEMS)
    return _table(("item", "ids", "promises", "why"), rows)


def patterns_table() -> str:
    """List the patterns, each with a link to its section."""
    rows = (
        (f"[{each.title}](patterns.md#{each.id})", each.family, _count(each.id), each.why)
        for each in PATTERNS
    )
    return _table(("pattern", "ids", "promises", "why"), rows)


def assertions_table(entry_id: str) -> str:
    """List what one item or pattern promises."""
    rows = ((each.id, each.severity.value, each.title, each.source) for each in assertions_of(entry_id))
    return _table(("id", "severity", "promise", "source"), rows)


def pattern_section(pattern_id: str) -> str:
    """Write the section of one pattern: why, source, promises."""
    pattern = next(each for each in PATTERNS if each.id == pattern_id)
    heading = f'<a id="{pattern.id}"></a>\n\n## {pattern.title} ({pattern.family})'
    return f"{heading}\n\n{pattern.why}\n\nSource: {pattern.source}.\n\n{assertions_table(pattern.id)}"


def settings_table() -> str:
    """List every setting of the layer and the server, in the order of the class."""
    rows = (
        (
            f"`{PREFIX}{name.upper()}`",
            f"`{WELL_KNOWN[name]}`" if name in WELL_KNOWN else "",
            _default(field),
            _allowed(field.annotation, field.metadata),
            _with_variables(field.description or ""),
        )
        for name, field in Settings.model_fields.items()
    )
    return _table(("variable", "also read from", "default", "values", "meaning"), rows)


def _count(entry_id: str) -> str:
    return str(len(assertions_of(entry_id)))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _with_variables(description: str) -> str:
    """Call settings by their variables: that is the name a reader of the page can use."""

    def variable(match: re.Match[str]) -> str:
        return f"`{PREFIX}{match[1].upper()}`" if match[1] in Settings.model_fields else match[0]

    return re.sub(r"`(\w+)`", variable, description)


def _default(field: FieldInfo) -> str:
    value: object = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple) and not isinstance(value, Rate):
        value = ", ".join(str(each) for each in cast("tuple[object, ...]", value))
    elif isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, int) and parse_size in _functions(field.metadata):
        value = _size(value)
    elif isinstance(value, float) and parse_duration in _functions(field.metadata):
        value = f"{value:g}s" if value < 1e6 else f"{value:.0f}s"
    return f"`{value}`"


def _size(value: int) -> str:
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _functions(metadata: Iterable[Any]) -> list[object]:
    return [getattr(each, "func", None) for each in metadata]


def _allowed(annotation: Any, metadata: Iterable[Any]) -> str:
    """Say in words which values a field takes: what its type admits, with the unit."""
    functions = _functions(metadata)
    if parse_size in functions:
        return "bytes, or with kB, KiB, MB, MiB, GB, GiB"
    if parse_duration in functions:
        return "seconds, or with ms, s, m, h"
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _allowed(inner, more)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        parts = [_allowed(part, metadata) for part in get_args(annotation) if part is not type(None)]
        return " or ".join(parts)
    if get_origin(annotation) is tuple:
        element = get_args(annotation)[0]
        if element is WrittenRule:
            return "a JSON object by route"
        return "networks, separated by commas" if "Network" in str(element) else "words, separated by commas"
    names: dict[Any, str] = {
        bool: "`true`, `false`",
        SecretStr: "text, kept secret",
        str: "text",
        Rate: "`N/second`, `N/minute`, `N/hour`, `N/day`, `off`",
        int: _range(metadata),
    }
    return names[annotation]


def _range(metadata: Iterable[Any]) -> str:
    low, high = None, None
    for each in metadata:
        low = getattr(each, "ge", low)
        high = getattr(each, "le", high)
        for nested in getattr(each, "metadata", ()):
            low, high = getattr(nested, "ge", low), getattr(nested, "le", high)
    if high is not None:
        return f"{low} to {high}"
    return f"{low} or more"


def render(page: str, name: str, text: str) -> str:
    """Return ``page`` with ``text`` between the markers called ``name``.

    Raises:
        LookupError: the page lacks the markers.
    """
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise LookupError(f"put the lines {begin} and {end} where the generated part belongs")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def stale(root: Path) -> dict[str, tuple[str, str]]:
    """Return the pages under ``root`` that are not up to date: path, text as it is, text as it should be.

    Raises:
        LookupError: a page is missing or lacks its markers.
    """
    pages: dict[str, tuple[str, str]] = {}
    for path, name, write in blocks():
        file = root / path
        if path not in pages:
            if not file.is_file():
                raise LookupError(f"{path}: there is no such page; write it with its markers")
            text = file.read_text(encoding="utf-8")
            pages[path] = text, text
        old, new = pages[path]
        try:
            pages[path] = old, render(new, name, write())
        except LookupError as error:
            raise LookupError(f"{path}: {error}") from None
    return {path: texts for path, texts in pages.items() if texts[0] != texts[1]}


def main(arguments: list[str] | None = None) -> int:
    """Write the generated parts, or check them; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when stale")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the repository")
    options = parser.parse_args(arguments)
    try:
        pages = stale(options.root)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    for path, (old, new) in pages.items():
        if options.check:
            lines = unified_diff(old.splitlines(True), new.splitlines(True), path, f"{path} as generated")
            sys.stdout.writelines(lines)
        else:
            (options.root / path).write_text(new, encoding="utf-8")
            print(f"wrote {path}")
    if pages and options.check:
        print("stale; run: python scripts/generate_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
