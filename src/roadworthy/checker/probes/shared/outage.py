"""A store that is taken away while requests are made, and given back; for probes of the phase of faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...read.shapes import elements, members
from ...store.faults import Fault, Store
from . import contract
from .contract import Resource

__all__ = ("Outage", "during_outage", "feels", "outage", "quiet_bytes", "uses_its_store")


async def feels(bench: Bench, seconds: float = 2.0) -> Answer | None:
    """Return the answer of a request that touches the store, or None when no declared route does."""
    for role in ("create", "list"):
        route = bench.manifest.routes.by_role.get(role)
        if route is not None:
            return await bench.call(route, seconds=seconds)
    return None


async def uses_its_store(bench: Bench) -> None:
    """Make sure that the service works with the store it was given: else nothing done to that store shows.

    Call it while the store is well.

    Raises:
        ControlFailed: no connection to the store was seen.
    """
    store = bench.target.store
    if store is None or not store.counted:
        return
    await feels(bench)
    store.look()
    seen = store.opens or store.live or store.to_server
    bench.control(f"the service uses the store that {bench.manifest.database.env} names", seen)


@asynccontextmanager
async def outage(bench: Bench, *, stall: bool = False) -> AsyncGenerator[Fault]:
    """Take the store away and give which way it was; afterwards wait until the service works again.

    Parameters:
        stall: let it accept and stay silent, also where it can refuse.

    Raises:
        ControlFailed: there is no store that can be taken away.
    """
    store = bench.target.store
    if store is None:
        raise ControlFailed("there is no store that can be taken away")
    fault = Fault.STALL if stall or Fault.REFUSE not in store.can else Fault.REFUSE
    await store.inject(fault)
    try:
        yield fault
    finally:
        await store.restore()
        route = bench.manifest.routes.by_role.get("create")
        if route is not None:
            await bench.until(lambda: bench.call(route, seconds=5), lambda answer: answer.ok, 15)


async def quiet_bytes(store: Store, seconds: float = 1.0) -> int:
    """Return how many bytes the service sends to its store in this time."""
    before = store.to_server
    await asyncio.sleep(seconds)
    return store.to_server - before


@dataclass(frozen=True, slots=True)
class Outage:
    """What each route answered while the store was away.

    Parameters:
        since: when it began.
        worked: whether each route succeeded before.
        lies: the roles of routes that answered a success that was not true.
    """

    fault: Fault
    since: float
    worked: bool
    answers: dict[str, Answer]
    lies: set[str]


async def during_outage(bench: Bench) -> Outage:
    """Call each declared route with the store and without it, and look at what was true."""
    routes = bench.manifest.routes.by_role
    one, other = await contract.parent(bench), await contract.parent(bench)
    below = await contract.child(bench, one) if "child_create" in routes else None
    calls: dict[str, Callable[[], Awaitable[Answer]]] = {
        role: partial(bench.call, routes[role], one.id, seconds=20)
        for role in ("create", "read", "list", "update", "child_create", "child_list", "overview")
        if role in routes
    }
    if "batch" in routes:
        calls["batch"] = partial(contract.batch, bench, [one.raw], seconds=20)
    if "transfers" in routes and below is not None:
        calls["transfers"] = partial(contract.transfer, bench, one.raw, other.raw, [below.raw], seconds=20)
    worked = [await calls[role]() for role in calls if role not in {"transfers", "update"}]
    since = bench.now()
    async with outage(bench) as fault:
        results = await asyncio.gather(*(call() for call in calls.values()))
    answers = dict(zip(calls, results, strict=True))
    lies = {
        role
        for role, answer in answers.items()
        if answer.ok and not await _true(bench, role, answer, one, other, below)
    }
    return Outage(fault, since, all(answer.ok for answer in worked), answers, lies)


async def _true(
    bench: Bench, role: str, answer: Answer, one: Resource, other: Resource, below: Resource | None
) -> bool:
    """Tell whether a success that was answered during the outage is true, now that the store is back."""
    body, routes = members(answer.json()), bench.manifest.routes.by_role
    match role:
        case "create":
            path = contract.path_of(routes["read"], contract.raw_id(answer))
            return (await bench.get(path)).ok
        case "child_create":
            return contract.raw_id(answer) in (await contract.child_ids(bench, one.id) or set())
        case "transfers":
            return below is not None and below.raw in (await contract.child_ids(bench, other.id) or set())
        case "list" | "child_list":
            return bool(contract.rows(answer))
        case "batch":
            return [members(each).get("id") for each in elements(body.get("items"))] == [one.raw]
        case "overview":
            return one.raw in {members(each).get("id") for each in body.values()}
        case _:
            return body.get("id", one.raw) == one.raw and bool(body or answer.status == 204)
