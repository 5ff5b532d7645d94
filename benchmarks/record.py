"""Keeping a result with what is needed to judge it: date, commit, machine, versions."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ("commit", "keep")

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
_VERSIONS = ("roadworthy", "uvicorn", "fastapi", "pydantic", "uvloop", "sqlalchemy", "asyncpg")


def commit(name: str = "HEAD") -> str:
    """Return the short hash of a commit.

    Raises:
        SystemExit: the repository has no commit of this name.
    """
    done = subprocess.run(
        ["git", "rev-parse", "--short", "--verify", "--quiet", f"{name}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the repository has no commit {name}")
    return done.stdout.strip()


def keep(name: str, rounds: int, seconds: float, found: dict[str, Any]) -> None:
    """Print what a scenario found, and write it to ``results/<name>.json``.

    Parameters:
        seconds: of load that each case got in a round.
    """
    print(name)
    for key, value in found.items():
        print(f"  {key:24} {value}")
    record = {
        "scenario": name,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "rounds": rounds,
        "seconds": seconds,
        "machine": _machine(),
        "versions": {one: version(one) for one in _VERSIONS},
        "result": found,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


def _machine() -> dict[str, str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    return {"cpu": model, "kernel": platform.release(), "python": platform.python_version()}
