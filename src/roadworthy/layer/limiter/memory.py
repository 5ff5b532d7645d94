"""Counts of one process: a dict from key to theoretical arrival time."""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from .overflow import OVERFLOW_CELLS, Overflow

if TYPE_CHECKING:
    from .policy import Policy

__all__ = ("MemoryStore",)

_SWEPT_PER_NEWCOMER = 4


class MemoryStore:
    """Exact counts of one process, at most ``capacity`` keys of them; the rest is counted in a sketch.

    Only expired keys are forgotten. Each new key pays for the inspection of four others, so the table shrinks
    as fast as it fills, without a timer and without a pause: it is copied from one dict into another, a few
    entries at a time, and expired ones are left behind.

    Parameters:
        capacity: keys that are counted exactly at one time, about 200 bytes each.
        clock: nanoseconds that never go back.
    """

    __slots__ = (
        "_capacity",
        "_clock",
        "_current",
        "_older",
        "_overflow",
        "_secret",
        "decisions",
        "fallbacks",
        "overflows",
        "refusals",
    )

    def __init__(self, capacity: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._capacity = capacity
        self._clock = clock
        self._current: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._overflow: Overflow | None = None
        self._secret = secrets.token_bytes(16)
        self.decisions = 0
        self.refusals = 0
        self.overflows = 0
        self.fallbacks = 0

    @property
    def keys(self) -> int:
        """Keys in the table, expired ones that were not met yet included."""
        return len(self._current) + len(self._older)

    def take(self, policy: Policy, key: str) -> int:
        """Count one request of ``key``; see :data:`Room`."""
        self.decisions += 1
        now = self._clock() // 1000
        key = policy.label + key
        table = self._current
        tat = table.get(key)
        if tat is None:
            table = self._older
            tat = table.get(key)
            if tat is None:
                return self._take_new(policy, key, now)
        tat = (tat if tat > now else now) + policy.interval
        room = now + policy.burst - tat
        if room >= 0:
            table[key] = tat
        else:
            self.refusals += 1
        return room

    def _take_new(self, policy: Policy, key: str, now: int) -> int:
        self._sweep(now)
        tat = now
        if self._overflow is not None or self.keys >= self._capacity:
            digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
            if self._overflow is None:
                self._overflow = Overflow(array("q", bytes(8 * OVERFLOW_CELLS)))
            if self.keys >= self._capacity:
                self.overflows += 1
                room = self._overflow.take(policy, digest, now)
                self.refusals += room < 0
                return room
            # A key that was counted in the sketch takes its count along into the table.
            tat = max(now, self._overflow.estimate(digest, now))
        tat += policy.interval
        room = now + policy.burst - tat
        if room >= 0:
            self._current[key] = tat
        else:
            self.refusals += 1
        return room

    def _sweep(self, now: int) -> None:
        for _ in range(_SWEPT_PER_NEWCOMER):
            if not self._older:
                if not self._current:
                    return
                self._older, self._current = self._current, {}
            key, tat = self._older.popitem()
            if tat > now:
                self._current[key] = tat

    async def close(self) -> None:
        """Nothing is held."""
