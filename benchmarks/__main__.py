"""Run the scenarios, print what they found and keep it: ``python -m benchmarks [--rounds 5]``."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from .scenarios import layer, protocol, readers

RESULTS = Path(__file__).parent / "results"
SCENARIOS = {
    "layer-cost": layer.cost,
    "layer-cost-workers": layer.cost_of_workers,
    "equipped-fastapi": layer.equipped,
    "protocol": protocol.throughput,
    "worst-inputs": readers.worst_inputs,
}


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


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def main() -> None:
    """Run what the command line names; all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    unknown = set(arguments.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    for name in arguments.scenario or SCENARIOS:
        found = SCENARIOS[name](arguments.rounds, arguments.seconds)
        print(name)
        for key, value in found.items():
            print(f"  {key:24} {value}")
        record = {
            "scenario": name,
            "date": datetime.now(UTC).date().isoformat(),
            "commit": _commit(),
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "machine": _machine(),
            "versions": {
                one: version(one) for one in ("roadworthy", "uvicorn", "fastapi", "pydantic", "uvloop")
            },
            "result": found,
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
