"""Numbers of several workers are exact: requests, limits, and lines of the log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import DEADLINE, until

from ..server.numbers import Reader, ask_exactly, operations_of, piped, timed, wait_for
from ..server.service import get
from ..server.workers.test_supervisor import metric, pids, service

pytestmark = pytest.mark.proof

REQUESTS = 10_007

Record = Callable[[str, object], None]


def test_every_request_is_counted_once(tmp_path: Path, record_property: Record) -> None:
    """After 10,007 requests to four workers the scrape says 10,007, and still after one was killed."""
    with service(tmp_path, workers=4) as (_, port, operations):
        scrapes: list[float] = []
        seconds: list[float] = []

        async def act() -> None:
            asked = asyncio.create_task(ask_exactly(port, REQUESTS))
            while not asked.done():
                began = time.perf_counter()
                scrapes.append(await asyncio.to_thread(metric, operations, "http_requests_total"))
                seconds.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)
            await asked

        asyncio.run(act())
        assert metric(operations, "http_requests_total") == REQUESTS
        assert scrapes == sorted(scrapes)
        victim = pids(operations)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(found := pids(operations)) == 4 and victim not in found, "it is replaced")
        assert metric(operations, "http_requests_total") == REQUESTS
        idle: list[float] = []
        for _ in range(50):
            began = time.perf_counter()
            get(operations, "/metrics")
            idle.append(time.perf_counter() - began)
    record_property("requests", REQUESTS)
    record_property("scrapes_under_load", len(scrapes))
    record_property("median_scrape_milliseconds", round(statistics.median(idle) * 1000, 2))
    record_property("median_scrape_under_load_milliseconds", round(statistics.median(seconds) * 1000, 2))
    assert statistics.median(idle) <= 0.02


@pytest.mark.parametrize("run", range(5))
def test_four_workers_admit_exactly_the_limit(tmp_path: Path, run: int) -> None:
    """With 100 an hour exactly 100 of 1,000 requests are admitted, whichever worker they reach."""
    limits = {"ROADWORTHY_RATE_LIMIT": "100/hour"}
    with service(tmp_path, workers=4, **limits) as (_, port, _operations):
        statuses = asyncio.run(ask_exactly(port, 1000))
    assert statuses.count(200) == 100
    assert statuses.count(429) == 900


def test_lines_of_four_workers_stay_whole(tmp_path: Path, record_property: Record) -> None:
    """Four workers write failures with long stacks to one pipe: every line is one JSON object."""
    with piped(tmp_path, 4) as (process, port):
        reading = Reader(process)
        wait_for(port)
        statuses = asyncio.run(ask_exactly(port, 2000, "/fail"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        lines = reading.lines()
    assert set(statuses) == {500}
    records = [json.loads(line) for line in lines]
    failures = [one for one in records if one.get("status") == 500]
    record_property("lines", len(lines))
    record_property("longest_line_bytes", max(map(len, lines)))
    dropped = sum(one.get("dropped", 0) for one in records)
    assert len(failures) + dropped >= 2000


def test_a_stalled_reader_stops_nothing(tmp_path: Path, record_property: Record) -> None:
    """Nobody reads standard output: requests take as long as before, and what is dropped is counted."""
    with piped(tmp_path, 2) as (process, port):
        operations = operations_of(process)
        first = asyncio.run(timed(port, 3000))
        # The pipe is full after some 64 KiB, and the queue after 10,000 lines a worker.
        asyncio.run(ask_exactly(port, 24_000))
        stalled = asyncio.run(timed(port, 3000))
        until(lambda: metric(operations, "log_records_dropped_total") > 0, "drops are counted")
        dropped = metric(operations, "log_records_dropped_total")
    record_property("p99_before_milliseconds", round(first * 1000, 2))
    record_property("p99_stalled_milliseconds", round(stalled * 1000, 2))
    record_property("dropped", dropped)
    assert stalled < 2 * first
