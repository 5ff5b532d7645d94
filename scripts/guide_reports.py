"""Check the guide's own snippets and keep what was found: ``python scripts/guide_reports.py [STACK ...]``.

It builds each folder of examples/guide, runs ``roadworthy check`` there and keeps verdicts and findings in
examples/guide/reports.json, each stack at its own date and commit; ``make docs`` writes the pages from it.
All seven take a quarter of an hour, so this is no part of ``make test``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guide_pages import GUIDE, REPORTS, STACKS
from prove import commit

_LONGEST = 900
"""Seconds for one stack: five times what the full profile takes on the reference service."""


def _check(stack: str) -> dict[str, Any]:
    subprocess.run([GUIDE / "build", stack], check=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        roadworthy = Path(sys.executable).with_name("roadworthy")
        command = [str(roadworthy), "check", "--report", f"json={report}"]
        done = subprocess.run(command, cwd=GUIDE / stack, check=False, timeout=_LONGEST)
        if not report.exists():
            raise SystemExit(f"{stack}: the check ended with {done.returncode} and left no report")
        return dict(json.loads(report.read_text()))


def _kept(report: dict[str, Any]) -> dict[str, Any]:
    """Keep what does not change from run to run: no times, no addresses, no evidence."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit("examples/guide/reports.json"),
        "seconds": round(report["run"]["seconds"]),
        "items": {item["id"]: {"state": item["state"], **item["counts"]} for item in report["items"]},
        "findings": [
            {
                "id": result["id"],
                "severity": result["severity"],
                "verdict": result["verdict"],
                "titles": list(dict.fromkeys(finding["title"] for finding in result["findings"])),
            }
            for result in report["assertions"]
            if result["findings"]
        ],
        "open": _open(report),
    }


def _open(report: dict[str, Any]) -> dict[str, list[str]]:
    """Return what stayed without proof: assertions by reason."""
    reasons: dict[str, list[str]] = {}
    for result in report["assertions"]:
        if result["verdict"] == "inconclusive":
            # That the snippet has no such thing is the news; where it could be declared is not.
            reason = result["reason"].replace(", which is neither declared nor could be inferred", "")
            reasons.setdefault(reason, []).append(result["id"])
    return reasons


def main() -> int:
    """Check the stacks that the command line names; all by default."""
    wanted = sys.argv[1:] or list(STACKS)
    unknown = [stack for stack in wanted if stack not in STACKS]
    if unknown:
        print(f"no stack {', '.join(unknown)}; there are {', '.join(STACKS)}", file=sys.stderr)
        return 2
    for stack in wanted:
        kept = json.loads(REPORTS.read_text()) if REPORTS.exists() else {}
        kept[stack] = _kept(_check(stack))
        kept = {name: kept[name] for name in STACKS if name in kept}
        REPORTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
