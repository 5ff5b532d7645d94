"""Run the long proofs and write what they showed to docs/proofs.md: ``make proof``.

A proof is a test with the marker ``proof``; what it measured it tells by ``record_property``. The suite on
Python 3.13 is run at the end where there is a root shell for its chroot.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "proofs.md"


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _proofs(selection: list[str]) -> tuple[list[list[str]], int]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "proofs.xml"
        command = [sys.executable, "-m", "pytest", "-m", "proof", "tests", f"--junitxml={report}", *selection]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        cases = ElementTree.parse(report).getroot().iter("testcase")
        rows = []
        for case in cases:
            name = f"{case.get('classname', '').removeprefix('tests.')}::{case.get('name')}"
            failed = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None
            verdict = "FAILED" if failed else "skipped" if skipped else "holds"
            measured = ", ".join(f"{one.get('name')} {one.get('value')}" for one in case.iter("property"))
            rows.append([f"`{name}`", verdict, measured, f"{float(case.get('time', 0)):.0f} s"])
        return rows, code


def _python313() -> tuple[list[str], int]:
    if os.getuid() != 0:
        return ["the suite on Python 3.13", "not run", "needs root", ""], 0
    begun = datetime.now(UTC)
    done = subprocess.run(
        [ROOT / "scripts" / "python313"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    print(done.stdout[-4000:], done.stderr[-4000:])
    seconds = (datetime.now(UTC) - begun).total_seconds()
    verdict = "holds" if done.returncode == 0 else "FAILED"
    return ["the suite on Python 3.13", verdict, last.strip("= "), f"{seconds:.0f} s"], done.returncode


def main() -> int:
    """Run, write, and say whether all of them hold."""
    rows, code = _proofs(sys.argv[1:])
    if not sys.argv[1:]:
        row, other = _python313()
        rows.append(row)
        code = code or other
    date, commit = datetime.now(UTC).date().isoformat(), _output("git", "rev-parse", "--short", "HEAD")
    lines = [
        "# Proofs",
        "",
        f"Run on {date} at commit `{commit}` with `make proof`. A row that does not hold is shown as it is.",
        "",
        "| proof | verdict | measured | took |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    if not sys.argv[1:]:
        PAGE.write_text("\n".join(lines))
        print(f"written: {PAGE.relative_to(ROOT)}")
    else:
        print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
