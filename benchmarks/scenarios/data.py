"""CPU of a read by key, a list of twenty and an insert, ten at a time, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.postgres_server import running_postgres

from ..load import LOAD_CORE, ROOT, SERVER_CORE

__all__ = ("drivers",)

_OPERATIONS = 500
"""Of each kind in a round: some tenths of a second for the slowest."""

_CONNECTIONS = 200
"""Of the server: seven peers keep ten or more each."""


def drivers(rounds: int, seconds: float) -> dict[str, Any]:
    """Microseconds of CPU of the client for an operation, and how many times those of the driver by hand.

    The client has one core, PostgreSQL the other. Ratios are medians over rounds in which all took turns.
    """
    del seconds
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="roadworthy-data-") as folder:
        found |= _run("sqlite", f"sqlite:///{Path(folder) / 'data.db'}", rounds)
    with _on_core(LOAD_CORE), running_postgres(max_connections=_CONNECTIONS) as url:
        found |= _run("postgresql", url, rounds)
    return found


def _run(kind: str, url: str, rounds: int) -> dict[str, Any]:
    command = [
        *("taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "benchmarks.peers.data.client"),
        *(url, str(rounds), str(_OPERATIONS)),
    ]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    out = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = {}
    for operation, peers in json.loads(out).items():
        for name, times in peers.items():
            found[f"{kind}, {operation}, {name}"] = {
                "cpu_us": round(median(times), 1),
                "of_by_hand": _ratio(times, peers["by hand"]),
                "ours_of_it": _ratio(peers["roadworthy"], times),
            }
    return found


def _ratio(these: list[float], those: list[float]) -> float:
    return round(median(one / other for one, other in zip(these, those, strict=True)), 2)


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Start processes on a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
