"""Workers that are killed, stopped, orphaned or replaced under load; starts and stops that leave nothing."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import socket
import tempfile
import time
from pathlib import Path

from .bench import Bench
from .case import Case, Seen, Setup, holds_if
from .lifecycle import CLIENTS, GONE_SECONDS, TWO_WORKERS, in_words, under_load

__all__ = ("CASES",)


def _is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _reload(bench: Bench) -> Seen:
    setup = Setup(env={"FAULTS_SLOW_START": "2"}, workers=2)
    with bench.started(setup) as service:
        old = service.pids()

        def act() -> None:
            service.server.process.send_signal(signal.SIGHUP)
            with contextlib.suppress(TimeoutError):
                # Old and new ones answer beside each other for a while.
                service.until(lambda: not any(map(_is_there, old)), 45, "the old workers have ended")

        failed, count = under_load(service, act)
        replaced = bool(now := service.pids()) and not now & old
    faults = [] if replaced else ["the old workers serve on"]
    if failed:
        faults.append(f"failed: {in_words(failed)}")
    return holds_if(faults, f"{count} requests, none failed")


def _killed_worker(bench: Bench) -> Seen:
    kills, slowest, worst = bench.many(5), 0.0, dict[str, int]()
    with bench.started(TWO_WORKERS) as service:
        for _ in range(kills):
            victim = min(service.pids())

            def act(victim: int = victim) -> None:
                nonlocal slowest
                began = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                service.until(
                    lambda: len(found := service.pids()) == 2 and victim not in found,
                    20,
                    "two workers answer",
                )
                slowest = max(slowest, time.monotonic() - began)

            try:
                failed, _ = under_load(service, act)
            except TimeoutError:
                if service.server.process.poll() is not None:
                    return Seen(False, "the whole service ended")
                return Seen(False, "not back to two workers after 30 s")
            if sum(failed.values()) >= sum(worst.values()):
                worst = failed
    faults = []
    if sum(worst.values()) > CLIENTS:
        faults.append(f"failed: {in_words(worst)}")
    if slowest > 5:
        faults.append(f"two workers again after {slowest:.1f} s")
    return holds_if(
        faults, f"{kills} kills, at most {in_words(worst)} failed, two workers again after {slowest:.1f} s"
    )


def _stopped_worker(bench: Bench) -> Seen:
    with bench.started(TWO_WORKERS) as service:
        victim = min(service.pids())
        began = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        try:
            service.until(lambda: not _runs(victim), 35, "it is ended")
            service.until(lambda: len(service.pids()) == 2, 20, "two workers answer")
        except TimeoutError:
            return Seen(False, "not noticed in 35 s")
        finally:
            if _runs(victim):
                os.kill(victim, signal.SIGCONT)
        seconds = time.monotonic() - began
    return Seen(seconds <= 30, f"replaced after {seconds:.1f} s")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _killed_parent(bench: Bench) -> Seen:
    left, slowest, busy = 0, 0.0, False
    for stopped in (False, True):
        with bench.started(TWO_WORKERS) as service:
            found = service.pids()
            if stopped:
                os.kill(min(found), signal.SIGSTOP)
            began = time.monotonic()
            service.server.process.kill()
            with contextlib.suppress(TimeoutError):
                service.until(lambda found=found: not any(map(_runs, found)), 5, "they end")  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - began)
            left += sum(map(_runs, found))
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    again.bind(("127.0.0.1", service.port))
                    again.listen()
                except OSError:
                    busy = True
    faults = [f"{left} of 4 workers outlive it"] if left else []
    if busy:
        faults.append("the port stays taken")
    return holds_if(faults, f"all gone after {slowest:.1f} s")


def _starts_and_stops(bench: Bench) -> Seen:
    codes, left = set[int | None](), set[str]()
    count = bench.many(8, 2)
    for _ in range(count):
        with bench.started(TWO_WORKERS) as service:
            family = service.family()
            service.server.terminate()
            if not service.ended(GONE_SECONDS):
                return Seen(False, f"still there after {GONE_SECONDS:.0f} s")
            codes.add(service.server.process.poll())
            with contextlib.suppress(TimeoutError):
                service.until(lambda family=family: not any(map(_runs, family)), 3, "all end")  # type: ignore[misc]
            if any(map(_runs, family)):
                return Seen(False, f"{sum(map(_runs, family))} processes left")
            left |= _named_after(family)
    faults = [f"left behind: {', '.join(sorted(left)[:3])}"] if left else []
    if codes - {0, -signal.SIGTERM}:
        faults.append(f"exit {codes}")
    return holds_if(faults, f"{count} times, nothing left, exit {sorted(codes, key=str)}")


def _named_after(pids: list[int]) -> set[str]:
    """Return files in memory and among the temporary ones that are named after one of these processes."""
    words = {f"{pid}" for pid in pids}
    found: set[str] = set()
    for pattern in ("/dev/shm/*", "/dev/shm/roadworthy*/*", f"{tempfile.gettempdir()}/*"):
        for path in glob.glob(pattern):
            if words & set(re.split(r"[^0-9]+", os.path.basename(path))):
                found.add(path)
    return found


CASES: tuple[Case, ...] = (
    Case(
        "S6", "lifecycle",
        "SIGHUP under load, two workers, an app that takes 2 s to start",
        "the workers are replaced and no request fails",
        _reload, seconds=120,
    ),
    Case(
        "S7", "lifecycle",
        "`kill -9` of one of two workers under load of 16 clients, five times",
        "at most 16 requests fail each time; two workers again within 5 s",
        _killed_worker, seconds=200,
    ),
    Case(
        "S8", "lifecycle",
        "SIGSTOP of one of two workers",
        "it is replaced within 30 s",
        _stopped_worker,
    ),
    Case(
        "S9", "lifecycle",
        "`kill -9` of the parent of two workers; once while one of them is stopped",
        "no worker is left after 5 s, and the port is free",
        _killed_parent,
    ),
    Case(
        "S12", "lifecycle",
        "eight starts and stops with two workers",
        "exit 0 or by the signal; no process, no file in /dev/shm or among the temporary ones is left",
        _starts_and_stops, seconds=240,
    ),
)  # fmt: skip
