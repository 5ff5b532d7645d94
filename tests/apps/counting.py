"""A process that counts: ``counting.py shared|redis WHERE LIMIT/PERIOD DECISIONS``.

It prints ``ready``, waits for a line, takes its decisions on one key and prints how many were admitted.
``counting.py hold WHERE`` takes every lock of a shared table, prints ``ready`` and keeps them until killed.
"""

import asyncio
import mmap
import sys
from pathlib import Path

from roadworthy.layer.limiter.memory import MemoryStore
from roadworthy.layer.limiter.policy import Policy
from roadworthy.layer.limiter.redis import RedisStore
from roadworthy.layer.limiter.shared import LOCKS, LOCKS_OFFSET, SharedStore
from roadworthy.layer.local.locks import RobustLocks
from roadworthy.settings import parse_rate

CONCURRENT = 50


def _wait_for_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _hold(where: str) -> None:
    with open(where, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    locks = RobustLocks(memory, LOCKS_OFFSET, LOCKS)
    for index in range(LOCKS):
        lock = locks.lock(index)
        answer = locks.try_lock(lock)
        assert answer == 0 or locks.settle(lock, answer)
    _wait_for_start()


def _count_shared(where: str, policy: Policy, decisions: int) -> int:
    store = SharedStore(Path(where), 10_000)
    _wait_for_start()
    return sum(store.take(policy, "client") >= 0 for _ in range(decisions))


async def _count_redis(where: str, policy: Policy, decisions: int) -> int:
    store = RedisStore(where, MemoryStore(10_000))
    left = iter(range(decisions))

    async def client() -> int:
        admitted = 0
        for _ in left:
            answer = store.take(policy, "client")
            room = answer if answer is None or isinstance(answer, int) else await answer
            admitted += room is not None and room >= 0
        return admitted

    _wait_for_start()
    admitted = sum(await asyncio.gather(*(client() for _ in range(CONCURRENT))))
    assert store.fallbacks == 0, "the server was too slow for this proof"
    await store.close()
    return admitted


def main() -> None:
    """Do what the arguments say."""
    kind, where, *rest = sys.argv[1:]
    if kind == "hold":
        _hold(where)
        return
    rate = parse_rate(rest[0])
    assert rate is not None
    policy = Policy("default", rate)
    decisions = int(rest[1])
    if kind == "shared":
        print(_count_shared(where, policy, decisions))
    else:
        print(asyncio.run(_count_redis(where, policy, decisions)))


if __name__ == "__main__":
    main()
