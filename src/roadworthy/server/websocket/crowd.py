"""What the WebSockets of a process share: turns of the event loop, memory, and places.

One read of 64 KiB holds ten thousand frames of the smallest kind. Handled as they come, the frames of a dozen
clients keep everything else waiting for seconds. So no frame is handled when it is read: its WebSocket asks
for a turn, and one step of the event loop has a fixed amount of work for all of them together.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from math import inf
from typing import Protocol

__all__ = ("Crowd", "Member")

_STEP = 32
"""Units of work in one step of the loop: a frame is one, and so are 2 KiB of it. With an app that answers
each message, 32 small ones take about 2 ms, on the machine of docs/proofs.md."""
_TURN = 8
"""Units of one turn: four WebSockets share a step."""

_log = logging.getLogger("roadworthy.server")


class Member(Protocol):
    """One WebSocket."""

    def work(self, units: int) -> int:
        """Handle frames worth about ``units``; return the units that it took."""
        ...

    def yield_memory(self) -> None:
        """Close, because all of them hold too much and this one holds the most."""

    def fall(self) -> None:
        """Close at once, after a failure of its own."""


class Crowd:
    """The WebSockets of a process.

    Parameters:
        memory: bytes that they may hold together of what clients have sent and apps have not taken.
        most: WebSockets that there may be, so that requests still find a descriptor.
    """

    def __init__(self, memory: int = 64 << 20, most: float = inf) -> None:
        self._memory = memory
        self._most = most
        self._members: dict[Member, int] = {}
        self._turns: deque[Member] = deque()
        self._asked: set[Member] = set()
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether there is no place for another one."""
        return len(self._members) >= self._most

    def join(self, member: Member) -> None:
        """Add one."""
        self._members[member] = 0

    def leave(self, member: Member) -> None:
        """Forget one, and what it held."""
        self.held -= self._members.pop(member, 0)
        self._asked.discard(member)

    def hold(self, member: Member, size: int) -> None:
        """Note how many bytes one holds now; when all hold too much, the one that holds the most closes."""
        before = self._members.get(member)
        if before is None or before == size:
            return
        self._members[member] = size
        self.held += size - before
        if self.held > self._memory and size > before:
            max(self._members, key=self._members.__getitem__).yield_memory()

    def ask(self, member: Member, loop: asyncio.AbstractEventLoop) -> None:
        """Ask for a turn in the next step of the loop."""
        if member in self._asked or member not in self._members:
            return
        self._asked.add(member)
        self._turns.append(member)
        if len(self._turns) == 1:
            loop.call_soon(self._step, loop)

    def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        turns = self._turns
        units = _STEP
        while turns and units > 0:
            member = turns[0]
            if member in self._asked:
                self._asked.discard(member)
                try:
                    units -= member.work(min(units, _TURN))
                except Exception as exception:
                    _log.error("a WebSocket failed: %s", type(exception).__name__, exc_info=exception)
                    member.fall()
            # Only now: one that asks again meanwhile does not have the step scheduled twice.
            turns.popleft()
        if turns:
            loop.call_soon(self._step, loop)
