"""Probes of ``health-check`` (HLT)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from ...checklist import Dimension
from ..bench import Bench
from ..http.fields import fresh_for, location_of
from ..http.wire import Answer
from ..needs import Need
from ..phases import Phase
from ..probe import Probe, probe
from ..read.exposition import Sample
from ..read.leaks import internals
from ..read.shapes import members
from ..store.faults import Fault, Store
from ..verdict import Table, Verdict
from .shared.outage import feels, uses_its_store
from .shared.together import end

__all__ = ("PROBES",)

_ACCEPTED: tuple[dict[str, str], ...] = ({}, {"Accept": "application/json"})
_FAILURES = 5
"""Requests that fail before liveness is asked: some count failures, and give up."""

# The default timeoutSeconds of a Kubernetes probe.
_TIMEOUT = 1.0
_CLIENTS = 64
_DOWN = re.compile(
    r'"?\b(status|state|health)\b"?\s*[:=]\s*"?(down|fail\w*|error|unhealthy|unavailable|out_of_service)\b',
    re.I,
)
_UP = re.compile(r'"?\b(status|state|health)\b"?\s*[:=]\s*"?(ok|up|pass|healthy|ready|alive)\b', re.I)


def _kubelet_accepts(answer: Answer) -> bool:
    return answer.complete and 200 <= answer.status < 400


@probe("HLT-1", phase=Phase.SERVE, needs=(Need.LIVE,), samples=4)
async def _liveness(bench: Bench) -> Verdict:
    """Asks the liveness path without credentials, three times with GET and once with HEAD."""
    path = bench.manifest.health.live
    other = await bench.get(bench.unknown_path(), auth=False)
    bench.control("an unknown path is answered otherwise, so a success means something", not other.ok)
    for method in ("GET", "GET", "GET", "HEAD"):
        answer = await bench.request(method, path, auth=False)
        bench.sample()
        host = urlsplit(location_of(answer) or "").hostname if 300 <= answer.status < 400 else None
        if not _kubelet_accepts(answer):
            if method == "HEAD" and answer.status in {404, 405, 501}:
                bench.warn("HEAD of the liveness path is refused", "the status of GET", str(answer), answer)
            else:
                bench.fail("liveness is not a success", "200-399, without credentials", str(answer), answer)
        elif host is not None and host != bench.target.address.host:
            bench.fail("liveness redirects to another host", "an answer of its own", f"to {host}", answer)
        elif answer.seconds > bench.patience(_TIMEOUT):
            bench.fail("liveness is slow", f"within {_TIMEOUT:g} s", f"{answer.seconds:.2f} s", answer)
    return bench.verdict()


@probe("HLT-2", phase=Phase.SERVE, needs=(Need.LIVE,))
async def _readiness_is_its_own(bench: Bench) -> Verdict:
    """Compares the two paths, and asks both."""
    health = bench.manifest.health
    live = await bench.get(health.live)
    bench.control("liveness answers", _kubelet_accepts(live))
    bench.sample()
    if not health.ready:
        return bench.fail("there is no readiness endpoint", "a path of its own", "none was declared or found")
    ready = await bench.get(health.ready)
    if not ready.ok:
        return bench.fail("readiness is negative while the service serves", "2xx", str(ready), ready)
    if health.ready == health.live:
        return bench.warn("one path is both liveness and readiness", "two paths", health.live, ready)
    return bench.verdict()


@probe("HLT-3", phase=Phase.START, needs=(Need.COMMAND, Need.READY, Need.STORE), quick=False, seconds=90)
async def _readiness_waits_for_the_store(bench: Bench) -> Verdict:
    """Starts the service while its store refuses, watches readiness, and lets the store come."""
    ready = bench.manifest.health.ready
    async with bench.launch() as target:
        answer = await bench.get(ready)
        bench.control("with its store the service is ready", answer.ok)
        usual = target.ready_after
        await uses_its_store(bench)
    async with bench.launch(store="refused", wait=False) as target:
        # Long enough for a start that does not care about its store to be over.
        for _ in range(20):
            answer = await bench.get(ready, seconds=2)
            bench.sample()
            if target.process.ended is not None or answer.status:
                break
            await asyncio.sleep(max(usual, 0.2) / 5)
        for _ in range(5):
            answer = await bench.get(ready, seconds=2)
            bench.sample()
            if answer.ok:
                return bench.fail(
                    "readiness is positive without the store",
                    "non-2xx, or the process ends",
                    str(answer),
                    answer,
                )
            await asyncio.sleep(0.1)
        ended = target.process.ended
        if ended is not None:
            bench.note(f"the service ends with {ended} when its store refuses at the start")
            bench.expect(
                ended.status != 0,
                "a start without the store exits with status 0",
                "non-zero",
                str(ended),
            )
            return bench.verdict()
        assert target.store is not None
        await target.store.restore()
        came, answer = await bench.until(lambda: bench.get(ready, seconds=2), lambda answer: answer.ok, 10)
        if not came:
            return bench.fail(
                "readiness does not return by itself", "2xx within 10 s of the store", str(answer), answer
            )
        await _first_request(bench)
    return bench.verdict()


async def _first_request(bench: Bench) -> None:
    """Send the first request after the first positive readiness: it has to succeed."""
    route = bench.manifest.routes.by_role.get("list") or bench.manifest.routes.by_role.get("create")
    if route is None:
        bench.note("no route is declared, so the first request after readiness was not tried")
        return
    answer = await bench.call(route)
    bench.expect(answer.ok, "ready, and the first request failed", "2xx", str(answer), answer)


@asynccontextmanager
async def _fault(bench: Bench, fault: Fault) -> AsyncGenerator[Store]:
    """Hold a fault of the store; on the way out wait until the service has recovered."""
    store = bench.target.store
    assert store is not None
    await store.inject(fault)
    try:
        yield store
    finally:
        await store.restore()
        if bench.manifest.health.ready:
            await bench.until(
                lambda: bench.get(bench.manifest.health.ready, seconds=2), lambda answer: answer.ok, 15
            )


def _faults(bench: Bench) -> list[Fault]:
    store = bench.target.store
    return [fault for fault in (Fault.REFUSE, Fault.STALL) if store is not None and fault in store.can]


@probe(
    "HLT-4",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.LIVE, Need.STORE),
    quick=False,
    samples=3,
    varies=(Dimension.METHOD,),
)
async def _liveness_needs_no_store(bench: Bench) -> Verdict:
    """Asks liveness while the store refuses and requests fail, and while it accepts and stays silent."""
    path = bench.manifest.health.live
    methods = ["GET", *_also_by_head(await bench.request("HEAD", path)), "GET"]
    if not _faults(bench):
        return bench.inconclusive("this store can neither be made to refuse nor to fall silent")
    for fault in _faults(bench):
        async with _fault(bench, fault):
            felt = await feels(bench)
            if felt is None:
                return bench.inconclusive(
                    "no declared route touches the store, so the fault cannot be seen to work"
                )
            bench.control(f"the service feels the fault ({fault}: {felt})", not felt.ok)
            for _ in range(_FAILURES if fault is Fault.REFUSE else 0):
                await feels(bench)
            for method in methods:
                answer = await bench.request(method, path, seconds=5)
                slow = answer.seconds > bench.patience(_TIMEOUT)
                bench.expect(
                    answer.ok and not slow,
                    f"liveness {'is slow' if answer.ok else 'fails'} when the store is down ({fault})",
                    f"2xx within {_TIMEOUT:g} s",
                    f"{answer} after {answer.seconds:.2f} s",
                    answer,
                )
    return bench.verdict()


@probe("HLT-5", phase=Phase.FAULTS, needs=(Need.COMMAND, Need.READY, Need.STORE), quick=False, seconds=90)
async def _readiness_follows_the_declaration(bench: Bench) -> Verdict:
    """Takes the store away and compares readiness with ``health.requires``."""
    ready, requires = bench.manifest.health.ready, bench.manifest.health.requires
    if Fault.REFUSE not in _faults(bench):
        return bench.not_applicable("the store is a local file, which does not go away")
    answer = await bench.get(ready)
    bench.control("readiness is positive with the store", answer.ok)
    required = requires is not None and bool({"db", "database", "store"} & set(requires))
    await uses_its_store(bench)
    async with _fault(bench, Fault.REFUSE):
        felt = await feels(bench)
        # Checks that run in the background need their interval; services that do not care stay as they are.
        flipped, answer = await bench.until(
            lambda: bench.get(ready, seconds=2), lambda answer: not answer.ok, 15 if required else 3
        )
    if requires is None:
        bench.note(f"readiness without its store is {answer}")
        return bench.not_applicable(
            "health.requires does not say whether readiness depends on the store",
            undeclared=("health.requires",),
        )
    if felt is not None and not flipped:
        bench.control(f"the service feels the fault ({felt})", not felt.ok)
    bench.sample()
    if required and not flipped:
        return bench.fail("readiness ignores a required store", "non-2xx within 15 s", str(answer), answer)
    if not required and flipped:
        return bench.fail("readiness needs a store that is not required", "2xx", str(answer), answer)
    return bench.verdict()


@probe("HLT-6", phase=Phase.LOAD, needs=(Need.LIVE,), quick=False, samples=40)
async def _probes_stay_fast(bench: Bench) -> Verdict:
    """Asks liveness and readiness under 64 concurrent requests, and with the store silent."""
    health, routes = bench.manifest.health, bench.manifest.routes.by_role
    busy = routes.get("list") or routes.get("read")
    if busy is None:
        return bench.inconclusive(
            "needs a route to make load with (routes.list)", undeclared=("routes.list",)
        )
    paths = [path for path in (health.live, health.ready) if path]
    table: list[tuple[str, str, str]] = []
    served, there = 0, asyncio.Event()

    async def load() -> None:
        nonlocal served
        while True:
            answer = await bench.call(busy, seconds=5, patient=False)
            served += answer.status > 0
            if served > _CLIENTS:
                there.set()

    workers = [asyncio.create_task(load()) for _ in range(_CLIENTS)]
    try:
        # Probes may be answered so soon that the load would have hardly begun.
        with suppress(TimeoutError):
            await asyncio.wait_for(there.wait(), bench.patience(5.0))
        bench.control(f"the load is there: {served} requests were answered", there.is_set())
        before = served
        for path in paths:
            await _measure(bench, path, f"{_CLIENTS} concurrent requests", 40, table)
        bench.note(f"{served - before} requests were answered meanwhile")
    finally:
        await end(workers)
    if Fault.STALL in _faults(bench):
        # A read may come from a cache, and needs no lock of an SQLite file: what writes waits for both.
        writes = routes.get("create") or busy
        async with _fault(bench, Fault.STALL):
            held = [asyncio.create_task(bench.call(writes, seconds=5, patient=False)) for _ in range(32)]
            try:
                for path in paths:
                    await _measure(bench, path, "the store silent", 5, table)
                if all(task.done() and task.result().ok for task in held):
                    bench.missed("the store silent", f"{writes} is answered without it")
            finally:
                await end(held)
    bench.show(Table("slowest answer", ("path", "while", "seconds"), tuple(table)))
    return bench.verdict()


async def _measure(bench: Bench, path: str, when: str, count: int, table: list[tuple[str, str, str]]) -> None:
    answers = [await bench.get(path, seconds=5, patient=False) for _ in range(count)]
    bench.sample(len(answers))
    slowest = max(answers, key=lambda answer: answer.seconds)
    table.append((path, when, f"{slowest.seconds:.3f}"))
    # Of 40 samples the second slowest stands for the 99th percentile: the machine may have one outlier.
    ranked = sorted(answers, key=lambda answer: answer.seconds)
    judged = ranked[-2] if count >= 40 else ranked[-1]
    silent = next((answer for answer in answers if not answer.status), None)
    if silent is not None:
        bench.fail(f"{path} does not answer: {when}", "an answer", str(silent), silent)
    elif judged.seconds > bench.patience(_TIMEOUT):
        got = f"{judged.seconds:.2f} s"
        bench.fail(f"{path} is slow: {when}", f"p99 within {_TIMEOUT:g} s", got, judged)


def _also_by_head(answer: Answer) -> list[str]:
    """Return HEAD where a health path has it; GET is all that a platform sends."""
    return ["HEAD"] if answer.ok else []


@probe("HLT-7", phase=Phase.LIMITS, needs=(Need.LIVE,), samples=40, varies=(Dimension.METHOD,))
async def _probes_are_not_users(bench: Bench) -> Verdict:
    """Asks more often than a client may, reads the caching fields, and looks at the request counter."""
    health, limit = (
        bench.manifest.health,
        bench.manifest.check.rate_limit.requests or bench.manifest.rate_limit.requests,
    )
    count = min(max(40, (limit or 0) + 10), 500)
    before = await bench.scrape() if bench.has(Need.METRICS) else None
    for path in dict.fromkeys(filter(None, (health.live, health.ready))):
        first = await bench.get(path)
        bench.control(f"{path} answers", _kubelet_accepts(first))
        _judge_caching(bench, path, first)
        for method in ("GET", *_also_by_head(await bench.request("HEAD", path))):
            for _ in range(count):
                answer = await bench.request(method, path)
                bench.sample()
                if answer.status == 429:
                    bench.fail(f"{path} is rate limited", f"{count} answers", "429", answer)
                    break
    if before is not None:
        _judge_counting(bench, before, await bench.scrape(), count)
    return bench.verdict()


def _judge_caching(bench: Bench, path: str, answer: Answer) -> None:
    if seconds := fresh_for(answer):
        got = answer.field("cache-control") or f"Expires: {answer.field('expires')}"
        title, expected = (
            f"{path} may be cached for {seconds:g} s",
            "no-store, or nothing that makes it fresh",
        )
        bench.fail(title, expected, got, answer)


def _judge_counting(
    bench: Bench, before: dict[Sample, float], after: dict[Sample, float], count: int
) -> None:
    """Health requests may be counted where a label separates them, and nowhere else."""
    name = bench.manifest.metrics.requests
    if not name:
        bench.note("metrics.requests names no counter, so the counting of health requests was not judged")
        return
    health = {path for path in (bench.manifest.health.live, bench.manifest.health.ready) if path}
    for sample, value in after.items():
        moved = value - before.get(sample, 0.0)
        told_apart = any(path in label for _, label in sample.labels for path in health)
        if sample.name == name and moved >= count and not told_apart:
            labels = ", ".join(f'{key}="{label}"' for key, label in sample.labels)
            got = f"{name}{{{labels}}} rose by {moved:g}"
            bench.fail(
                "health requests are counted as traffic of users", "a series of their own, or none", got
            )


@probe(
    "HLT-8",
    phase=Phase.FAULTS,
    needs=(Need.LIVE,),
    quick=False,
    seconds=90,
    varies=(Dimension.STATUS, Dimension.MEDIA_TYPE),
)
async def _status_and_body_agree(bench: Bench) -> Verdict:
    """Reads the bodies of positive and of negative answers."""
    health = bench.manifest.health
    paths = list(dict.fromkeys(filter(None, (health.live, health.ready))))
    answers = [await bench.get(path, fields) for path in paths for fields in _ACCEPTED]
    bench.control("the health paths answer", all(answer.complete for answer in answers))
    answers += await _negative(bench)
    for answer in answers:
        bench.sample()
        if answer.ok and _DOWN.search(answer.text):
            bench.fail(
                "a success whose body reports a failure",
                "a body that agrees with 2xx",
                answer.text[:200],
                answer,
            )
        if not answer.ok and _UP.search(answer.text):
            got = f"{answer.status} with {answer.text[:200]}"
            bench.fail("a failure whose body reports success", "a body that agrees", got, answer)
        if answer.body[:1] == b"{" and members(answer.json()) and "json" not in answer.media_type:
            bench.warn(
                "JSON is sent with another media type",
                "application/json",
                answer.media_type or "nothing",
                answer,
            )
    return bench.verdict()


async def _negative(bench: Bench) -> list[Answer]:
    """Return what the health paths say while the store is away; shared by those who read the bodies."""
    return await bench.shared(_collect_negative)


async def _collect_negative(bench: Bench) -> list[Answer]:
    health = bench.manifest.health
    if not health.ready or Fault.REFUSE not in _faults(bench):
        return []
    async with _fault(bench, Fault.REFUSE):
        required = bool(health.requires)
        await bench.until(
            lambda: bench.get(health.ready, seconds=2), lambda answer: not answer.ok, 15 if required else 3
        )
        paths = dict.fromkeys(filter(None, (health.live, health.ready)))
        return [await bench.get(path, fields, seconds=5) for path in paths for fields in _ACCEPTED]


@probe("HLT-9", phase=Phase.FAULTS, needs=(Need.COMMAND, Need.READY, Need.STORE), quick=False, seconds=90)
async def _a_failing_check_shows_nothing(bench: Bench) -> Verdict:
    """Searches the answers of a failing health check for addresses, connection strings and stacks."""
    if Fault.REFUSE not in _faults(bench):
        return bench.not_applicable("the store is a local file, so readiness cannot be made to fail")
    answers = [answer for answer in await _negative(bench) if not answer.ok]
    if not answers:
        return bench.inconclusive("no health path became negative without the store")
    bench.control("a health path is negative without the store")
    assert bench.target.store is not None
    where = urlsplit(bench.target.store.url)
    for answer in answers:
        bench.sample()
        text = (answer.head.raw.decode("latin-1") if answer.head else "") + answer.text
        found = internals(text)
        if where.port and re.search(rf"\b{where.port}\b", answer.text):
            found.append(f"the port of the store ({where.port})")
        found += bench.leaks(text)
        if found:
            bench.fail("a failing health check shows internals", "nothing internal", ", ".join(found), answer)
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _liveness,
    _readiness_is_its_own,
    _readiness_waits_for_the_store,
    _liveness_needs_no_store,
    _readiness_follows_the_declaration,
    _probes_stay_fast,
    _probes_are_not_users,
    _status_and_body_agree,
    _a_failing_check_shows_nothing,
)
