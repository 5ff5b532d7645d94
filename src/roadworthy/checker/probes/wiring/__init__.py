"""Probes of ``wiring`` (WIR)."""

from __future__ import annotations

import asyncio
import socket

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...service.target import Target
from ...verdict import Verdict
from ..shared import contract
from .stop import PROBES as _STOP

__all__ = ("PROBES",)


@probe("WIR-1", phase=Phase.START, needs=(Need.COMMAND, Need.CREATE), quick=False, samples=3, seconds=120)
async def _nothing_is_served_too_early(bench: Bench) -> Verdict:
    """Starts three times and sends requests from the first moment; who accepts one has to serve it."""
    route = bench.manifest.routes.by_role["create"]
    for _ in range(3):
        async with bench.launch(wait=False) as target:
            waiting = asyncio.create_task(target.wait_ready())
            early: list[Answer] = []
            try:
                while not waiting.done():
                    answer = await bench.call(route, seconds=5, patient=False)
                    if answer.status:
                        early.append(answer)
                    await asyncio.sleep(0.03)
                await waiting
            finally:
                waiting.cancel()
            early += [await bench.call(route, seconds=5, patient=False) for _ in range(3)]
            served, answer = await bench.until(lambda: bench.call(route), lambda answer: answer.ok, 10)
            bench.control("the service serves once it has started", served)
            # 503 means "not ready yet"; 404 is wrong.
            wrong = [one for one in early if not one.ok and one.status not in {429, 503}]
            bench.expect(
                not wrong,
                "a request was accepted before the service could serve it",
                "a success, 503, or nobody who listens",
                str(wrong[0]) if wrong else "",
                *wrong[:1],
            )
    return bench.verdict()


@probe(
    "WIR-3",
    phase=Phase.START,
    needs=(Need.COMMAND, Need.PORT_ENV, Need.CREATE, Need.READ),
    quick=False,
    seconds=90,
)
async def _the_environment_decides(bench: Bench) -> Verdict:
    """Starts the same command twice, with another port, store and log level, and compares what each does."""
    level = bench.manifest.env.log_level
    loud: dict[str, str | None] = {level: "info"} if level else {}
    quiet: dict[str, str | None] = {level: "error"} if level else {}
    async with bench.launch(env=loud) as first:
        one = await contract.parent(bench)
        async with bench.launch(env=quiet) as second:
            other = await contract.parent(bench)
            bench.control("both serve at the same time", one.answer.ok and other.answer.ok)
            bench.expect(
                first.address.port != second.address.port
                and (await bench.get(bench.manifest.health.live or "/", target=first)).status,
                "two processes cannot have different ports",
                f"{first.address} and {second.address}",
                "only one answers",
            )
            await _judge_stores(bench, first, second)
            if level:
                since = bench.now()
                await bench.get(one.path, target=first)
                await bench.get(other.path, target=second)
                await first.process.wait_line(lambda _: True, bench.patience(2), since)
                await second.process.wait_line(lambda _: True, 0.5, since)
                heard = [bench.records(since, target) for target in (first, second)]
                bench.control("on the level info a request leaves a record", heard[0])
                bench.expect(
                    not any(0 < record.rank < 40 for record in heard[1]),
                    "the variable of the log level has no effect",
                    f"no records below error with {level}=error",
                    str(len(heard[1])),
                )
    return bench.verdict()


