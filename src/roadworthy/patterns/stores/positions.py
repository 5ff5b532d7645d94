"""Up to where in the log of the database clients have written: kept in Redis or Valkey, for all hosts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from ...layer.redis_link import RedisAwayError, RedisLink

__all__ = ("Positions", "RedisPositions")

_logger = logging.getLogger("roadworthy.database")

_MOST_UNSAVED = 10_000
"""Clients whose writes during an outage are remembered, of some 100 bytes each."""

_RAISE = """
for _, key in ipairs(KEYS) do
  local known = redis.call('GET', key)
  if not known or known < ARGV[1] then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return 1
"""
"""Positions are texts of one length: numbers of Lua are exact only up to 2**53."""


class Positions(Protocol):
    """Remembers positions by the principals who wrote up to there."""

    async def of(self, principals: Sequence[str]) -> int | None:
        """Return the highest position of any of them, 0 where none has written; None where nobody knows."""
        ...

    async def note(self, principals: Sequence[str], position: int) -> None:
        """Remember that they have written up to a position. It never raises: the write is permanent."""
        ...

    async def stop(self) -> None:
        """Close what is open."""
        ...


class RedisPositions:
    """Positions in Redis or Valkey, under ``roadworthy:position:<name>:<hash of the principal>``.

    While the server is away, what is written is remembered here and brought there when it is back, and
    :meth:`of` knows nothing.

    Parameters:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``.
        name: of the database.
        lifetime: seconds that a position is remembered.

    Raises:
        RuntimeError: the package ``redis`` is not installed.
        ValueError: the URL is not one of these.
    """

    def __init__(self, url: str, name: str, lifetime: float) -> None:
        self._link = RedisLink(url)
        self._prefix = f"roadworthy:position:{name}:"
        self._lifetime = round(lifetime * 1000)
        self._unsaved: dict[str, int] = {}

    async def of(self, principals: Sequence[str]) -> int | None:
        """Return the highest position of any of them, 0 where none has written; None while Redis is away."""
        if not await self._saved():
            return None
        found = await self._ask(self._link.client.mget(self._keys(principals)))
        return None if found is None else max((int(one) for one in found if one is not None), default=0)

    async def note(self, principals: Sequence[str], position: int) -> None:
        """Remember that they have written up to a position."""
        for key in self._keys(principals):
            self._unsaved[key] = max(position, self._unsaved.pop(key, 0))
        while len(self._unsaved) > _MOST_UNSAVED:
            self._unsaved.pop(next(iter(self._unsaved)))
        await self._saved()

    async def stop(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def _saved(self) -> bool:
        """Bring what is remembered only here to Redis; return whether nothing is left."""
        while self._unsaved:
            position = next(iter(self._unsaved.values()))
            keys = [key for key, one in self._unsaved.items() if one == position]
            raising = self._link.client.eval(_RAISE, len(keys), *keys, f"{position:020d}", self._lifetime)
            if await self._ask(raising) is None:
                return False
            for key in keys:
                if self._unsaved.get(key) == position:
                    del self._unsaved[key]
        return True

    async def _ask(self, question: Coroutine[Any, Any, Any]) -> Any:
        if self._link.is_resting:
            question.close()
            return None
        was_down = self._link.is_down
        try:
            answer = await self._link.ask(question)
        except RedisAwayError as error:
            if not was_down:
                _logger.error(
                    "Redis does not answer (%s): until it is back, everybody reads from the primary", error
                )
            await self._link.hang_up()
            return None
        if was_down:
            _logger.warning("Redis answers again: replicas are read from")
        return answer

    def _keys(self, principals: Sequence[str]) -> list[str]:
        # Hashed: an address or a name is personal, and may be long.
        hashes = (hashlib.sha256(one.encode()).hexdigest() for one in principals)
        return [f"{self._prefix}{one[:32]}" for one in hashes]
