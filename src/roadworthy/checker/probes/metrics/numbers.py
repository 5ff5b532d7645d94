"""Probes of ``metrics``: whether the numbers are right."""

from __future__ import annotations

import asyncio
import re

from ....checklist import Dimension
from ...bench import Bench
from ...errors import ControlFailed
from ...http.request import build_request
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.exposition import Sample, total
from ...verdict import Table, Verdict
from .counting import Scraper, durations, request_counter, resembling, spent, split, tally, times
from .mixture import ALL, Mixture

__all__ = ("PROBES",)

_MORE = 41
_ON_ALL = (Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS)
# Other units are off by 60 and more; a busy machine makes the client's times longer than the service's.
_SLACK = 5.0
_AFTERWARDS = 0.25
"""Seconds that a service may measure on after the client has its answer, on a machine that is busy."""
_IN_FLIGHT = re.compile(r"in_?flight|in_?progress|active_requests|requests_active|concurrent_requests")


async def _judge_counter(bench: Bench) -> Scraper:
    """Send the mixture and compare the counter with what was sent; return who scraped."""
    mixture = await Mixture.make(bench)
    scraper = await Scraper.begin(bench)
    answers = await mixture.send()
    bench.control(f"{ALL} requests were answered", all(answer.complete for answer in answers))
    bench.sample(len(answers))
    wanted = tally(answers)

    def arrived(moved: dict[Sample, float]) -> bool:
        name = request_counter(bench, moved, ALL)
        return bool(name) and sum(split(moved, name).values()) >= ALL

    moved = await scraper.settle(arrived)
    name = request_counter(bench, moved, ALL)
    if not name:
        _judge_none(bench, moved)
        return scraper
    if not bench.manifest.metrics.requests:
        await _verify(bench, scraper, name)
    found = split(moved, name)
    grown = sum(found.values())
    rows = tuple(
        (method, status, str(count), f"{found.get((method, status), 0.0):g}")
        for (method, status), count in sorted(wanted.items())
    )
    shown = (Table(f"values of {name}", ("method", "status", "sent", "counted"), rows),)
    if grown != ALL:
        bench.fail("the counter is not exact", f"{name} +{ALL}", f"+{grown:g}", evidence=shown)
        return scraper
    # Some exporters count by class of status: 2xx.
    classes = all(re.fullmatch(r"[1-5]xx", status) for _, status in found)
    expected: dict[tuple[str, str], float] = {}
    for (method, status), count in wanted.items():
        key = (method, f"{status[0]}xx" if classes else status)
        expected[key] = expected.get(key, 0.0) + count
    if found != expected:
        got = ", ".join(
            f"{method or '?'} {status or '?'} {count:g}" for (method, status), count in found.items()
        )
        text = ", ".join(f"{method} {status} {count:g}" for (method, status), count in expected.items())
        bench.fail("the counter does not separate methods and statuses", text, got, evidence=shown)
    return scraper


def _judge_none(bench: Bench, moved: dict[Sample, float]) -> None:
    if others := resembling(moved):
        seen = ", ".join(f"{name} +{value:g}" for name, value in sorted(others.items())[:3])
        raise ControlFailed(
            f"no series moved by the {ALL} requests that were sent ({seen}); if one counts them, name it "
            "(metrics.requests in the manifest)",
            ("metrics.requests",),
        )
    bench.fail("no counter of requests moves", f"+{ALL}", "nothing that is called requests")


async def _verify(bench: Bench, scraper: Scraper, name: str) -> None:
    """Hold when a series that nobody declared stands still without requests, and moves with the next."""
    rested = sum(split(await scraper.settle(lambda _: True), name).values()) - ALL
    more = [await bench.get(bench.unknown_path(), patient=False) for _ in range(_MORE)]
    wanted = ALL + len(more)
    moved = await scraper.settle(lambda moved: sum(split(moved, name).values()) >= wanted)
    grown = sum(split(moved, name).values()) - ALL
    bench.control(
        f"{name} counts requests (+{rested:g} without any, +{grown:g} with {_MORE}); if it does not, name "
        "the one that does (metrics.requests in the manifest)",
        rested == 0 and grown == _MORE,
        undeclared=("metrics.requests",),
    )