async def _judge_stores(bench: Bench, first: Target, second: Target) -> None:
    """Judge that each process keeps its data in the store that its variable names."""
    if first.store is None or second.store is None:
        bench.note("no store is declared (database.env), so none was compared")
        return
    if bench.manifest.database.kind != "sqlite":
        # Each has a proxy of its own before the store: what it writes has to go through that one.
        for target in (first, second):
            assert target.store is not None
            already = target.store.to_server
            answer = await bench.call(bench.manifest.routes.by_role["create"], target=target)
            sent = target.store.to_server - already
            title = "the variable of the store has no effect"
            bench.expect(
                answer.ok and sent, title, "bytes to the store that it names", f"{sent} bytes", answer
            )
        return
    route = bench.manifest.routes.by_role["list"] if bench.has(Need.LIST) else None
    if route is None:
        bench.note("no route lists (routes.list), so what two files hold was not compared")
        return
    # Two files: what is created in one of them is not in the other.
    create = bench.manifest.routes.by_role["create"]
    before, steady = [await bench.call(route, target=second) for _ in range(2)]
    if before.body != steady.body:
        bench.missed("two stores", f"{route} answers otherwise each time, also when nothing is created")
        return
    await bench.call(create, target=first)
    after = await bench.call(route, target=second)
    await bench.call(create, target=second)
    if after.body == (await bench.call(route, target=second)).body:
        bench.missed("two stores", f"{route} does not show what was created last")
        return
    title = "what was created in one store is in the list of another"
    bench.expect(before.body == after.body, title, "as before", after.text[:200], before, after)


@probe(
    "WIR-4",
    phase=Phase.START,
    needs=(Need.COMMAND, Need.PORT_ENV),
    quick=False,
    samples=2,
    seconds=120,
)
async def _a_failed_start_ends(bench: Bench) -> Verdict:
    """Starts on a port that is taken, on a non-numeric port, and with an invalid store URL."""
    port, store = bench.manifest.listen.port_env, bench.manifest.database.env
    async with bench.launch() as target:
        bench.control("started rightly it serves", target.process.ended is None)
    with socket.socket() as taken:
        taken.bind((bench.manifest.listen.host, 0))
        taken.listen()
        await _judge_start(bench, "the port is taken", {port: str(taken.getsockname()[1])})
    await _judge_start(bench, "the port is not a number", {port: "not-a-port"})
    if store:
        await _judge_start(bench, "the store's URL is invalid", {store: "nonsense://nowhere"}, must_end=False)
    return bench.verdict()


async def _judge_start(bench: Bench, why: str, env: dict[str, str | None], *, must_end: bool = True) -> None:
    """Judge one start that cannot work: how it ended, and what it left."""
    async with bench.launch(env=env, wait=False) as target:
        process = target.process
        ended = await process.wait_end(bench.patience(20))
        if ended is None:
            if must_end and not process.listening():
                bench.sample()
                title = f"a start that fails hangs ({why})"
                bench.fail(title, "a non-zero exit status", "it neither serves nor ends")
            else:
                bench.sample()
                bench.note(f"it starts although {why}")
            return
        bench.expect(
            ended.status != 0,
            f"a failed start exits with status 0 ({why})",
            "a non-zero exit status",
            str(ended),
        )
        # Children may need a moment to notice that their parent is gone.
        left = process.tree()
        for _ in range(20):
            if left:
                await asyncio.sleep(0.1)
                left = process.tree()
        if left:
            names = ", ".join(sorted({one.name for one in left}))
            bench.fail(f"a start that fails leaves processes ({why})", "none", f"{len(left)}: {names}")


@probe("WIR-5", phase=Phase.START, needs=(Need.COMMAND,), quick=False, samples=1, seconds=90)
async def _test_routes_are_not_in_production(bench: Bench) -> Verdict:
    """Starts the production command and asks for the routes that only the entry point for checks may have."""
    if not bench.manifest.start.probe_command:
        return bench.not_applicable("there is one entry point only (start.probe_command)")
    routes = [
        route for role in ("slow", "fails", "stream") if (route := bench.manifest.routes.by_role.get(role))
    ]
    if not routes:
        return bench.not_applicable("no route is made for checks (routes.slow, routes.fails, routes.stream)")
    async with bench.launch():
        answers = [await bench.call(route) for route in routes]
        bench.control("the entry point for checks has them", all(one.status != 404 for one in answers))
    async with bench.launch(production=True):
        nothing = await bench.get(bench.unknown_path())
        for route in routes:
            answer = await bench.call(route)
            bench.expect(
                answer.status == nothing.status,
                "a route made for checks is part of the production service",
                str(nothing),
                str(answer),
                answer,
            )
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _nothing_is_served_too_early,
    _the_environment_decides,
    _a_failed_start_ends,
    _test_routes_are_not_in_production,
    *_STOP,
)
