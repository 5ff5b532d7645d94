"""Probes of ``transactions`` (TXN): requests that are repeated with the same Idempotency-Key."""

from __future__ import annotations

import asyncio
from typing import Any

from ...bench import Bench
from ...http.wire import Answer
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.shapes import elements, members
from ...verdict import Verdict
from ..shared import contract

__all__ = ("PROBES",)


@probe("TXN-6", phase=Phase.FAULTS, needs=(Need.CREATE,), quick=False, samples=4, seconds=90)
async def _a_key_counts_once(bench: Bench) -> Verdict:
    """Repeats a request with its key: one after the other, all at once, with another body, after a kill."""
    route = await _keyed(bench)
    if route is None:
        return bench.not_applicable("nothing shows that an Idempotency-Key is honoured")
    owner = await contract.parent(bench)
    path = contract.path_of(route, owner.id)
    first = await _send(bench, route, path, bench.unique(), bench.fresh(route.body))
    other = await _send(bench, route, path, bench.unique(), bench.fresh(route.body))
    bench.control(
        "different keys make different resources",
        first.ok and other.ok and contract.raw_id(first) != contract.raw_id(other),
    )
    await _one_after_the_other(bench, route, path)
    await _all_at_once(bench, route, path)
    honours = await _documented(bench, bench.manifest.routes.by_role["create"]) is not False
    if honours and not bench.url_mode and bench.has(Need.STORE):
        await _after_a_kill(bench)
    return bench.verdict()


async def _keyed(bench: Bench) -> Route | None:
    """Return a route that honours keys: one that says so, else one of the contract, which knows them."""
    routes = bench.manifest.routes.by_role
    create, child = routes["create"], routes.get("child_create")
    documented = {
        str(route): await _documented(bench, route) for route in (create, child) if route is not None
    }
    keyed = bench.has(Need.TRANSFERS) or documented[str(create)]
    # Two equal children do not collide, so that only the key can keep the second one away.
    if child is not None and (documented[str(child)] or (keyed and documented[str(child)] is None)):
        return child
    return create if keyed else None


async def _documented(bench: Bench, route: Route) -> bool | None:
    """Tell whether the document has the key among the parameters of a route; None if it has no such route."""
    operation = (await bench.openapi()).operation(route.method, route.path)
    if not operation:
        return None
    names = {str(members(one).get("name", "")).lower() for one in elements(operation.get("parameters"))}
    return "idempotency-key" in names


async def _send(bench: Bench, route: Route, path: str, key: str, body: Any) -> Answer:
    headers = {**route.headers, "Idempotency-Key": key}
    return await bench.request(route.method, path, headers, json_body=body)


async def _one_after_the_other(bench: Bench, route: Route, path: str) -> None:
    key, body = bench.unique(), bench.fresh(route.body)
    answers = [await _send(bench, route, path, key, body) for _ in range(3)]
    _judge(bench, "one after the other", answers)
    changed = await _send(bench, route, path, key, bench.fresh(route.body))
    bench.sample()
    if changed.ok:
        bench.warn("the same key with another body is not refused", "422", str(changed), changed)


async def _all_at_once(bench: Bench, route: Route, path: str) -> None:
    for _ in range(3):
        key, body = bench.unique(), bench.fresh(route.body)
        answers = await asyncio.gather(*(_send(bench, route, path, key, body) for _ in range(5)))
        # A request that arrives while the first is in progress may be asked to wait.
        _judge(bench, "at the same time", [answer for answer in answers if answer.status not in {409, 425}])


async def _after_a_kill(bench: Bench) -> None:
    async with bench.launch() as before:
        route = bench.manifest.routes.by_role["create"]
        key, body = bench.unique(), bench.fresh(route.body)
        first = await _send(bench, route, route.path, key, body)
        before.process.kill()
        await before.process.wait_end(10)
        async with bench.launch(same_store_as=before):
            again = await _send(bench, route, route.path, key, body)
    bench.sample()
    same = again.ok and contract.raw_id(first) == contract.raw_id(again)
    if first.ok and not same:
        bench.warn("a key is forgotten when the process dies", str(first), str(again), first, again)


def _judge(bench: Bench, how: str, answers: list[Answer]) -> None:
    ids = {contract.raw_id(answer) for answer in answers if answer.ok}
    bench.expect(
        len(ids) == 1,
        f"a request repeated with its key ({how}) does not take effect once",
        "one resource, returned each time",
        f"{len(ids)} resources",
        *answers[:2],
    )
    refused = [answer for answer in answers if not answer.ok]
    if refused and ids:
        bench.fail(
            f"a repeated request ({how}) is not answered as the first",
            "the same answer",
            str(refused[0]),
            refused[0],
        )


PROBES: tuple[Probe, ...] = (_a_key_counts_once,)