@probe(
    "MET-4",
    phase=Phase.SERVE,
    needs=(Need.METRICS,),
    samples=ALL,
    seconds=90,
    varies=(*_ON_ALL, Dimension.PARALLEL),
)
async def _requests_are_counted_exactly(bench: Bench) -> Verdict:
    """Sends 137 requests of every kind, and compares the counter by method and status."""
    await _judge_counter(bench)
    return bench.verdict()


@probe(
    "MET-5",
    phase=Phase.WORKERS,
    needs=(Need.COMMAND, Need.METRICS, Need.WORKERS),
    samples=ALL + 10,
    quick=False,
    varies=_ON_ALL,
    seconds=120,
)
async def _workers_count_together(bench: Bench) -> Verdict:
    """Starts several workers, sends 137 requests, and scrapes ten times on new connections."""
    async with bench.launch(workers=bench.manifest.workers.test) as target:
        processes = len(target.process.tree())
        bench.control(f"several processes serve ({processes})", processes >= bench.manifest.workers.test)
        scraper = await _judge_counter(bench)
        name = request_counter(bench, await scraper.settle(lambda _: True), ALL)
        seen: list[float] = []
        for _ in range(10):
            seen.append(total(await bench.scrape(), name))
            bench.sample()
        if seen != sorted(seen):
            got = ", ".join(f"{value:g}" for value in seen)
            bench.fail("a counter falls from scrape to scrape", "never less than before", got)
    return bench.verdict()


@probe(
    "MET-8",
    phase=Phase.SERVE,
    needs=(Need.METRICS,),
    quick=False,
    seconds=90,
    varies=(*_ON_ALL, Dimension.CLIENT, Dimension.PARALLEL),
)
async def _durations_and_requests_in_flight(bench: Bench) -> Verdict:
    """Compares sum and count of the durations with a slow request, and watches the gauge around it."""
    routes = bench.manifest.routes.by_role
    idle = await _at_rest(bench)
    await _judge_durations(bench)
    if "fails" in routes:
        await _judge_failures(bench)
    else:
        bench.note("no route raises (routes.fails), so the counting of failures was not tried")
    if idle is None:
        bench.note("no gauge shows the requests in flight")
    elif "slow" in routes:
        await _judge_in_flight(bench, idle)
    else:
        bench.note("no route is slow (routes.slow), so the unit and requests in flight were not tried")
    return bench.verdict()


async def _judge_durations(bench: Bench) -> None:
    """The count of the durations is that of the requests, and their sum is in seconds."""
    routes = bench.manifest.routes.by_role
    mixture = await Mixture.make(bench)
    scraper = await Scraper.begin(bench)
    answers = await mixture.send_each()
    if "slow" in routes:
        answers.append(await bench.call(routes["slow"], seconds=30, patient=False))
    count = len(answers)
    bench.control("the requests were answered", all(answer.complete for answer in answers))

    def arrived(moved: dict[Sample, float]) -> bool:
        return any(number >= count for number, _ in durations(moved).values())

    moved = await scraper.settle(arrived)
    measured = {base: pair for base, pair in durations(moved).items() if round(pair[0]) > 0}
    bench.sample()
    if not measured:
        bench.fail(
            "durations of requests are not measured", "a histogram or a summary in seconds", "none that moves"
        )
        return
    waited = spent(answers, "", "")
    for base, (number, seconds) in measured.items():
        if round(number) != count:
            bench.fail("the durations are not of all requests", f"{base}_count +{count}", f"+{number:g}")
        elif "slow" in routes and not answers[-1].seconds / _SLACK <= seconds <= waited * _SLACK:
            expected, got = f"about {waited:.2f} in {base}_sum", f"+{seconds:g}"
            bench.fail("durations are not in seconds", expected, got, answers[-1])
        else:
            _judge_units(bench, base, times(moved, base), answers)


