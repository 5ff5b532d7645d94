"""Run the long proofs and keep what they showed in docs/proofs.json and docs/proofs.md: ``make proof``.

A proof is a test with the marker ``proof``; what it measured it tells by ``record_property``. All of them
take more than an hour, so each row keeps date and commit of its own run: ``make proof ONLY="-k fuzz"``
runs a selection (pytest's words) and replaces its rows alone. The suite on Python 3.13 is one more proof,
``ONLY=python313``; it needs a root shell for its chroot.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "proofs.json"
PAGE = ROOT / "docs" / "proofs.md"
_WRITTEN = "docs/proofs.*"
_PYTHON313 = "the suite on Python 3.13"

Row = dict[str, str]


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def commit(written: str) -> str:
    """Return the current commit, and whether files were changed since, but for those that are ``written``."""
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{written}")
    return _output("git", "rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def _proofs(selection: list[str]) -> tuple[dict[str, Row], int]:
    date, measured = datetime.now(UTC).date().isoformat(), commit(_WRITTEN)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "proofs.xml"
        command = [sys.executable, "-m", "pytest", "-m", "proof", f"--junitxml={report}", *selection]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        rows: dict[str, Row] = {}
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname', '').removeprefix('tests.')}::{case.get('name')}"
            failed = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None
            rows[f"`{name}`"] = {
                "verdict": "FAILED" if failed else "skipped" if skipped else "holds",
                "measured": ", ".join(
                    f"{one.get('name')} {one.get('value')}" for one in case.iter("property")
                ),
                "took": f"{float(case.get('time', 0)):.0f} s",
                "date": date,
                "commit": measured,
            }
        return rows, code


def _python313() -> tuple[dict[str, Row], int]:
    begun, measured = datetime.now(UTC), commit(_WRITTEN)
    if os.getuid() != 0:
        print("the suite on Python 3.13 needs root for its chroot: not run")
        return {}, 0
    done = subprocess.run(
        [ROOT / "scripts" / "python313"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout[-4000:], done.stderr[-4000:])
    row = {
        "verdict": "holds" if done.returncode == 0 else "FAILED",
        "measured": (done.stdout.strip().splitlines() or ["no output"])[-1].strip("= "),
        "took": f"{(datetime.now(UTC) - begun).total_seconds():.0f} s",
        "date": begun.date().isoformat(),
        "commit": measured,
    }
    return {_PYTHON313: row}, done.returncode


def _together(rows: dict[str, Row]) -> dict[str, Row]:
    """Make one row of the repetitions of a proof that measure nothing and went alike."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, row in rows.items():
        plain = re.sub(r"\[\d+\]`$", "`", name) if not row["measured"] else name
        alike.setdefault((plain, row["verdict"], row["date"], row["commit"]), []).append(name)
    made: dict[str, Row] = {}
    for (plain, verdict, *_), names in alike.items():
        if len(names) == 1:
            made[names[0]] = rows[names[0]]
        else:
            seconds = sum(int(rows[name]["took"].split()[0]) for name in names)
            more = {"measured": f"{len(names)} times", "took": f"{seconds} s"}
            made[plain if verdict == "holds" else f"{plain} ({verdict})"] = rows[names[0]] | more
    return made


def page(rows: dict[str, Row]) -> str:
    """Return docs/proofs.md for these results."""
    rows = _together(rows)
    columns = ("verdict", "measured", "took", "date", "commit")
    return "\n".join(
        (
            "# Proofs",
            "",
            "What `make proof` showed, each row at its own date and commit. One that does not hold is shown "
            "as it is. Written by `scripts/prove.py` from `docs/proofs.json`.",
            "",
            "| proof | " + " | ".join(columns) + " |",
            "|---" * (len(columns) + 1) + "|",
            *(
                f"| {name} | " + " | ".join(row[column].replace("|", "\\|") for column in columns) + " |"
                for name, row in sorted(rows.items())
            ),
            "",
        )
    )


def main() -> int:
    """Run, write, and say whether all that was run holds."""
    selection = sys.argv[1:]
    kept: dict[str, Row] = json.loads(RESULTS.read_text()) if RESULTS.exists() and selection else {}
    rows: dict[str, Row] = {}
    code = 0
    if selection != ["python313"]:
        rows, code = _proofs(selection)
    if selection in ([], ["python313"]):
        more, other = _python313()
        rows |= more
        code = code or other
    kept |= rows
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    PAGE.write_text(page(kept))
    failed = [name for name, row in rows.items() if row["verdict"] == "FAILED"]
    print(
        f"{len(rows)} proofs run, {len(failed)} failed; written to {PAGE.relative_to(ROOT)}",
        *failed,
        sep="\n",
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
