"""What the probes of POOL work with: requests that touch the store, load, and who holds connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...store.faults import Store
from ..shared.together import many

__all__ = (
    "Load",
    "Touch",
    "bound",
    "find_touch",
    "is_file",
    "measure_load",
    "processes",
    "settled",
    "slowed",
    "store_of",
)

# Without a declaration: a pool is smaller than half of the requests that are made at the same time.
_WIDTH = 64
_REQUESTS = 300
Touch = Callable[[], Coroutine[Any, Any, Answer]]
"""Sends a request that the store takes part in."""


def store_of(bench: Bench) -> Store:
    """Return the store behind the target.

    Raises:
        ControlFailed: no store can be observed.
    """
    store = bench.target.store
    if store is None or not store.counted:
        raise ControlFailed("connections to the store cannot be counted here")
    return store


def is_file(bench: Bench) -> bool:
    """Tell whether the store is an SQLite file, of which handles take the place of connections."""
    return bench.manifest.database.kind == "sqlite"


async def find_touch(bench: Bench, *, seconds: float = 20.0) -> Touch:
    """Return a request that touches the store; a reading one, where that can be seen.

    Raises:
        ControlFailed: none of the declared routes does.
    """
    store, routes = store_of(bench), bench.manifest.routes.by_role
    calls: list[Touch] = []
    if "create" in routes:
        calls.append(lambda: bench.call(routes["create"], seconds=seconds))
    if "list" in routes:
        calls.insert(0, lambda: bench.call(routes["list"], seconds=seconds))
    if {"create", "read"} <= routes.keys():
        created = await bench.create()
        calls.insert(0, lambda: bench.get(created.path, seconds=seconds))
    for call in calls:
        if await _touches(bench, store, call):
            return call
    raise ControlFailed(
        "no declared route is seen to touch the store (routes.read, routes.list, routes.create)",
        ("routes.create", "routes.read"),
    )


async def _touches(bench: Bench, store: Store, call: Touch) -> bool:
    # The first may open a pool, and from the second one on an answer may come from a cache.
    answers = [await call(), await call()]
    before = store.to_server
    moved, last = await bench.until(call, lambda _: store.to_server > before, 0.2)
    return moved and all(answer.ok for answer in (*answers, last))


def processes(bench: Bench) -> int:
    """Return how many processes of the service have connections, at least 1."""
    return max(store_of(bench).processes([one.pid for one in bench.target.process.tree()]), 1)


def bound(bench: Bench, width: int) -> tuple[int, str]:
    """Return the most connections there may be at ``width`` requests at once, and why."""
    declared = bench.manifest.database.pool_max
    if is_file(bench):
        # Handles are cheap; only as many as there are requests at once is one for each of them.
        return max(declared or 0, width * 3 // 4), "three handles of the file for four requests at once"
    if declared is None:
        return width // 2, f"half of {width} requests at once, as no database.pool_max is declared"
    number = processes(bench)
    return declared * number, f"database.pool_max = {declared}" + (
        f" × {number} processes" if number > 1 else ""
    )


@asynccontextmanager
async def slowed(store: Store, seconds: float) -> AsyncGenerator[None]:
    """Hold each answer of the store back, so that requests at the same time need it at the same time."""
    store.delay = lambda: seconds
    try:
        yield
    finally:
        store.delay = None


async def settled(bench: Bench, most: int, seconds: float = 5.0) -> int:
    """Wait until there are no more than ``most`` connections; return how many there are."""
    store = store_of(bench)
    deadline = bench.now() + bench.patience(seconds)
    store.look()
    while store.live > most and bench.now() < deadline:
        await asyncio.sleep(0.05)
        store.look()
    return store.live


@dataclass(slots=True)
class Load:
    """What two loads in a row, or three where the second left more behind, did to the store.

    Parameters:
        width: requests at the same time.
        opens: connections opened during the first.
        peak: the most at the same time, in the first.
        most: the most there may be.
        left: connections after each load, once settled.
        kept: transactions that were left open.
    """

    width: int
    most: int
    why: str
    sent: int = 0
    good: int = 0
    opens: int = 0
    peak: int = 0
    left: list[int] = field(default_factory=list[int])
    kept: int | None = None


async def measure_load(bench: Bench) -> Load:
    """Make the load and count; for :meth:`.Bench.shared`."""
    store, touch = store_of(bench), await find_touch(bench)
    declared = bench.manifest.database.pool_max
    width = min(max(4 * declared, 16), 128) if declared and not is_file(bench) else _WIDTH
    most, why = bound(bench, width)
    load = Load(width, most, why)
    while len(load.left) < 2 or (len(load.left) == 2 and load.left[1] > load.left[0] + 1):
        store.look()
        opens, store.peak = store.opens, store.live
        async with slowed(store, 0.01):
            answers = await many(touch, _REQUESTS, width)
        store.look()
        if not load.left:
            load.sent, load.good = len(answers), sum(answer.ok for answer in answers)
            load.opens, load.peak = store.opens - opens, store.peak
            # Several processes may have connected only now.
            load.most, load.why = bound(bench, width)
        load.left.append(await settled(bench, load.most))
    await asyncio.sleep(1.2)
    load.kept = await asyncio.to_thread(store.left_in_transaction, 1.0)
    return load