def _judge_units(
    bench: Bench, base: str, measured: dict[tuple[str, str], float], answers: list[Answer]
) -> None:
    """No kind of request took the service longer than the client waited for it."""
    for (method, status), seconds in measured.items():
        waited = spent(answers, method, status)
        if seconds > waited * _SLACK + _AFTERWARDS:
            what = f"{method} {status}".strip()
            expected, got = f"at most {waited:.3f} in {base}_sum of {what}", f"+{seconds:g}"
            bench.fail("durations are not in seconds", expected, got)
            return


async def _judge_in_flight(bench: Bench, idle: float) -> None:
    """The gauge rises by a slow request and comes back, also after failures and when clients leave."""
    slow = bench.manifest.routes.by_role["slow"]
    before = await _at_rest(bench) or 0.0
    asked = asyncio.create_task(bench.call(slow, seconds=30, patient=False))
    highest, within = before, 0
    while not asked.done():
        await asyncio.sleep(0.05)
        highest = max(highest, _in_flight(await bench.scrape()) or 0.0)
        within += not asked.done()
    answer = await asked
    for _ in range(3):
        await _leave(bench, slow.method, slow.path)
    health = bench.manifest.health
    for path in filter(None, (health.live, health.ready) * 2):
        await bench.get(path, patient=False)
    bench.sample()
    if not within:
        bench.missed("a request in flight", f"a scrape takes longer than {slow}")
    elif highest <= before:
        expected, got = "the gauge is higher during a slow request", f"{highest:g} before and during it"
        bench.fail("a request in flight is not seen", expected, got, answer)
    now, deadline = highest, bench.now() + bench.patience(5.0) + 2 * answer.seconds
    while bench.now() < deadline:
        now = _in_flight(await bench.scrape()) or 0.0
        if now <= idle:
            break
        await asyncio.sleep(0.1)
    # A scrape may count itself.
    if now > idle or idle > 1:
        expected = f"{min(idle, 1.0):g} when idle"
        bench.fail("requests in flight do not return to zero", expected, f"{now:g}", answer)


async def _at_rest(bench: Bench) -> float | None:
    """Return the lowest value of the gauge within a second: of several workers it may be a moment old."""
    least, deadline = _in_flight(await bench.scrape()), bench.now() + bench.patience(1.0)
    while least and bench.now() < deadline:
        await asyncio.sleep(0.05)
        least = min(least, _in_flight(await bench.scrape()) or 0.0)
    return least


def _in_flight(samples: dict[Sample, float]) -> float | None:
    found = [value for sample, value in samples.items() if _IN_FLIGHT.search(sample.name)]
    return sum(found) if found else None


async def _leave(bench: Bench, method: str, path: str) -> None:
    """Ask and break the connection off before the answer."""
    async with await bench.connect() as connection:
        _, data = build_request(bench.target.address, method, path, bench.headers())
        await connection.send(data)
        await asyncio.sleep(0.05)
        await connection.reset()


async def _judge_failures(bench: Bench) -> None:
    """Each failure is one more in the series of its status."""
    fails = bench.manifest.routes.by_role["fails"]
    scraper = await Scraper.begin(bench)
    answers = [await bench.call(fails, patient=False) for _ in range(3)]
    failed = [answer for answer in answers if answer.status >= 500]
    if not failed:
        return

    def counted(moved: dict[Sample, float]) -> float:
        name = request_counter(bench, moved, len(answers))
        return sum(count for (_, status), count in split(moved, name).items() if status.startswith("5"))

    risen = counted(await scraper.settle(lambda moved: counted(moved) >= len(failed)))
    bench.expect(
        risen == len(failed),
        "failures are not counted as such",
        f"+{len(failed)} of 5xx",
        f"+{risen:g}",
        failed[0],
    )


PROBES: tuple[Probe, ...] = (
    _requests_are_counted_exactly,
    _workers_count_together,
    _durations_and_requests_in_flight,
)
