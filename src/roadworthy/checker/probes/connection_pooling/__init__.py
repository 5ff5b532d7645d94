"""Probes of ``connection-pooling`` (POOL)."""

from __future__ import annotations

import asyncio
import itertools
import json

from ....checklist import Severity
from ...bench import Bench
from ...http.request import build_request
from ...http.wire import Answer, DialFailed
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...store.faults import Fault
from ...verdict import Table, Verdict
from ..shared.together import many
from .faults import PROBES as _OF_FAULTS
from .sqlite import PROBES as _OF_SQLITE
from .work import (
    Touch,
    bound,
    find_touch,
    is_file,
    measure_load,
    settled,
    slowed,
    store_of,
)

__all__ = ("PROBES",)

_STORE = (Need.COMMAND, Need.STORE)
# SQLAlchemy's pool lets an overflow connection go after use: 22 opened for 200 requests were measured.
_MOST_OPENED = 0.25


@probe("POOL-1", phase=Phase.FAULTS, needs=_STORE, quick=False, samples=50)
async def _connections_are_reused(bench: Bench) -> Verdict:
    """Counts the connections that 50 requests open, one after another, after three to warm up."""
    store, touch = store_of(bench), await find_touch(bench)
    for _ in range(3):
        await touch()
    opens, sent = store.opens, store.to_server
    answers = [await touch() for _ in range(50)]
    opened = store.opens - opens
    bench.control(f"the requests touch the store ({store.to_server - sent} bytes)", store.to_server > sent)
    good = [answer for answer in answers if answer.ok]
    bench.control(f"the requests succeed ({len(good)} of {len(answers)})", len(good) == len(answers))
    bench.sample(len(good))
    if opened > 2 and is_file(bench):
        # Opening a file costs no round trip and no server; it is worth knowing and no fault.
        title = "the file is opened again for each request, which is cheap with SQLite"
        return bench.warn(title, "at most 2", f"{opened} for 50 requests", answers[0], severity=Severity.INFO)
    if opened > 2:
        title = "connections are opened again and again"
        return bench.fail(title, "at most 2 for 50 requests", f"{opened}", answers[0])
    return bench.verdict()


@probe("POOL-2", phase=Phase.LOAD, needs=_STORE, quick=False, samples=300, seconds=120)
async def _connections_are_bounded(bench: Bench) -> Verdict:
    """Makes 300 requests, four times as many at once as the pool is large, or 64, and counts connections."""
    load = await bench.shared(measure_load)
    bench.control(f"requests succeed under load ({load.good} of {load.sent})", load.good * 4 >= load.sent)
    bench.sample(load.sent)
    rows = ((f"{load.width}", f"{load.sent}", f"{load.opens}", f"{load.peak}", f"{load.most}"),)
    bench.show(Table("connections", ("at once", "requests", "opened", "most at once", "allowed"), rows))
    if load.peak > load.most:
        title = f"{load.peak} connections are open at once"
        bench.fail(
            title, f"at most {load.most} ({load.why})", f"{load.peak} at {load.width} requests at once"
        )
    if load.opens > _MOST_OPENED * load.sent and not is_file(bench):
        got = f"{load.opens} for {load.sent} requests"
        bench.fail("connections are opened for the load and thrown away", "one for four requests", got)
    return bench.verdict()


@probe("POOL-3", phase=Phase.LOAD, needs=_STORE, quick=False, samples=2, seconds=120)
async def _the_pool_settles(bench: Bench) -> Verdict:
    """Counts connections after a load and after the same load again, and looks for open transactions."""
    load = await bench.shared(measure_load)
    bench.control(f"there was a load ({load.good} of {load.sent} succeeded)", load.good * 4 >= load.sent)
    bench.sample(len(load.left))
    left = ", ".join(str(number) for number in load.left)
    if load.left[-1] > load.most:
        bench.fail("connections stay behind after a load", f"at most {load.most} ({load.why})", left)
    elif len(load.left) > 2 and load.left[2] > load.left[1] + 1:
        bench.fail("each load leaves more connections behind", "as many as before", left)
    if load.kept is None:
        bench.note("whether transactions stay open cannot be seen with this kind of store")
    elif load.kept:
        bench.fail(
            "a transaction stays open when nothing is asked", "none idle for more than 1 s", f"{load.kept}"
        )
    return bench.verdict()


