"""Probes of ``fan-out`` (FAN)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from ..bench import Bench
from ..http.wire import Answer
from ..needs import Need
from ..phases import Phase
from ..probe import Probe, probe
from ..read.shapes import elements, members
from ..service.linux import open_files, threads_of
from ..store.faults import Fault
from ..verdict import Table, Verdict
from .shared import contract
from .shared.outage import outage, quiet_bytes

__all__ = ("PROBES",)

# How long each answer of the store is held back: far above what a service adds on a busy machine.
_HELD = 0.25
# A tenth of the ids of a batch: whoever opens more has a connection or a thread for each of them.
_MANY = 100
_IDS = 1000


@probe(
    "FAN-1",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.OVERVIEW, Need.STORE),
    quick=False,
    samples=4,
    seconds=90,
)
async def _reads_overlap(bench: Bench) -> Verdict:
    """Holds each answer of the store back and counts how many connections wait during one overview."""
    store = bench.target.store
    if store is None or Fault.REFUSE not in store.can:
        return bench.not_applicable("the store is a local file, whose reads cannot be held back one by one")
    routes = bench.manifest.routes.by_role
    if not routes.keys() & {"read", "child_list"}:
        why = "needs a route that reads one thing (routes.read, routes.child_list)"
        return bench.inconclusive(why, undeclared=("routes.read",))
    one = await contract.parent(bench)
    # Connections that have to be opened first would take the time that is measured.
    await asyncio.gather(*(contract.overview(bench, one.id) for _ in range(4)))
    rows: list[tuple[str, str, str]] = []
    store.delay = lambda: _HELD
    try:
        single: list[Answer] = []
        for role in ("read", "child_list"):
            if role in routes:
                store.busy_peak = 0
                single.append(await bench.call(routes[role], one.id))
                rows.append((str(routes[role]), str(store.busy_peak), f"{single[-1].seconds:.2f}"))
        bench.control("a read feels the delay", single and all(each.seconds >= _HELD for each in single))
        together = sum(each.seconds for each in single)
        for _ in range(4):
            store.busy_peak = 0
            answer = await contract.overview(bench, one.id)
            rows.append((str(routes["overview"]), str(store.busy_peak), f"{answer.seconds:.2f}"))
            # One query for both is as good as two at the same time.
            bench.expect(
                answer.ok and (store.busy_peak >= 2 or answer.seconds < 0.75 * together),
                "the reads of an overview wait for each other",
                f"two at the same time, or less than {0.75 * together:.2f} s",
                f"{answer}, {store.busy_peak} at a time, {answer.seconds:.2f} s",
                answer,
            )
    finally:
        store.delay = None
    bench.show(Table("with each answer held back", ("route", "at a time", "seconds"), tuple(rows)))
    return bench.verdict()


@probe(
    "FAN-2",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.BATCH),
    quick=False,
    samples=3,
    seconds=120,
)
async def _batches_are_bounded(bench: Bench) -> Verdict:
    """Asks for a thousand at once, twice at the same time, and counts connections, files and threads."""
    async with bench.launch() as target:
        made = [await contract.parent(bench) for _ in range(5)]
        ids = [one.raw for one in made] * (_IDS // len(made))
        few = await contract.batch(bench, ids[:5])
        bench.control("a batch is answered", few.ok and _ids_of(few) == ids[:5])
        store = target.store
        before = _held(bench)
        if store is not None:
            # Long enough that calls which may overlap do.
            store.delay = lambda: 0.003
        over = asyncio.Event()
        watching = asyncio.create_task(_watch(bench, over))
        answers = await asyncio.gather(*(contract.batch(bench, ids, seconds=60) for _ in range(2)))
        over.set()
        files, threads = await watching
        connections = store.peak if store is not None else 0
    allowed = max(bench.manifest.database.pool_max or 0, _MANY)
    counted = (
        ("connections to the store", 0, connections),
        ("open files", before[0], files),
        ("threads", before[1], threads),
    )
    rows = tuple((name, str(earlier), str(peak)) for name, earlier, peak in counted)
    bench.show(Table(f"two batches of {_IDS} at once", ("what", "before", "at most"), rows))
    for name, earlier, peak in counted:
        title = f"a large batch takes a number of {name} that grows with it"
        bench.expect(peak - earlier <= allowed, title, f"at most {allowed} more", f"{peak - earlier} more")
    if not bench.findings:
        bench.control("large batches are answered", all(each.ok and _ids_of(each) == ids for each in answers))
    too_many = await contract.batch(bench, [made[0].raw] * (_IDS + 1))
    if too_many.ok:
        bench.warn(f"a batch of {_IDS + 1} is accepted", "a refusal", str(too_many), too_many)
    return bench.verdict()


def _held(bench: Bench) -> tuple[int, int]:
    """Return how many files and threads the service has."""
    tree = [one.pid for one in bench.target.process.tree()]
    return sum(len(open_files(pid)) for pid in tree), threads_of(tree)


async def _watch(bench: Bench, over: asyncio.Event) -> tuple[int, int]:
    """Return the most files and threads that the service had until ``over``."""
    files = threads = 0
    while not over.is_set():
        now = await asyncio.to_thread(_held, bench)
        files, threads = max(files, now[0]), max(threads, now[1])
        await asyncio.sleep(0.01)
    return files, threads


def _ids_of(answer: Answer) -> list[Any]:
    return [members(each).get("id") for each in elements(members(answer.json()).get("items"))]


@probe(
    "FAN-3",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.BATCH),
    quick=False,
    samples=4,
    seconds=90,
)
async def _results_keep_their_order(bench: Bench) -> Verdict:
    """Asks in mixed order for what is there, twice there and missing, while the store answers unevenly."""
    made = [(await contract.parent(bench)).raw for _ in range(20)]
    plain = await contract.batch(bench, made[:1])
    bench.control("a batch of one is answered", plain.ok and _ids_of(plain) == made[:1])
    asked: list[Any] = [*made, *made[:5], *(contract.missing(made[0]) for _ in range(15))]
    store = bench.target.store
    known = set(made)
    try:
        if store is not None:
            store.delay = lambda: random.uniform(0, 0.03)  # noqa: S311
        for _ in range(4):
            random.shuffle(asked)
            answer = await contract.batch(bench, asked)
            wanted = [one if one in known else None for one in asked]
            got = _ids_of(answer)
            wrong = sum(one != two for one, two in zip(wanted, got, strict=False))
            bench.expect(
                got == wanted,
                "a batch does not answer in the order that was asked, with a place for what is missing",
                f"{len(wanted)} places, each with its own",
                f"{len(got)} places, {wrong} with another ({answer})",
                answer,
            )
    finally:
        if store is not None:
            store.delay = None
    return bench.verdict()


@probe(
    "FAN-4",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.OVERVIEW),
    quick=False,
    samples=6,
    seconds=120,
)
async def _one_failure_ends_all(bench: Bench) -> Verdict:
    """Lets one part fail, and then the store fall silent during a batch; the rest has to stop with it."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    good = await contract.overview(bench, one.id)
    bench.control("the parts work together", good.ok)
    before = _held(bench)
    nothing = str(contract.missing(one.raw))
    for _ in range(10):
        answer = await contract.overview(bench, nothing)
        title = "a part that fails does not end the whole"
        bench.expect(400 <= answer.status < 500, title, "404", str(answer), answer)
    after = _held(bench)
    grown = max(after[0] - before[0], after[1] - before[1])
    bench.expect(grown < 10, "failed parts keep files or threads", "as before", f"{grown} more")
    store = bench.target.store
    if "batch" in routes and store is not None and Fault.REFUSE in store.can:
        limit = bench.manifest.limits.request_timeout or 15.0
        usual = await quiet_bytes(store)
        asked = [one.raw] * 300
        async with outage(bench, stall=True):
            answer = await contract.batch(bench, asked, seconds=limit + 5)
            left = await quiet_bytes(store)
        if answer.ok:
            bench.note("a batch was answered although the store was silent")
            return bench.verdict()
        bench.expect(
            answer.complete,
            "a batch whose parts fail gets no answer",
            f"an error within {limit:g} s",
            str(answer),
            answer,
        )
        # What a service asks its store by itself (health checks) goes on.
        title = "the other parts of a failed batch go on"
        bench.expect(left <= 3 * usual + 4096, title, "no bytes to the store", f"{left} bytes", answer)
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _reads_overlap,
    _batches_are_bounded,
    _results_keep_their_order,
    _one_failure_ends_all,
)
