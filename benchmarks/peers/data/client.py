"""Run the operations, print the CPU that each took: ``python -m benchmarks.peers.data.client URL ROUNDS N``.

All peers take turns in one process: another process may lie better or worse in memory.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

import uvloop
from sqlalchemy.ext.asyncio import create_async_engine

from . import by_hand, ours, theirs
from .schema import LISTED, ROWS, Base, Peer, UserRow

AT_ONCE = 10
_OPERATIONS = ("point", "page", "add")

_number = count(ROWS + 1)


def _peers(url: str) -> Mapping[str, Peer]:
    return {
        "by hand": by_hand.Sqlite3() if url.startswith("sqlite") else by_hand.Asyncpg(),
        "roadworthy": ours.Statements(),
        "roadworthy, repository": ours.Repositories(),
        "sqlalchemy core": theirs.Core(),
        "sqlalchemy orm": theirs.Orm(),
        "advanced-alchemy": theirs.AdvancedAlchemy(),
        "sqlspec": theirs.SqlSpec(),
    }


async def _fill(url: str) -> None:
    engine = create_async_engine(
        url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
    )
    rows = [
        {"name": f"name {number}", "email": f"user{number}@example.org", "age": number % 90}
        for number in range(1, ROWS + 1)
    ]
    async with engine.begin() as connection:
        if url.startswith("sqlite"):
            await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(UserRow.__table__.insert(), rows)
    await engine.dispose()


async def _once(peer: Peer, operation: str, key: int) -> None:
    if operation == "point":
        assert (await peer.point(key)).id == key
    elif operation == "page":
        assert len(await peer.page(key % (ROWS - LISTED))) == LISTED
    else:
        assert (await peer.add(next(_number))).id > ROWS


async def _cpu_us(run: Callable[[int], Awaitable[None]], times: int) -> float:
    keys = iter(range(times))

    async def worker() -> None:
        for number in keys:
            await run(number % ROWS + 1)

    gc.collect()
    before = time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (time.process_time() - before) / times * 1e6


def _in_turn(names: list[str], number: int) -> list[str]:
    """Have another one begin each round: whoever follows another operation finds less in the caches."""
    first = number % len(names)
    return names[first:] + names[:first]


async def _measure(url: str, rounds: int, times: int) -> dict[str, dict[str, list[float]]]:
    await _fill(url)
    peers = _peers(url)
    found: dict[str, dict[str, list[float]]] = {
        operation: {name: [] for name in peers} for operation in _OPERATIONS
    }
    for peer in peers.values():
        await peer.open(url)
    for number in range(rounds + 1):
        for operation in _OPERATIONS:
            for name in _in_turn(list(peers), number):
                peer = peers[name]

                async def run(key: int, peer: Peer = peer, operation: str = operation) -> None:
                    await _once(peer, operation, key)

                spent = await _cpu_us(run, times)
                if number:  # the first one warms up
                    found[operation][name].append(spent)
    for peer in peers.values():
        await peer.close()
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
