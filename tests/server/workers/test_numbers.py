"""Several workers admit one limit together and write one log; a log that nobody reads stops nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.patience import DEADLINE, until

from ..leaks import hammer
from ..numbers import Reader, ask_exactly, operations_of, piped, timed, wait_for
from .test_supervisor import metric

LIMIT, REQUESTS = 300, 450


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int], list[bytes]]:
    """Statuses and log lines of four workers with one limit, whose handler fails with a long stack."""
    folder = tmp_path_factory.mktemp("crowd")
    with piped(folder, 4, ROADWORTHY_RATE_LIMIT=f"{LIMIT}/hour") as (process, port):
        reading = Reader(process)
        statuses = asyncio.run(ask_when_there(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        return statuses, reading.lines()


async def ask_when_there(port: int) -> list[int]:
    """Ask for what fails; whether the service is there is asked of a probe, which no limit counts."""
    await asyncio.to_thread(wait_for, port, "/readyz")
    return await ask_exactly(port, REQUESTS, "/fail")


def test_four_workers_admit_exactly_the_limit(crowd: tuple[list[int], list[bytes]]) -> None:
    """Whichever worker a request reaches, no more and no fewer are admitted than the limit says."""
    statuses, _ = crowd
    assert (statuses.count(500), statuses.count(429)) == (LIMIT, REQUESTS - LIMIT)


def test_lines_of_four_workers_stay_whole(crowd: tuple[list[int], list[bytes]]) -> None:
    """Every line is one JSON object, and each failure has one with its stack."""
    _, lines = crowd
    records = [json.loads(line) for line in lines]
    failures = [one for one in records if one.get("status") == 500 and "exception" in one]
    assert len(failures) + sum(one.get("dropped", 0) for one in records) == LIMIT
    assert max(map(len, lines)) > 2000


def test_a_stalled_reader_stops_nothing(tmp_path: Path) -> None:
    """Nobody reads standard output: requests are answered as quickly as before, and drops are counted."""
    with piped(tmp_path, 1, "tests.apps.probe:app") as (process, port):
        operations = operations_of(process)
        before = asyncio.run(timed(port, 400))
        # The pipe is full after some 64 KiB, and the queue after 10,000 lines.
        hammer(port, 12_000)
        until(lambda: metric(operations, "log_records_dropped_total") > 0, "drops are counted")
        # The quarter of a second is for a machine that does something else meanwhile; the proof has none.
        assert asyncio.run(timed(port, 400)) < 2 * before + 0.25


def test_a_closed_reader_stops_nothing(tmp_path: Path) -> None:
    """The reader of standard output is gone: requests are answered, and the service ends in order."""
    with piped(tmp_path, 1, "tests.apps.probe:app") as (process, port):
        operations = operations_of(process)
        assert process.stdout is not None
        process.stdout.close()
        hammer(port, 500)
        until(lambda: metric(operations, "log_records_dropped_total") > 0, "drops are counted")
        hammer(port, 500)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
