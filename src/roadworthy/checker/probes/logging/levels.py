"""Probes of ``logging``: levels, and where records go."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...bench import Bench
from ...errors import StartFailed
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.records import Record, parse_record
from ...service.linux import open_files
from ...service.process import Line
from ...verdict import Lines, Table, Verdict
from .traffic import Sent, collect, elsewhere, request_id, survey, traffic

__all__ = ("PROBES", "spelled")

# Folders that hold many files and none of the service's own.
_PASSED_OVER = {
    "node_modules",
    ".git",
    ".venv",
    "venv",
    "__pycache__",
    ".tox",
    ".mypy_cache",
    "site-packages",
}
_MOST_FILES = 50_000
_LARGEST = 50 << 20


def spelled(bench: Bench, level: str) -> str:
    """Return a level as the service writes it: in capitals where the manifest's own value is."""
    return level.upper() if bench.manifest.env.set.get(bench.manifest.env.log_level, "").isupper() else level


@dataclass(frozen=True, slots=True)
class _LevelRecords:
    """The records of one level.

    Parameters:
        lines: of ten ordinary requests.
        failed: the answer of a request that fails, or None when no route does.
        after: the lines that came from that request on.
    """

    lines: list[Line]
    failed: Answer | None
    after: list[Line]


async def _records_at(bench: Bench, level: str) -> _LevelRecords:
    """Start at a level, send ten ordinary requests and one that fails."""
    route = bench.manifest.routes.by_role.get("list")
    # Many services keep probes out of their records, so liveness would show nothing.
    path = route.path if route and route.method == "GET" else bench.unknown_path()
    fails = bench.manifest.routes.by_role.get("fails")
    async with bench.launch(env={bench.manifest.env.log_level: spelled(bench, level)}) as target:
        process = target.process
        # Records of the start may come a moment after readiness, and are not compared.
        await asyncio.sleep(0.3)
        since = bench.now()
        for _ in range(10):
            await bench.get(path)

        def written() -> list[Line]:
            return [line for line in process.lines if line.at >= since and line.text.strip()]

        # At the level error nothing should come, so a short wait is enough.
        wait = bench.patience(0.5 if level == "error" else 2.0)
        await process.wait_until(lambda: len(written()) >= 10, wait)
        await asyncio.sleep(0.1)
        lines, since = written(), bench.now()
        failed = await bench.call(fails) if fails is not None else None
        if failed is not None:
            await process.wait_line(lambda text: "error" in text.lower(), bench.patience(2.0), since)
        return _LevelRecords(lines, failed, written())


def _loud(line: Line, form: str) -> bool:
    record = parse_record(line, form)
    return record is not None and record.rank >= 40


@probe("LOG-7", phase=Phase.START, needs=(Need.COMMAND, Need.LOG_LEVEL), quick=False, samples=3, seconds=90)
async def _the_level_is_obeyed(bench: Bench) -> Verdict:
    """Starts the service at the levels info, error and debug, and compares what the same requests leave."""
    form = bench.manifest.logs.format
    if (why := elsewhere(bench)) or not bench.manifest.logs.access:
        return bench.inconclusive(why or "without access records (logs.access) levels cannot be compared")
    records: dict[str, _LevelRecords] = {}
    counts: dict[str, int] = {}
    for level in ("info", "error", "debug"):
        try:
            records[level] = await _records_at(bench, level)
        except StartFailed as error:
            return bench.inconclusive(f"the service does not start at the level {level}: {error}")
        counts[level] = sum(not _loud(line, form) for line in records[level].lines)
        if level == "info":
            bench.control(f"at info ten requests leave {counts[level]} lines", counts[level] >= 10)
        bench.sample()
    rows = tuple((name, str(count)) for name, count in counts.items())
    bench.show(Table("lines of ten requests", ("level", "lines"), rows))
    if counts["error"]:
        shown = Lines(
            "lines at the level error", tuple(line.text[:300] for line in records["error"].lines[:5])
        )
        got = f"{counts['error']} lines"
        bench.fail("ordinary requests are recorded at the level error", "no line", got, evidence=(shown,))
    failed = records["error"].failed
    if failed is not None and failed.status >= 500 and not records["error"].after:
        bench.fail("a failure is not recorded at the level error", "an error record", "none", failed)
    if counts["debug"] < counts["info"]:
        expected, got = f"at least {counts['info']} lines", f"{counts['debug']}"
        bench.fail("the level debug records less than info", expected, got)
    return bench.verdict()


