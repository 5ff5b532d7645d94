"""A connection to Redis or Valkey that nobody waits for longer than for a healthy server.

A server that cannot answer within 50 ms is left alone for a second. Every question is a task of its own: one
whose asker was cancelled cannot leave its reply behind for another (redis-py#2665, CVE-2023-28858 and
-28859).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ("RedisAwayError", "RedisLink", "connect")

_SLICE = 0.01
_SLICES = 5
"""Five waits of 10 ms: the server has 50 ms to answer, and a healthy one needs a few. In slices, because a
handler that holds the loop for longer than that is no outage: it uses up one of them."""
_PAUSE = 1.0
"""Seconds between two attempts to reach a server that failed."""

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class RedisAwayError(Exception):
    """Raised in place of an answer; its text is the reason."""


class RedisLink:
    """The server at a URL.

    Parameters:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.

    Raises:
        RuntimeError: the package ``redis`` is not installed.
        ValueError: the URL is not one of these.
    """

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        """A client of redis-py; nothing is sent yet."""
        self.is_down = False
        """Whether the last question had no answer."""
        self._retry_at = 0.0
        self._asked: set[asyncio.Task[Any]] = set()

    @property
    def is_resting(self) -> bool:
        """Whether the server failed less than a second ago."""
        return self.is_down and time.monotonic() < self._retry_at

    async def ask(self, question: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Return the answer to a question to :attr:`client`.

        Raises:
            RedisAwayError: there was none in time; :meth:`hang_up` is to follow.
        """
        task = asyncio.get_running_loop().create_task(question)
        self._asked.add(task)
        task.add_done_callback(self._answered)
        for _ in range(_SLICES):
            await asyncio.wait((task,), timeout=_SLICE)
            if task.done():
                break
        else:
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError:
            asker = asyncio.current_task()
            if asker is not None and asker.cancelling():
                raise
            failure = "no answer in time"
        except Exception as error:  # whatever is wrong with the server, the service goes on
            failure = type(error).__name__
        else:
            self.is_down = False
            return answer
        self._retry_at = time.monotonic() + _PAUSE
        self.is_down = True
        raise RedisAwayError(failure)

    async def hang_up(self) -> None:
        """Drop the connection: whatever is still on its way must not be taken for a later answer."""
        try:
            async with asyncio.timeout(_SLICE):
                await self.client.connection_pool.disconnect(inuse_connections=True)
        except Exception as error:
            _log.debug("the connection to Redis did not close: %s", type(error).__name__)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # its asker may have been cancelled, and then nobody takes it


def connect(url: str) -> Any:
    """Return a client of the server at ``url``; nothing is sent yet.

    Raises:
        RuntimeError: the package is missing.
        ValueError: it is not a URL of such a server.
    """
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise RuntimeError(
            'ROADWORTHY_REDIS_URL: the package redis is missing: pip install "roadworthy[redis]"'
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
        raise ValueError("ROADWORTHY_REDIS_URL: write a redis://, rediss:// or unix:// URL") from None
