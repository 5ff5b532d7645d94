"""Try every fault and attack on three servers (``make faults``); docs/reliability.* show what was seen.

Cells of the current commit are kept, so that a run that was stopped goes on where it was. A group or a case
that is named is run again: ``make faults ONLY=parsing``, ``make faults ONLY="H7 S9"``. Nothing waits for
ever: a case has its own time, and all of them together have ``--minutes``.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from types import FrameType
from typing import Any

import generate_docs
from faults_page import RESULTS
from prove import commit
from tests.faults.bench import Bench
from tests.faults.case import GROUPS, SUBJECTS, Case, Seen, Subject
from tests.faults.catalogue import CASES
from tests.faults.proxies import program_of

_WRITTEN = "docs/reliability.*"
_PACKAGES = (
    "uvicorn", "granian", "httptools", "h11", "uvloop", "fastapi", "starlette", "slowapi", "limits", "redis",
    "prometheus-fastapi-instrumentator", "asgi-correlation-id", "secure", "structlog", "websockets",
)  # fmt: skip


class _GivenUp(SystemExit):
    """Out of time. An event loop passes on nothing but an exit or an interrupt."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise :class:`_GivenUp` in the block after so long."""

    def give_up(_: int, __: FrameType | None) -> None:
        raise _GivenUp

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tool(command: str | None, *arguments: str) -> str:
    if command is None:
        return "not installed"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
    return found[0] if found else "?"


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part."""
    return {
        "roadworthy": version("roadworthy"),
        **{name: version(name) for name in _PACKAGES},
        "nginx": _tool(program_of("nginx"), "-v"),
        "haproxy": _tool(program_of("haproxy"), "-v"),
        "redis-server": _tool("redis-server", "--version"),
        "Python": platform.python_version(),
        "Linux": platform.release(),
    }


class Results:
    """What is known so far, kept in the file after every cell.

    Parameters:
        scale: the share of the full numbers; results of another are not taken for those of this run.
    """

    def __init__(self, scale: float) -> None:
        self._commit = commit(_WRITTEN)
        self._now: dict[str, Any] = {"commit": self._commit, "scale": scale, "versions": versions()}
        kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        rows: dict[str, dict[str, Any]] = {row["id"]: row for row in kept.get("rows", [])}
        self._rows = {
            case.id: {
                **rows.get(case.id, {"cells": {}}), "id": case.id, "group": GROUPS[case.group],
                "what": case.what, "passes": case.passes,
            }
            for case in CASES
        }  # fmt: skip

    def has(self, case: Case, subject: Subject) -> bool:
        """Whether the case has its cell already, of this commit and these versions."""
        row = self._rows[case.id]
        return "changes" not in self._commit and self._is_of_now(row) and subject in row["cells"]

    def _is_of_now(self, row: dict[str, Any]) -> bool:
        return all(row.get(key) == value for key, value in self._now.items())

    def forget(self, case: Case) -> None:
        """Drop a row, so that it is run again."""
        self._rows[case.id].pop("commit", None)

    def put(self, case: Case, subject: Subject, verdict: str, seen: str, seconds: float) -> None:
        """Keep a cell, on the disk as well; the other cells of an older row go."""
        row = self._rows[case.id]
        if not self._is_of_now(row):
            row.update(self._now, cells={})
        row["date"] = datetime.now(UTC).date().isoformat()
        row["cells"][subject] = {"verdict": verdict, "seen": seen, "seconds": round(seconds, 1)}
        self.write()

    def write(self) -> None:
        """Write the file anew."""
        rows = [row for row in self._rows.values() if row["cells"]]
        text = json.dumps({"servers": SUBJECTS, "rows": rows}, indent=1, ensure_ascii=False)
        RESULTS.write_text(text + "\n", encoding="utf-8")


def _run(case: Case, bench: Bench, left: float) -> tuple[str, str]:
    """Drive a case; return the verdict and what was seen."""
    if bench.subject in case.absent:
        return "n/a", case.absent[bench.subject]
    try:
        with _at_most(min(case.seconds, left)):
            seen: Seen = case.drive(bench)
    except _GivenUp:
        return "fails", f"not done after {case.seconds:.0f} s"
    except Exception as error:
        return "fails", f"{type(error).__name__}: {str(error)[:200]}"
    return ("holds" if seen.holds else "fails"), seen.text


def _chosen(words: list[str]) -> list[Case]:
    if not words:
        return list(CASES)
    found = [case for case in CASES if case.group in words or case.id in words or case.id.split()[0] in words]
    if not found:
        names = ", ".join(GROUPS)
        raise SystemExit(f"no group or case is called {' '.join(words)}; the groups are {names}")
    return found


def _stop(_: int, __: FrameType | None) -> None:
    raise SystemExit("stopped; the next run goes on from here")


def main() -> int:
    """Run what is not done yet, write, and return 1 when one of ours fails."""
    parser = argparse.ArgumentParser(description="Try every fault and attack on three servers.")
    parser.add_argument("only", nargs="*", help="groups or cases to run again")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full numbers, for a try")
    parser.add_argument("--minutes", type=float, default=58.0, help="after which no further case begins")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    chosen = _chosen(options.only)
    results = Results(options.scale)
    if options.only:
        for case in chosen:
            results.forget(case)
    end = time.monotonic() + options.minutes * 60
    failed: list[str] = []
    for group in dict.fromkeys(case.group for case in chosen):
        for subject in SUBJECTS:
            bench = Bench(subject, options.scale)
            try:
                for case in chosen:
                    if case.group != group or results.has(case, subject):
                        continue
                    left = end - time.monotonic()
                    if left < 5:
                        print("out of time; run it again to go on", flush=True)
                        return _finish(failed, out_of_time=True)
                    began = time.monotonic()
                    verdict, seen = _run(case, bench, left)
                    seconds = time.monotonic() - began
                    results.put(case, subject, verdict, seen, seconds)
                    print(f"{case.id:12} {subject:10} {seconds:5.1f} s  {verdict}: {seen}", flush=True)
                    if verdict == "fails" and subject == "roadworthy":
                        failed.append(case.id)
            finally:
                _close(bench)
    return _finish(failed)


def _close(bench: Bench) -> None:
    """End what the cases shared; a server that resists stops nothing else."""
    try:
        bench.close()
    except Exception as error:
        print(f"{bench.subject} could not be ended: {error!r}", flush=True)


def _finish(failed: list[str], *, out_of_time: bool = False) -> int:
    generate_docs.main([])
    if failed:
        print(f"roadworthy run fails: {', '.join(failed)}")
    return 1 if failed or out_of_time else 0


if __name__ == "__main__":
    sys.exit(main())