@probe("LOG-8", phase=Phase.START, needs=(Need.COMMAND,), samples=3)
async def _levels_mean_what_they_say(bench: Bench) -> Verdict:
    """Reads the levels of refused and failed requests, and looks for records of the start and of the stop."""
    if why := elsewhere(bench):
        return bench.inconclusive(why)
    fails = bench.manifest.routes.by_role.get("fails")
    async with bench.launch(draining=True) as target:
        process = target.process
        # The record of the start may come a moment after the first answer.
        await process.wait_line(lambda text: bool(text.strip()), bench.patience(1.0))
        first = list(process.lines)
        seen = await traffic(bench, 6, [one for one in await survey(bench) if one.status < 500])
        failed = await bench.call(fails) if fails else None
        mark = request_id(failed) if failed else ""
        if mark:
            await process.wait_line(lambda text: mark in text, bench.patience(2.0))
            await asyncio.sleep(0.1)
        signalled = process.signal(signal.SIGTERM)
        await process.wait_end(bench.patience(bench.manifest.start.grace))
        await process.wait_silence(1.0)
        last = [line for line in process.lines if line.at >= signalled and not _is_about(line, seen.sent)]
        written = bench.records()
    bench.control("the service was answering", all(one.answer.complete for one in seen.sent))
    bench.expect(first, "the start leaves no record", "a line", "none")
    bench.expect(last, "the stop leaves no record", "a line", "none")
    for one in seen.sent:
        if one.answer.status < 500:
            worst = max((record.rank for record in written if one.is_in(record.line)), default=0)
            refused = "a refused" if one.answer.status >= 400 else "an ordinary"
            text = f"{refused} request ({one.answer.status}) is recorded as an error"
            if not bench.expect(worst < 40, text, "below the level error", "error", one.answer):
                break
    if failed is not None and failed.status >= 500 and mark:
        named = [record for record in written if record.mentions(mark)]
        if named:
            worst = max(record.rank for record in named)
            text = "a failed request is not recorded as an error"
            bench.expect(worst >= 40, text, "the level error", _named(named), failed)
    return bench.verdict()


def _is_about(line: Line, sent: Sequence[Sent]) -> bool:
    return any(one.is_in(line) for one in sent)


def _named(records: list[Record]) -> str:
    return ", ".join(sorted({str(record.get("level")) for record in records}))


@probe("LOG-9", phase=Phase.SERVE, needs=(Need.COMMAND,), ways=False)
async def _no_log_files(bench: Bench) -> Verdict:
    """Looks for its own requests in the files that the service has open, and in those it has changed."""
    if bench.manifest.logs.file:
        return bench.not_applicable(f"the manifest declares logs.file = {bench.manifest.logs.file!r}")
    process = bench.target.process
    before = {file: _size(file) for file in _open_files(bench)}
    seen = await bench.shared(collect)
    again = await traffic(bench, 5)
    words = [word for one in (*seen.sent, *again.sent) if (word := one.marker or one.id)]
    streams = [line for line in again.lines if any(one.is_in(line) for one in again.sent)]
    descriptors = process.files()
    bench.control(f"its open files can be seen ({descriptors} descriptors)", descriptors > 0)
    bench.sample()
    for file in dict.fromkeys((*_open_files(bench), *_changed(bench))):
        grown = _size(file) > before.get(file, 0)
        if grown and _holds(file, words):
            bench.fail("records are written to a file", "the standard streams only", file.name)
    if not streams:
        bench.note("the streams have no record of these requests either (LOG-1)")
    return bench.verdict()


def _size(file: Path) -> int:
    try:
        found = file.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _open_files(bench: Bench) -> list[Path]:
    """Return the regular files that the service's processes have open."""
    found: dict[Path, None] = {}
    for one in bench.target.process.tree():
        for target in open_files(one.pid).values():
            if target.startswith("/") and _size(Path(target)):
                found[Path(target)] = None
    return list(found)


def _changed(bench: Bench) -> Iterator[Path]:
    """Yield the files below the working folder that changed since the service was started."""
    start = time.time() - (bench.now() - bench.target.process.started)
    seen = 0
    for folder, names, files in os.walk(bench.manifest.folder / bench.manifest.start.cwd):
        names[:] = [name for name in names if name not in _PASSED_OVER]
        for name in files:
            seen += 1
            if seen > _MOST_FILES:
                return
            file = Path(folder) / name
            try:
                if file.stat().st_mtime >= start - 1:
                    yield file
            except OSError:
                continue


def _holds(file: Path, words: list[str]) -> bool:
    try:
        if file.stat().st_size > _LARGEST:
            return False
        data = file.read_bytes()
    except OSError:
        return False
    return any(word.encode() in data for word in words)


PROBES: tuple[Probe, ...] = (_the_level_is_obeyed, _levels_mean_what_they_say, _no_log_files)
