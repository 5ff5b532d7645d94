"""Is this tree slower than a commit? ``python -m benchmarks.compare COMMIT [--rounds 24]``.

Both serve the same apps with the same interpreter and the same packages; only the folder that ``roadworthy``
is imported from differs. They are loaded by turns, with bare uvicorn in the same rounds. Each round starts
the servers anew, so that a process that happens to lie badly in memory spoils one round and not all.

Exits with 1 when the interval of a ratio lies wholly above 1.03.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from random import Random
from statistics import geometric_mean, median
from typing import Any

from .load import Measured
from .record import ROOT, commit, keep
from .scenarios.layer import EVERYTHING
from .turns import Case, by_turns

__all__ = ("interval", "main")

SLOWER = 1.03
"""A whole interval above this is a loss of speed."""
_RESAMPLES = 10_000
_APPS = {
    "asgi": "benchmarks.peers.bare_asgi.app:plain",
    "fastapi": "benchmarks.peers.fastapi_roadworthy.app:service",
}


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the geometric mean of paired ratios.

    Percentile bootstrap over the pairs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, §13),
    with a fixed seed: the same ratios give the same interval.
    """
    draw = Random(7)
    means = sorted(geometric_mean(draw.choices(ratios, k=len(ratios))) for _ in range(_RESAMPLES))
    return means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]


def _paired(
    base: Sequence[Measured], head: Sequence[Measured], value: Callable[[Measured], float]
) -> dict[str, Any]:
    ratios = [value(new) / value(old) for old, new in zip(base, head, strict=True)]
    low, high = interval(ratios)
    return {
        "ratio": round(geometric_mean(ratios), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "median_ratio": round(median(ratios), 4),
        "rounds_ratio": [round(one, 4) for one in ratios],
    }


def _cpu(measured: Measured) -> float:
    return measured.cpu_us


def _rate(measured: Measured) -> float:
    return measured.per_second


def _compare(base_source: Path, rounds: int, seconds: float) -> dict[str, Any]:
    sources = {"base": base_source, "head": ROOT / "src"}
    cases = {"bare": Case(_APPS["asgi"])} | {
        f"{name}_{side}": Case(app, "roadworthy", environment=EVERYTHING, source=source)
        for name, app in _APPS.items()
        for side, source in sources.items()
    }
    seen = by_turns(cases, rounds, seconds)
    every = [one for measured in seen.values() for one in measured]
    cpu = {name: median(one.cpu_us for one in measured) for name, measured in seen.items()}
    found: dict[str, Any] = {
        f"{name}_{what}": _paired(seen[f"{name}_base"], seen[f"{name}_head"], value)
        for name in _APPS
        for what, value in (("cpu", _cpu), ("per_second", _rate))
    }
    return found | {
        "slower": [name for name in _APPS if found[f"{name}_cpu"]["interval_95"][0] > SLOWER],
        "cpu_us": {name: round(value, 1) for name, value in cpu.items()},
        "cpu_us_of_bare": {name: round(value / cpu["bare"], 2) for name, value in cpu.items()},
        "per_second": {
            name: round(median(one.per_second for one in measured)) for name, measured in seen.items()
        },
        "stolen_percent": round(
            100 * sum(one.stolen_seconds for one in every) / sum(one.seconds for one in every), 1
        ),
    }


def main() -> int:
    """Compare, print, keep; 1 when this tree is slower."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load for each server in a round")
    arguments = parser.parse_args()
    base = commit(arguments.base)
    packed = subprocess.run(["git", "archive", base, "src"], cwd=ROOT, capture_output=True, check=True)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "src"], cwd=ROOT, capture_output=True, check=True
    )
    with tempfile.TemporaryDirectory(prefix="roadworthy-base-") as folder:
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        found = _compare(Path(folder) / "src", arguments.rounds, arguments.seconds)
    sides = {"base": base, "head": commit() + (" with changes" if changed.stdout else "")}
    keep(f"compare-{base}", arguments.rounds, arguments.seconds, sides | found)
    for name in _APPS:
        cpu = found[f"{name}_cpu"]
        low, high = cpu["interval_95"]
        print(
            f"{name}: {sides['head']} takes {cpu['ratio']:.3f} × the CPU of {base} per request "
            f"({arguments.rounds} paired rounds, 95 % interval {low:.3f} to {high:.3f}): "
            + ("slower" if name in found["slower"] else "not slower")
        )
    return int(bool(found["slower"]))


if __name__ == "__main__":
    sys.exit(main())
