"""Probes of POOL that stall, cut and end connections: POOL-5 to POOL-8."""

from __future__ import annotations

import asyncio

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...store.faults import Fault, SqliteFile
from ...store.postgres_client import AskFailed, ask
from ...verdict import Verdict
from ..shared.together import end, many
from ..shared.workers import serving
from .work import Touch, find_touch, is_file, measure_load, processes, settled, store_of

__all__ = ("PROBES",)

_STORE = (Need.COMMAND, Need.STORE)
# Ten seconds are what people wait for. SQLAlchemy's and HikariCP's default is 30 s; node-postgres waits for
# ever (brianc/node-postgres#805).
_LONGEST_WAIT = 10.0


@probe("POOL-5", phase=Phase.FAULTS, needs=(*_STORE, Need.LIVE), quick=False, samples=10, seconds=150)
async def _a_full_pool_is_bounded(bench: Bench) -> Verdict:
    """Keeps every connection busy by a silent store, sends ten requests more, and asks liveness."""
    store, declared = store_of(bench), bench.manifest.database
    touch = await find_touch(bench, seconds=90)
    limit = declared.pool_timeout or _LONGEST_WAIT
    count = min(2 * declared.pool_max + 8, 96) if declared.pool_max else 64
    await store.inject(Fault.STALL)
    held = [asyncio.create_task(touch()) for _ in range(count)]
    try:
        await _quiet(bench)
        waiting = sum(not task.done() for task in held)
        asked = bench.now()
        extra = [asyncio.create_task(_within(bench, touch, limit + 5)) for _ in range(10)]
        await _judge_liveness(bench)
        answers = await asyncio.gather(*extra)
    finally:
        await store.restore()
    if any(answer is not None and answer.ok for answer in answers):
        await end(held)
        return bench.inconclusive("requests succeed although the store is silent")
    bench.control(f"{waiting} of {count} requests wait for the store", waiting or not any(answers))
    for answer in answers:
        bench.sample()
        if bench.findings:
            continue
        if answer is None:
            got = f"none after {bench.now() - asked:.0f} s"
            bench.fail("a request waits for a connection without a bound", f"503 within {limit:g} s", got)
        elif not answer.complete:
            title = "a request that waits for a connection gets no answer"
            bench.fail(title, f"503 within {limit:g} s", str(answer), answer)
        elif answer.seconds > bench.patience(limit + 1):
            got = f"{answer} after {answer.seconds:.1f} s"
            bench.fail("a request waits longer than it may", f"503 within {limit:g} s", got, answer)
        elif answer.status < 500 and answer.status != 429:
            bench.fail("a full pool looks like the client's fault", "503", str(answer), answer)
        elif answer.status not in {429, 503, 504}:
            bench.warn("a full pool is not reported as overload", "503", str(answer), answer)
    back, answer = await bench.until(touch, lambda answer: answer.ok, 10)
    await end(held)
    if not back:
        bench.fail("no recovery after the store answers again", "2xx within 10 s", str(answer), answer)
    return bench.verdict()


async def _quiet(bench: Bench) -> None:
    """Wait until no more bytes come: every connection that may be used is."""
    store, deadline = store_of(bench), bench.now() + bench.patience(5)
    sent, since = -1, bench.now()
    while bench.now() < deadline and bench.now() - since < 0.4:
        if store.to_server != sent:
            sent, since = store.to_server, bench.now()
        await asyncio.sleep(0.02)


async def _within(bench: Bench, touch: Touch, seconds: float) -> Answer | None:
    try:
        async with asyncio.timeout(bench.patience(seconds)):
            return await touch()
    except TimeoutError:
        return None


async def _judge_liveness(bench: Bench) -> None:
    for _ in range(3):
        answer = await bench.get(bench.manifest.health.live, seconds=5)
        if not answer.ok:
            bench.fail("liveness fails while the pool is full", "2xx", str(answer), answer)
            return
        await asyncio.sleep(0.1)


@probe("POOL-6", phase=Phase.FAULTS, needs=_STORE, quick=False, samples=20, seconds=120)
async def _dropped_connections_are_replaced(bench: Bench) -> Verdict:
    """Resets every connection, then cuts the network for two seconds, and counts what fails afterwards."""
    if is_file(bench):
        return bench.not_applicable("a local file has no connections that could be dropped")
    async with bench.launch():
        store, touch = store_of(bench), await find_touch(bench)
        await many(touch, 40, 10)
        live = store.live
        before = await serving(bench)
        bench.control(f"there were connections to drop ({live})", live > 0)
        allowed = max(bench.manifest.database.pool_max or live, 5)
        for fault in (Fault.RESET, Fault.BLACK_HOLE):
            await store.inject(Fault.RESET)
            if fault is Fault.BLACK_HOLE:
                await store.inject(fault)
                waiting = [asyncio.create_task(touch()) for _ in range(3)]
                await asyncio.sleep(2)
                await store.restore()
                await end(waiting)
            failed = await _failures(bench, touch, allowed)
            if failed is None:
                how = "were reset" if fault is Fault.RESET else "were silent for 2 s"
                title = f"the service does not recover after its connections {how}"
                bench.fail(title, f"2xx within {allowed} requests or 10 s", "errors go on", await touch())
                break
            if failed:
                bench.note(f"{failed} requests failed until every connection was replaced ({fault})")
        if gone := before - {(one.pid, one.started) for one in bench.target.process.tree()}:
            bench.fail(
                "processes were replaced instead of connections", "the same processes", f"{len(gone)} ended"
            )
    return bench.verdict()


