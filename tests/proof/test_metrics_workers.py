"""Numbers of several workers are exact: requests, limits, and lines of the log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..server.drain import APP, ROOT
from ..server.load import Client, ask
from ..server.process import environment, free_port, get, until
from ..server.test_supervisor import metric, pids, service

pytestmark = pytest.mark.proof

REQUESTS = 10_007
CLIENTS = 16

Record = Callable[[str, object], None]


async def _ask_exactly(port: int, count: int, path: str = "/") -> list[int]:
    """Ask ``count`` times over several connections; return the statuses."""
    left = iter(range(count))
    statuses: list[int] = []

    async def some() -> None:
        client = Client(port)
        for _ in left:
            outcome = await client.ask(path)
            assert outcome.kind == "ok"
            statuses.append(outcome.status)
        client.close()

    await asyncio.gather(*(some() for _ in range(CLIENTS)))
    return statuses


def test_every_request_is_counted_once(tmp_path: Path, record_property: Record) -> None:
    """After 10,007 requests to four workers the scrape says 10,007, and still after one was killed."""
    with service(tmp_path, workers=4) as (_, port, operations):
        scrapes: list[float] = []
        seconds: list[float] = []

        async def act() -> None:
            asked = asyncio.create_task(_ask_exactly(port, REQUESTS))
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
        statuses = asyncio.run(_ask_exactly(port, 1000))
    assert statuses.count(200) == 100
    assert statuses.count(429) == 900


def test_lines_of_four_workers_stay_whole(tmp_path: Path, record_property: Record) -> None:
    """Four workers write failures with long stacks to one pipe: every line is one JSON object."""
    process, port = _with_pipe(tmp_path, "4")
    assert process.stdout is not None
    try:
        reading = _Reader(process)
        _wait_for(port)
        statuses = asyncio.run(_ask_exactly(port, 2000, "/fail"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
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
    process, port = _with_pipe(tmp_path, "2")
    assert process.stdout is not None
    operations = ""
    try:
        for line in process.stdout:
            found = json.loads(line)
            if found.get("message") == "listening":
                operations = found["operations_url"]
                break
        first = asyncio.run(_timed(port, 3000))
        # The pipe is full after some 64 KiB, and the queue after 10,000 lines a worker.
        asyncio.run(_ask_exactly(port, 24_000))
        stalled = asyncio.run(_timed(port, 3000))
        until(lambda: metric(operations, "log_records_dropped_total") > 0, "drops are counted")
        dropped = metric(operations, "log_records_dropped_total")
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
    record_property("p99_before_milliseconds", round(first * 1000, 2))
    record_property("p99_stalled_milliseconds", round(stalled * 1000, 2))
    record_property("dropped", dropped)
    assert stalled < 2 * first


async def _timed(port: int, count: int) -> float:
    """Return the 99th percentile of ``count`` requests over four connections, in seconds."""
    seconds: list[float] = []

    async def some() -> None:
        client = Client(port)
        for _ in range(count // 4):
            outcome = await client.ask()
            seconds.append(outcome.seconds)
        client.close()

    await asyncio.gather(*(some() for _ in range(4)))
    return statistics.quantiles(seconds, n=100)[98]


def _with_pipe(folder: Path, workers: str) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", "run", APP, "--port", str(port), "--ops-port", "0", "--workers",
         workers, "--drain-delay", "0", "--log-format", "json"],
        cwd=folder, stdout=subprocess.PIPE,
        env=environment({"PYTHONPATH": str(ROOT), "ROADWORTHY_RATE_LIMIT": "off"}),
    )  # fmt: skip
    return process, port


def _wait_for(port: int) -> None:
    until(lambda: asyncio.run(ask(port)).kind == "ok", "the service answers")


class _Reader:
    """Reads a process's standard output to its end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._lines: list[bytes] = []
        self._process = process
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)
        self._process.stdout.close()

    def lines(self) -> list[bytes]:
        """Wait for the end and return every line."""
        self._thread.join(30)
        return self._lines
