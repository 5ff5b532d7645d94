"""SIGTERM under load, again and again: nothing that was begun is lost, and the process ends in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ..server.drain import Cycle, drain_cycle

pytestmark = pytest.mark.proof

CYCLES = 50


@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_drains_lose_nothing(
    tmp_path: Path, workers: int, record_property: Callable[[str, object], None]
) -> None:
    """In fifty drains under load no response is truncated, and no client that heeds readiness fails."""
    total: Counter[str] = Counter()
    slowest = 0.0
    worst = 0
    requests = 0
    for number in range(CYCLES):
        folder = tmp_path / str(number)
        folder.mkdir()
        cycle: Cycle = asyncio.run(drain_cycle(folder, workers))
        cycle.check()
        total += cycle.stubborn
        worst = max(worst, cycle.lost_by_stubborn)
        requests += sum(cycle.heeding.values()) + sum(cycle.stubborn.values())
        slowest = max(slowest, cycle.seconds_to_exit)
    record_property("cycles", CYCLES)
    record_property("requests", requests)
    record_property("clients_that_never_stop", dict(total))
    record_property("most_lost_in_a_cycle", worst)
    record_property("slowest_exit_seconds", round(slowest, 2))