async def _failures(bench: Bench, touch: Touch, allowed: int) -> int | None:
    """Return how many requests failed before ten in a row succeeded; None when they never did."""
    deadline, failed, row = bench.now() + bench.patience(10), 0, 0
    while row < 10:
        answer = await touch()
        bench.sample()
        row = row + 1 if answer.ok else 0
        failed += not answer.ok
        if failed > allowed and bench.now() > deadline:
            return None
    return failed


@probe("POOL-7", phase=Phase.LOAD, needs=_STORE, quick=False, seconds=120)
async def _pools_fit_the_server(bench: Bench) -> Verdict:
    """Compares what the pools of all processes may open with what the server admits."""
    kind, declared = bench.manifest.database.kind, bench.manifest.database
    if is_file(bench):
        return bench.not_applicable("a local file has no limit of connections")
    admitted, how = declared.max_connections, f"database.max_connections = {declared.max_connections}"
    if admitted is None and kind == "postgres":
        try:
            admitted, how = await _ask_postgres(store_of(bench).declared)
        except AskFailed as failed:
            why = f"the server could not be asked for its limit ({failed})"
            return bench.inconclusive(
                f"{why}; database.max_connections can declare it", undeclared=("database.max_connections",)
            )
    if admitted is None:
        return bench.not_applicable(
            f"the limit of the server is not known ({kind}; database.max_connections)",
            undeclared=("database.max_connections",),
        )
    load = await bench.shared(measure_load)
    bench.control(f"connections were counted under load (most at once: {load.peak})", load.peak > 0)
    number = processes(bench)
    needed = max((declared.pool_max or 0) * number, load.peak)
    bench.note(f"{number} processes may open {needed} connections of {admitted} ({how})")
    if declared.pool_max is None:
        bench.note("database.pool_max is not declared, so what was open at most was counted")
    bench.expect(
        needed < admitted,
        "the pools may open more connections than the server admits",
        f"fewer than {admitted} ({how})",
        f"{needed}",
    )
    return bench.verdict()


async def _ask_postgres(url: str) -> tuple[int, str]:
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    listed = ", ".join(f"'{name}'" for name in names)
    rows = await ask(url, f"SELECT name, setting FROM pg_settings WHERE name IN ({listed})")  # noqa: S608
    found: dict[str, int] = {name: int(setting) for name, setting in rows}
    reserved = sum(found.get(name, 0) for name in names[1:])
    return found[names[0]] - reserved, f"max_connections {found[names[0]]} less {reserved} reserved"


@probe("POOL-8", phase=Phase.SHUTDOWN, needs=_STORE, quick=False, seconds=120)
async def _connections_are_closed_in_the_end(bench: Bench) -> Verdict:
    """Stops the service and looks how each of its connections ended."""
    if bench.manifest.database.kind not in {"postgres", "mysql", "sqlite"}:
        return bench.not_applicable("the protocol of this store has no farewell")
    async with bench.launch(draining=True) as target:
        store, touch = store_of(bench), await find_touch(bench)
        await many(touch, 20, 10)
        create = bench.manifest.routes.create
        if create is not None:
            await bench.call(create)
        store.look()
        live, farewells, dropped = store.live, store.farewells, store.dropped
        bench.control(f"connections were open before the end ({live})", live > 0)
        target.process.signal()
        ended = await target.process.wait_end(bench.patience(bench.manifest.start.grace))
        if ended is None:
            return bench.inconclusive("the service did not end (see SHUT-3)")
        await settled(bench, 0, 3)
        bench.sample()
        if isinstance(store, SqliteFile):
            left = store.leftovers
            if left:
                bench.fail("the file was not closed at the end", "no journal left", ", ".join(left))
            return bench.verdict()
        orderly, silent = store.farewells - farewells, store.dropped - dropped
        if not orderly and not silent:
            return bench.inconclusive("the connections are encrypted, so their farewell cannot be seen")
        if silent:
            title = "connections were dropped at the stop instead of closed"
            bench.fail(
                title, "each ends as its protocol requires", f"{silent} of {orderly + silent} were dropped"
            )
    return bench.verdict()


PROBES = (
    _a_full_pool_is_bounded,
    _dropped_connections_are_replaced,
    _pools_fit_the_server,
    _connections_are_closed_in_the_end,
)
