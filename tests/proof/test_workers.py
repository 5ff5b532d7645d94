"""Workers killed, stopped and orphaned under load; starts and stops that leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import until

from ..server.load import Load
from ..server.service import free_port
from ..server.workers.test_supervisor import metric, pids, runs, service, start_and_stop

pytestmark = pytest.mark.proof

KILLS = 20
CLIENTS = 16
CYCLES = 200

Record = Callable[[str, object], None]


def test_twenty_kills_cost_only_what_was_in_flight(tmp_path: Path, record_property: Record) -> None:
    """kill -9 of a worker under load: only its requests fail, and full strength is back in five seconds."""
    slowest: list[float] = []
    failed: list[int] = []

    async def act(port: int, operations: str) -> None:
        over: list[bool] = []
        load = Load(port, CLIENTS, lambda: bool(over))
        for _ in range(KILLS):
            await asyncio.sleep(0.3)
            before = sum(one.kind != "ok" for one in load.outcomes)
            victim = (await asyncio.to_thread(pids, operations))[0]
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            await asyncio.to_thread(_replaced, operations, victim)
            slowest.append(time.monotonic() - began)
            failed.append(sum(one.kind != "ok" for one in load.outcomes) - before)
        over.append(True)
        await load.done()

    with service(tmp_path) as (process, port, operations):
        asyncio.run(act(port, operations))
        assert metric(operations, "roadworthy_worker_restarts_total") == KILLS
        assert process.process.poll() is None
    record_property("kills", KILLS)
    record_property("slowest_recovery_seconds", round(max(slowest), 2))
    record_property("most_failed_of_clients", f"{max(failed)} of {CLIENTS}")
    assert max(slowest) <= 5.0
    # A client has one request in flight, and the connections of the victim are at most all of them.
    assert max(failed) <= CLIENTS


def test_a_stopped_worker_is_replaced_in_thirty_seconds(tmp_path: Path, record_property: Record) -> None:
    """With the default patience a worker that hangs is replaced within half a minute."""
    with service(tmp_path) as (_, _, operations):
        victim = pids(operations)[0]
        began = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        _replaced(operations, victim)
        seconds = time.monotonic() - began
    record_property("seconds", round(seconds, 1))
    assert seconds <= 30.0


def test_no_worker_outlives_its_parent(tmp_path: Path, record_property: Record) -> None:
    """kill -9 of the parent under load: no worker after five seconds, and the port is free."""
    seconds: list[float] = []

    async def act(parent: int, port: int, found: list[int]) -> None:
        load = Load(port, CLIENTS, lambda: False)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        os.kill(parent, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: not any(map(runs, found)), "the workers end")
        seconds.append(time.monotonic() - began)
        await load.done()

    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        with service(folder) as (process, port, operations):
            asyncio.run(act(process.process.pid, port, pids(operations)))
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(("127.0.0.1", port))
                again.listen()
    record_property("slowest_seconds", round(max(seconds), 2))
    assert max(seconds) <= 5.0


def test_no_stopped_worker_outlives_its_parent(tmp_path: Path, record_property: Record) -> None:
    """kill -9 of the parent while one of the workers is stopped, ten times: both are gone in five seconds."""
    seconds: list[float] = []
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        with service(folder) as (process, _, operations):
            found = pids(operations)
            os.kill(found[number % 2], signal.SIGSTOP)
            began = time.monotonic()
            process.process.kill()
            until(lambda found=found: not any(map(runs, found)), "the workers end")  # type: ignore[misc]
            seconds.append(time.monotonic() - began)
    record_property("slowest_seconds", round(max(seconds), 2))
    assert max(seconds) <= 5.0


def test_two_hundred_starts_and_stops_leave_nothing(tmp_path: Path, record_property: Record) -> None:
    """Every end is clean; no folder, file or process stays behind, and the port is free."""
    port = free_port()
    began = time.monotonic()
    for _ in range(CYCLES):
        start_and_stop(tmp_path, port)
    record_property("cycles", CYCLES)
    record_property("seconds_a_cycle", round((time.monotonic() - began) / CYCLES, 2))


def _replaced(operations: str, victim: int) -> None:
    until(lambda: len(found := pids(operations)) == 2 and victim not in found, "it is replaced")