@probe("POOL-4", phase=Phase.FAULTS, needs=_STORE, quick=False, samples=20, seconds=240)
async def _bad_requests_give_back(bench: Bench) -> Verdict:
    """Makes 100 requests fail, lets 50 clients leave in the middle of a query, then needs 20 good answers."""
    if not bench.manifest.routes.by_role.keys() & {"read", "fails", "create"}:
        why = "needs a request that fails (routes.fails, routes.create, routes.read)"
        return bench.inconclusive(why, undeclared=("routes.fails",))
    # On a process of its own: what leaks here must not be held against anybody else.
    async with bench.launch():
        store, touch = store_of(bench), await find_touch(bench)
        usual, _ = await _twenty(bench, touch)
        store.look()
        most = max(store.live + 1, bound(bench, 64)[0])
        failed = await _fail_100_times(bench, touch)
        left = await _leave_50_times(bench)
        bench.control(f"requests failed ({failed}) and clients left ({left})", failed >= 25 and left >= 25)
        await bench.until(touch, lambda answer: answer.ok, 5)
        took, answers = await _twenty(bench, touch)
        limit = max(2 * usual, usual + bench.patience(1.0))
        if took > limit and answers[-1].ok:
            # The machine may have been busy with something else; a pool that has lost connections stays slow.
            took, answers = await _twenty(bench, touch)
        bad = [answer for answer in answers if not answer.ok]
        bench.sample(len(answers))
        if bad:
            title = "requests fail after others have failed"
            bench.fail(title, "20 good answers", f"{len(answers) - 1} of 20, then {bad[0]}", bad[0])
        elif took > limit:
            expected, got = f"about {usual:.2f} s for 20 requests", f"{took:.2f} s"
            bench.fail("requests are slow after others have failed", expected, got, answers[-1])
        remaining = await settled(bench, most)
        if remaining > most:
            bench.fail("failed requests leave connections behind", f"at most {most}", f"{remaining}")
    return bench.verdict()


async def _twenty(bench: Bench, touch: Touch) -> tuple[float, list[Answer]]:
    began = bench.now()
    answers: list[Answer] = []
    while len(answers) < 20 and all(answer.ok for answer in answers):
        answers.append(await touch())
    return bench.now() - began, answers


async def _fail_100_times(bench: Bench, touch: Touch) -> int:
    """Make requests fail in every way that the declared routes offer; return how many did."""
    routes, store = bench.manifest.routes.by_role, store_of(bench)
    ways: list[Touch] = []
    if "read" in routes:
        ways.append(lambda: bench.call(routes["read"], "999999999"))
    if "fails" in routes:
        ways.append(lambda: bench.call(routes["fails"]))
    if "create" in routes:
        create = routes["create"]
        body = bench.fresh(create.body)
        ways.append(lambda: bench.request(create.method, create.path, create.headers, json_body={}))
        # What has to be unique is refused by the store itself, in the middle of a transaction.
        ways.append(lambda: bench.request(create.method, create.path, create.headers, json_body=body))
    answers: list[Answer] = []
    # The resets come first: some pools take back a lost connection that was never given back to them.
    for _ in range(3 if Fault.RESET in store.can else 0):
        async with slowed(store, 0.2):
            waiting = asyncio.gather(*(touch() for _ in range(8)))
            await asyncio.sleep(0.1)
            await store.inject(Fault.RESET)
            answers += await waiting
    turns = itertools.cycle(ways)
    answers += await many(lambda: next(turns)(), 100 if ways else 0, 5)
    return sum(not answer.ok for answer in answers)


async def _leave_50_times(bench: Bench) -> int:
    """Send requests whose queries take a while, and break the connection off meanwhile; return how many."""
    routes, store = bench.manifest.routes.by_role, store_of(bench)
    role = "create" if is_file(bench) and "create" in routes else "list"
    route = routes.get(role) or next(iter(routes.values()))

    async def leave() -> bool:
        body = None if route.body is None else json.dumps(bench.fresh(route.body)).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        _, data = build_request(
            bench.target.address, route.method, route.path, bench.headers({**headers, **route.headers}), body
        )
        sent = store.to_server
        try:
            connection = await bench.connect()
        except DialFailed:
            return False
        async with connection:
            await connection.send(data)
            for _ in range(10):
                if store.to_server > sent:
                    break
                await connection.wait_over(0.005)
            await connection.reset()
        return True

    async with slowed(store, 0.05):
        return sum(await many(leave, 50, 10))


PROBES: tuple[Probe, ...] = (
    _connections_are_reused,
    _connections_are_bounded,
    _the_pool_settles,
    _bad_requests_give_back,
    *_OF_FAULTS,
    *_OF_SQLITE,
)
