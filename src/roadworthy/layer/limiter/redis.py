"""Counts in Redis or Valkey, shared by all machines: one script, one connection per worker, a bounded wait.

Decisions that are asked for while an answer is under way go out together in the next run of the script. No
request ever holds the connection, so a worker opens one however many requests wait.

The server's own clock counts (``TIME``, which makes the script need Redis 5 or later), so machines may
disagree about the time. It is a wall clock: when an operator sets it forward, bursts are refilled early.

When the server cannot answer within 50 ms the outage policy decides, and the server is left alone for a
second: "open" goes on counting in this process (or among the workers of this machine), so that a limit of N
becomes at most N for each of them; "closed" refuses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from hashlib import sha1
from typing import TYPE_CHECKING, TypeAlias

from ..redis_link import RedisAwayError, RedisLink
from .policy import Room

if TYPE_CHECKING:
    from .policy import Policy, Store

__all__ = ("RedisStore",)

_BATCH = 256
"""Decisions in one run of the script, which Redis does not interrupt."""
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rooms = {}
for place, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[2 * place - 1]), tonumber(ARGV[2 * place])
  local tat = tonumber(redis.call('GET', key) or 0)
  if tat < now then tat = now end
  if tat > now + burst then tat = now + burst end
  tat = tat + interval
  rooms[place] = now + burst - tat
  if rooms[place] >= 0 then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
  end
end
return rooms
"""
_DIGEST = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_Waiting: TypeAlias = "tuple[Policy, str, asyncio.Future[Room]]"

_log = logging.getLogger(__name__)


class RedisStore:
    """Exact counts over all processes and machines that use the same database of one server.

    Every key is ``roadworthy:limit:<policy>:<count>:<period>:<client>`` and lives no longer than it counts.
    Services that share a server use different databases (``redis://host/1``), or they share their limits.

    Parameters:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        local: counts while the server is away.
        fail_open: False refuses while the server is away.

    Raises:
        RuntimeError: the package ``redis`` is not installed.
        ValueError: the URL is not one of these.
    """

    def __init__(self, url: str, local: Store, *, fail_open: bool = True) -> None:
        self._link = RedisLink(url)
        self._local = local
        self._fail_open = fail_open
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None
        self.decisions = 0
        self.fallbacks = 0
        self._refused = 0

    @property
    def refusals(self) -> int:
        """Refused requests."""
        return self._refused + self._local.refusals

    @property
    def overflows(self) -> int:
        """Requests that the local counts of an outage had no exact place for."""
        return self._local.overflows

    def take(self, policy: Policy, key: str) -> Room | Awaitable[Room]:
        """Count one request of ``key``; waits for the server as long as it answers in time."""
        self.decisions += 1
        # While the server is away, one round trip a second finds out whether it is back; nobody else waits
        # for it.
        if self._link.is_down and (self._sender is not None or self._link.is_resting):
            return self._fall_back(policy, key)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Room] = loop.create_future()
        self._waiting.append((policy, key, answer))
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return answer

    def _fall_back(self, policy: Policy, key: str) -> Room | Awaitable[Room]:
        self.fallbacks += 1
        return self._local.take(policy, key) if self._fail_open else None

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                rooms = await self._ask_in_time(batch)
                if rooms is None:
                    batch += self._waiting
                    self._waiting = []
                    self._settle(batch, [None] * len(batch))
                    await self._link.hang_up()
                else:
                    self._settle(batch, rooms)
        finally:
            self._sender = None
            batch, self._waiting = self._waiting, []
            self._settle(batch, [None] * len(batch))

    def _settle(self, batch: list[_Waiting], rooms: list[int] | list[None]) -> None:
        for (policy, key, answer), room in zip(batch, rooms, strict=True):
            if answer.done():  # its request was cancelled
                continue
            if room is None:
                local = self._fall_back(policy, key)
                assert local is None or isinstance(local, int), "the counts of an outage are local"
                answer.set_result(local)
            else:
                self._refused += room < 0
                answer.set_result(room)

    async def _ask_in_time(self, batch: list[_Waiting]) -> list[int] | None:
        """Return the rooms of a batch, or None when the server did not give them in time."""
        questions = [(policy, key) for policy, key, _ in batch]
        was_down = self._link.is_down
        try:
            rooms = await self._link.ask(self._ask(questions))
        except RedisAwayError as error:
            if not was_down:
                policy = "in this process" if self._fail_open else "by refusing every request"
                _log.error("rate limits cannot be counted in Redis (%s): until it is back, %s", error, policy)
            return None
        if was_down:
            _log.warning("rate limits are counted in Redis again")
        return rooms

    async def _ask(self, questions: list[tuple[Policy, str]]) -> list[int]:
        from redis.exceptions import NoScriptError

        arguments: list[str | int] = [len(questions)]
        arguments += [f"roadworthy:limit:{policy.label}{key}" for policy, key in questions]
        for policy, _ in questions:
            arguments += (policy.interval, policy.burst)
        rooms: list[int]
        try:
            rooms = await self._link.client.execute_command("EVALSHA", _DIGEST, *arguments)
        except NoScriptError:
            # What the server did not know it did not count. The script itself makes it known from here on.
            rooms = await self._link.client.execute_command("EVAL", _SCRIPT, *arguments)
        return rooms

    async def close(self) -> None:
        """Close the connection once the decisions under way are taken."""
        if self._sender is not None:
            await asyncio.wait((self._sender,))
        await self._link.close()
        await self._local.close()
