"""Probes of ``cpu-offload`` (CPU)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..bench import Bench
from ..errors import ControlFailed
from ..http.fields import retry_after
from ..http.wire import Answer
from ..needs import Need
from ..phases import Phase
from ..probe import Probe, probe
from ..service.linux import listening, runnable_threads
from ..verdict import Table, Verdict
from .shared.together import end

__all__ = ("PROBES",)

# The most that the reference API computes: a third of a second or more of one processor in most languages.
_N = "5000000"
_HEALTH = 100
# More than anybody lets wait for a computation, and few enough connections for every machine.
_BURST = 200
_TURNS, _FEWEST = 7, 4
_ROW = 2


async def _compute(bench: Bench, seconds: float = 30.0) -> Answer:
    return await bench.call(bench.manifest.routes.by_role["primes"], _N, seconds=seconds, patient=False)


@asynccontextmanager
async def _busy(bench: Bench, width: int) -> AsyncGenerator[list[Answer]]:
    """Keep so many computations going; give the answers so far."""
    answers: list[Answer] = []

    async def go_on() -> None:
        while True:
            answer = await _compute(bench)
            answers.append(answer)
            if not answer.ok:
                await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(go_on()) for _ in range(width)]
    try:
        yield answers
    finally:
        await end(tasks)


async def _single(bench: Bench) -> float:
    """Return how many seconds one computation takes alone, the pool being there already."""
    answers = [await _compute(bench) for _ in range(3)]
    bench.control("the service computes", all(answer.ok for answer in answers))
    return min(answer.seconds for answer in answers)


@probe(
    "CPU-1",
    phase=Phase.LOAD,
    needs=(Need.LIVE, Need.PRIMES),
    quick=False,
    samples=_HEALTH,
    seconds=120,
)
async def _light_requests_stay_fast(bench: Bench) -> Verdict:
    """Asks liveness a hundred times alone and a hundred times beside four computations."""
    path = bench.manifest.health.live
    alone = await _single(bench)
    idle = [await bench.get(path) for _ in range(_HEALTH)]
    before = _ranks(idle)
    # A blocked loop answers after the computation; half of one is beyond what a busy scheduler does.
    allowed = max(5 * before[1], bench.patience(0.1), alone / 2)
    loaded: list[Answer] = []
    lags: list[float] = []
    # Whatever else the machine is busy with makes the checker itself late as well.
    witness = asyncio.create_task(_lag(bench, lags))
    try:
        async with _busy(bench, 4) as computed:
            # Spread over several computations, also where one of them takes seconds.
            pause = max(0.02, 6 * alone / _HEALTH)
            while len(loaded) < _HEALTH or not any(answer.ok for answer in computed):
                loaded.append(await bench.get(path, seconds=20))
                # Of a hundred one may be slow; with many more there is nothing left to find out.
                if sum(answer.seconds > 3 * allowed or not answer.ok for answer in loaded) > 4:
                    break
                await asyncio.sleep(pause)
    finally:
        await end((witness,))
    allowed += 2 * sorted(lags)[-max(len(lags) // 100, 1)] if lags else 0.0
    bench.sample(len(loaded))
    if len(loaded) < _HEALTH:
        # They stop when nothing is left to find out; no finding then means that the machine was late.
        bench.missed(
            f"{_HEALTH - len(loaded)} of {_HEALTH} requests", f"the check was late by {max(lags):.2f} s"
        )
    after = _ranks(loaded)
    rows = tuple(
        (name, f"{ranks[0] * 1000:.1f}", f"{ranks[1] * 1000:.1f}")
        for name, ranks in (("alone", before), ("beside four computations", after))
    )
    bench.show(Table(f"{path} in ms; one computation takes {alone * 1000:.0f}", ("", "median", "p99"), rows))
    silent = [answer for answer in loaded if not answer.ok]
    if silent:
        bench.fail("light requests fail beside computations", "200", str(silent[0]), silent[0])
    elif after[1] > allowed:
        bench.fail(
            "light requests wait for computations",
            f"p99 within {allowed * 1000:.0f} ms",
            f"{after[1] * 1000:.0f} ms",
            max(loaded, key=lambda answer: answer.seconds),
        )
    return bench.verdict()


async def _lag(bench: Bench, lags: list[float]) -> None:
    """Note again and again by how many seconds a short sleep was too long."""
    while True:
        began = bench.now()
        await asyncio.sleep(0.005)
        lags.append(bench.now() - began - 0.005)


def _ranks(answers: list[Answer]) -> tuple[float, float]:
    """Return the median and the 99th percentile: of a hundred, that is the second slowest."""
    ranked = sorted(answer.seconds for answer in answers)
    return statistics.median(ranked), ranked[-2]


@probe("CPU-2", phase=Phase.LOAD, needs=(Need.LIVE, Need.PRIMES), quick=False, samples=2, seconds=180)
async def _a_full_queue_refuses(bench: Bench) -> Verdict:
    """Asks for two hundred computations at once: some must be refused with 503 and Retry-After."""
    await _single(bench)
    answers: list[Answer] = []
    enough = asyncio.Event()

    async def one() -> None:
        answer = await _compute(bench, 60)
        answers.append(answer)
        if answer.status in {429, 503} or len(answers) == _BURST:
            enough.set()

    tasks = [asyncio.create_task(one()) for _ in range(_BURST)]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bench.patience(15)):
                await enough.wait()
        # The others that are refused come at once, and some computations with them.
        await asyncio.sleep(0.5)
    finally:
        await end(tasks)
    bench.sample(len(answers))
    refused = [answer for answer in answers if answer.status in {429, 503}]
    bench.note(f"of {_BURST} at once {len(refused)} were refused before the others were given up")
    other = [answer for answer in answers if not answer.ok and answer not in refused]
    if not refused and not other and len(answers) == _BURST:
        return bench.inconclusive(f"{_BURST} computations at once were all answered: the queue was not full")
    if not refused:
        waiting = _BURST - len(answers)
        got = f"{waiting} wait, {len(other)} fail otherwise, none is refused"
        bench.fail("a queue without a bound", "503 with Retry-After for some", got)
    for answer in refused:
        if retry_after(answer) is None:
            got = answer.field("retry-after") or "absent"
            bench.fail(
                "a full queue does not say when to retry", "Retry-After: seconds, or a date", got, answer
            )
            break
    if other:
        bench.fail("computations fail when many are asked for", "200 or 503", str(other[0]), other[0])
    again, answer = await bench.until(lambda: _compute(bench), lambda answer: answer.ok, 30)
    bench.expect(again, "the service does not compute again after a burst", "200", str(answer), answer)
    return bench.verdict()


@probe(
    "CPU-3",
    phase=Phase.LOAD,
    needs=(Need.COMMAND, Need.LIVE, Need.PRIMES),
    quick=False,
    samples=2,
    seconds=120,
)
async def _a_dead_worker_is_replaced(bench: Bench) -> Verdict:
    """Kills the process that computes, up to five times, and looks which requests fail with it."""
    live = bench.manifest.health.live
    async with bench.launch() as target:
        await _single(bench)
        felt = 0
        for _ in range(5):
            async with _busy(bench, 2) as answers:
                worker = await _kill_one(bench)
                if worker is None:
                    return bench.not_applicable("it computes in no process of its own")
                bench.control("a process that computes was killed", worker)
                at, wanted = bench.now(), len(answers) + 6
                for _ in range(1000):
                    if len(answers) >= wanted:
                        break
                    await asyncio.sleep(0.02)
            hit = [one for one in answers if one.began < at < one.ended and not one.ok]
            felt += bool(hit)
            bench.expect(
                len(hit) <= 1,
                "a worker that dies takes the requests of others along",
                "one failed request at most",
                f"{len(hit)} failed",
                *hit[:2],
            )
            if hit and not hit[0].complete:
                bench.fail("a dead worker's request is not answered", "5xx", str(hit[0]), hit[0])
            back, answer = await bench.until(lambda: _compute(bench), lambda answer: answer.ok, 10)
            alive = await bench.get(live)
            bench.expect(
                back and alive.ok and target.process.ended is None,
                "nothing is computed after a worker has died",
                "200 within 10 s",
                f"{answer}, liveness {alive}",
                answer,
            )
            # A process may be killed when it has just finished; one whose request failed was not.
            if bench.findings or felt == 3:
                break
        if not felt:
            bench.note(
                "no request failed: each was computed again by another process, or had just been answered"
            )
    return bench.verdict()


async def _kill_one(bench: Bench) -> int | None:
    """Kill the process that computes just now: not the started one, and none that accepts connections."""
    process = bench.target.process
    before: dict[int, int] = {one.pid: one.ticks for one in process.tree()}
    for _ in range(200):
        await asyncio.sleep(0.03)
        tree = process.tree()
        grown = {one.pid: one.ticks - before.get(one.pid, 0) for one in tree if one.pid != process.pid}
        before = {one.pid: one.ticks for one in tree}
        for pid, ticks in sorted(grown.items(), key=lambda entry: -entry[1]):
            if ticks >= 1 and not listening([pid]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return pid
    return None


@probe(
    "CPU-4",
    phase=Phase.LOAD,
    needs=(Need.COMMAND, Need.PRIMES),
    quick=False,
    samples=_FEWEST,
    seconds=180,
)
async def _computations_run_side_by_side(bench: Bench) -> Verdict:
    """Compares, up to seven times in turn, how long one row of computations takes and two rows at once."""
    if len(os.sched_getaffinity(0)) < 2:
        return bench.not_applicable("this machine has one processor")
    await _single(bench)
    rows: list[tuple[float, float, float]] = []
    running = 0.0
    for _ in range(_TURNS):
        one, _ = await _timed(bench, 1)
        two, both = await _timed(bench, 2)
        rows.append((one, two, both))
        bench.sample()
        running = max(row[2] for row in rows)
        if len(rows) >= _FEWEST and (running < 0.2 or running > 0.85):
            break
    # Whatever else the machine does makes rows slower and looks emptier: the best of each counts.
    ratio = min(row[1] for row in rows) / min(row[0] for row in rows)
    bench.control("computations were answered", ratio > 0)
    shown = tuple((f"{one:.2f}", f"{two:.2f}", f"{both:.0%}") for one, two, both in rows)
    columns = ("one row, s", "two at once, s", "of the time two ran")
    bench.show(Table(f"{_ROW} computations in a row", columns, shown))
    # Threads that wait for a lock sleep; those that wait for a busy machine do not. So this works even
    # when others use up the processors and two rows take twice as long whatever the service does. Measured:
    # 94 to 100 % with two processes, 55 to 65 % with two threads of Python, below 15 % one after the other.
    if running < 0.75 and ratio >= 1.3:
        got = f"{ratio:.1f} times as long, both running {running:.0%} of the time"
        bench.fail("two computations take turns", "as long as one, where two processors are", got)
    return bench.verdict()


async def _timed(bench: Bench, width: int) -> tuple[float, float]:
    """Return how long so many rows take at once, and in which part of looks two threads ran or wanted to."""

    async def row() -> None:
        for _ in range(_ROW):
            answer = await _compute(bench)
            if not answer.ok:
                raise ControlFailed(f"two computations at once are too many: {answer}")

    process, began, looks = bench.target.process, bench.now(), list[int]()
    rows = [asyncio.create_task(row()) for _ in range(width)]
    try:
        while (await asyncio.wait(rows, timeout=0.02))[1]:
            if count := runnable_threads([one.pid for one in process.tree()]):
                looks.append(count)
        seconds = bench.now() - began
        for each in rows:
            await each
    finally:
        await end(rows)
    return seconds, sum(count >= 2 for count in looks) / max(len(looks), 1)


PROBES: tuple[Probe, ...] = (
    _light_requests_stay_fast,
    _a_full_queue_refuses,
    _a_dead_worker_is_replaced,
    _computations_run_side_by_side,
)
