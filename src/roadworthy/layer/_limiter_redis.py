"""Counts in Redis or Valkey, shared by all machines: one script, one connection per worker, a bounded wait.

Decisions that are asked for while an answer is under way go out together in the next round trip. No request
ever holds the connection, so one that is cancelled cannot leave its reply behind for another (redis-py#2665,
CVE-2023-28858 and -28859), and a worker opens one connection however many requests wait.

The server's own clock counts (``TIME``, which makes the script need Redis 5 or later), so machines may
disagree about the time. It is a wall clock: when an operator sets it forward, bursts are refilled early.

When the server cannot answer within 50 ms the outage policy decides, and the server is left alone for a
second: "open" goes on counting in this process (or among the workers of this machine), so that a limit of N
becomes at most N for each of them; "closed" refuses.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from ._limiter_policy import Room

if TYPE_CHECKING:
    from ._limiter_policy import Policy, Store

__all__ = ("RedisStore",)

_BUDGET = 0.05
"""Seconds a decision may wait for the server. A healthy one in the same network answers within a few
milliseconds."""
_PAUSE = 1.0
"""Seconds between two attempts to reach a server that failed."""
_BATCH = 256
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = tonumber(redis.call('GET', KEYS[1]) or 0)
if tat < now then tat = now end
if tat > now + burst then tat = now + burst end
local room = now + burst - tat - interval
if room >= 0 then
  local ahead = tat + interval - now
  redis.call('SET', KEYS[1], string.format('%.0f', tat + interval), 'PX', math.ceil(ahead / 1000))
end
return room
"""
_DIGEST = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

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
        self._client = _connect(url)
        self._local = local
        self._fail_open = fail_open
        self._waiting: list[tuple[float, Policy, str, asyncio.Future[Room]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._down = False
        self._retry_at = 0.0
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
        """Count one request of ``key``; waits for the server at most 50 ms."""
        self.decisions += 1
        now = time.monotonic()
        # While the server is away, one round trip a second finds out whether it is back; nobody else waits
        # for it.
        if self._down and (self._sender is not None or now < self._retry_at):
            return self._fall_back(policy, key)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Room] = loop.create_future()
        self._waiting.append((now, policy, key, answer))
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
                    await self._hang_up()
                else:
                    self._settle(batch, rooms)
        finally:
            self._sender = None
            batch, self._waiting = self._waiting, []
            self._settle(batch, [None] * len(batch))

    def _settle(
        self, batch: list[tuple[float, Policy, str, asyncio.Future[Room]]], rooms: list[int] | list[None]
    ) -> None:
        for (_, policy, key, answer), room in zip(batch, rooms, strict=True):
            if answer.done():  # its request was cancelled
                continue
            if room is None:
                local = self._fall_back(policy, key)
                assert local is None or isinstance(local, int), "the counts of an outage are local"
                answer.set_result(local)
            else:
                self._refused += room < 0
                answer.set_result(room)

    async def _ask_in_time(
        self, batch: list[tuple[float, Policy, str, asyncio.Future[Room]]]
    ) -> list[int] | None:
        """Return the rooms of a batch, or None when the server did not give them in time."""
        asking = asyncio.get_running_loop().create_task(
            self._ask([(policy, key) for _, policy, key, _ in batch])
        )
        try:
            await asyncio.wait((asking,), timeout=batch[0][0] + _BUDGET - time.monotonic())
            # A handler that held up the loop is no outage: what has arrived by now is still read.
            for _ in range(10):
                if asking.done():
                    break
                await asyncio.sleep(0)
        finally:
            asking.cancel()
        failure: str
        try:
            rooms = await asking
        except asyncio.CancelledError:
            failure = "no answer in time"
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        except Exception as error:  # whatever is wrong with the server, the service goes on
            failure = type(error).__name__
        else:
            if self._down:
                self._down = False
                _log.warning("rate limits are counted in Redis again")
            return rooms
        self._retry_at = time.monotonic() + _PAUSE
        if not self._down:
            self._down = True
            policy = "in this process" if self._fail_open else "by refusing every request"
            _log.error("rate limits cannot be counted in Redis (%s): until it is back, %s", failure, policy)
        return None

    async def _ask(self, questions: list[tuple[Policy, str]]) -> list[int]:
        from redis.exceptions import NoScriptError

        replies = await self._run("EVALSHA", _DIGEST, questions)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # What the server did not know it did not count. The script itself makes it known from here on.
            again = await self._run("EVAL", _SCRIPT, [questions[place] for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def _run(self, command: str, script: str, questions: list[tuple[Policy, str]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for policy, key in questions:
            name = f"roadworthy:limit:{policy.label}{key}"
            pipeline.execute_command(command, script, 1, name, policy.interval, policy.burst)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    async def _hang_up(self) -> None:
        """Drop the connection: whatever is still on its way must not be taken for a later answer."""
        try:
            async with asyncio.timeout(_BUDGET):
                await self._client.connection_pool.disconnect(inuse_connections=True)
        except Exception as error:
            _log.debug("the connection to Redis did not close: %s", type(error).__name__)

    async def close(self) -> None:
        """Close the connection once the decisions under way are taken."""
        if self._sender is not None:
            await asyncio.wait((self._sender,))
        await self._client.aclose()
        await self._local.close()


def _connect(url: str) -> Any:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise RuntimeError(
            'ROADWORTHY_REDIS_URL is set and the package redis is missing: pip install "roadworthy[redis]"'
        ) from None
    client: Any = Redis
    try:
        # redis-py's own defaults (5 s, ten retries) held a request up for a minute on a stopped server
        # (redis/redis-py#4082). Our deadline ends a wait; the timeouts here are what remains when it cannot.
        return client.from_url(
            url,
            protocol=2,
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            single_connection_client=False,
        )
    except ValueError:
        raise ValueError("ROADWORTHY_REDIS_URL is a redis://, rediss:// or unix:// URL") from None
