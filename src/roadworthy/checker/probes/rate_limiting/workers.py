"""The probe of RTL-6: one limit for all worker processes."""

from __future__ import annotations

import asyncio
import json

from ...bench import Bench
from ...http.wire import Answer, Connection
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...verdict import Table, Verdict
from ..shared.workers import owners
from .clients import (
    Burst,
    Client,
    Limit,
    declared_limit,
    new_client,
    seconds_into_window,
    seconds_to_a_new_window,
)

__all__ = ("PROBES",)

# Connections that are held open to see which process has them; the file descriptors of a process are few.
_HELD = 200
_AT_ONCE = 8


@probe(
    "RTL-6",
    phase=Phase.WORKERS,
    needs=(Need.COMMAND, Need.WORKERS, Need.RATE_LIMIT),
    quick=False,
    samples=2,
    seconds=120,
)
async def _all_workers_count_together(bench: Bench) -> Verdict:
    """Starts several workers and sends more than the limit of each, every request on a new connection."""
    limit = declared_limit(bench)
    number, count = bench.manifest.workers.test, limit.requests or 0
    async with bench.launch(workers=number, limited=True):
        found = await _workers(bench)
        bench.control(f"several processes accept connections ({len(found)} of {number})", len(found) > 1)
        burst, takers, most = await _judged_burst(bench, limit, count * number)
        admitted = len(burst.admitted)
        rows = tuple(
            (str(pid), str(len(answers)), str(sum(answer.status != 429 for answer in answers)))
            for pid, answers in sorted(takers.items())
        )
        bench.show(Table("requests by worker", ("process", "requests", "admitted"), rows))
        if admitted > most:
            expected = f"{count}" if most == count else f"{count} to {most}, refill included"
            return bench.fail(
                "each worker has a limit of its own", expected, f"{admitted}", burst.admitted[-1]
            )
        too_slow = "the limit was refilled faster than it could be used up"
        if most >= count * number and not burst.refused:
            return bench.inconclusive(too_slow)
        bench.control("requests were refused", burst.refused)
        if admitted < count and burst.unclear:
            return bench.inconclusive(f"{len(burst.unclear)} of the requests had no clear answer")
        if admitted < count:
            return bench.fail(
                "requests are refused before the limit", f"{count}", f"{admitted}", burst.refused[0]
            )
        if most >= count * number:
            return bench.inconclusive(too_slow)
        bench.control(f"{len(takers)} processes answered the requests", len(takers) > 1)
        bench.sample(len(takers))
    return bench.verdict()


async def _judged_burst(
    bench: Bench, limit: Limit, too_many: int
) -> tuple[Burst, dict[int, list[Answer]], int]:
    """Return a burst of a client that has its whole quota, the answers by process, and its limit."""
    addressed = bench.manifest.listen.host.startswith("127.")
    burst, takers = await _burst(bench, limit.route, new_client(bench, addressed), too_many + 10)
    most = limit.most(burst.seconds, aligned=False)
    for _ in range(2):
        over = len(burst.admitted) > most
        # A window of the clock may end in the middle of a burst; a slow one leaves a bucket time to refill.
        if (over and limit.kind == "bucket") or (not over and most < too_many):
            break
        window = limit.window or 60.0
        await asyncio.sleep(seconds_to_a_new_window(window))
        burst, takers = await _burst(bench, limit.route, new_client(bench, addressed), too_many + 10)
        # A busy machine wakes up late, and the window has begun without it.
        most = limit.most(seconds_into_window(burst.began, window) + burst.seconds, aligned=True)
    return burst, takers, most


async def _workers(bench: Bench) -> set[int]:
    """Wait until more than one process accepts connections; return their ids."""
    found: set[int] = set()
    live = Route(role="", method="GET", path=bench.manifest.health.live or "/")
    deadline = bench.now() + bench.patience(15)
    while len(found) < 2 and bench.now() < deadline:
        held = [
            connection
            for _, connection in await asyncio.gather(*(_hold(bench, live, Client()) for _ in range(8)))
        ]
        found |= set(owners(bench, held).values())
        await _close(held)
        await asyncio.sleep(0.1)
    return found


async def _burst(
    bench: Bench, route: Route, client: Client, count: int
) -> tuple[Burst, dict[int, list[Answer]]]:
    """Send the requests, each on its own connection; return them, and by process those that were held."""
    burst, takers = Burst(), dict[int, list[Answer]]()
    held: list[tuple[Answer, Connection]] = []
    left = iter(range(count))

    async def some() -> None:
        for number in left:
            answer, connection = await _hold(bench, route, client)
            burst.answers.append(answer)
            if number < _HELD:
                held.append((answer, connection))
            else:
                await connection.close()

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    taken = owners(bench, [connection for _, connection in held])
    for answer, connection in held:
        if connection in taken:
            takers.setdefault(taken[connection], []).append(answer)
    await _close([connection for _, connection in held])
    return burst, takers


async def _hold(bench: Bench, route: Route, client: Client) -> tuple[Answer, Connection]:
    """Send a request and leave the connection open."""
    body = None if route.body is None else json.dumps(bench.fresh(route.body)).encode()
    headers = {**route.headers, **dict(client.fields)}
    if body is not None:
        headers = {"Content-Type": "application/json", **headers}
    connection = await bench.connect(seconds=bench.patience(3), source=client.source)
    answer = await connection.exchange(
        route.method, route.path, bench.headers(headers), body, bench.patience(10)
    )
    return answer, connection


async def _close(connections: list[Connection]) -> None:
    for connection in connections:
        await connection.close()


PROBES = (_all_workers_count_together,)
