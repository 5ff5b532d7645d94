"""Replicas of the primary, for units of work that only read, and who may read from which.

A client that has written reads from no replica that does not have it yet, on whatever host: where the log of
the primary stood after the COMMIT is remembered for its principal, and a replica is asked how far it has got.
For everybody else a replica may be behind by the seconds that the service allows.

Both meet in one number. Positions are remembered for as long as replicas may be behind; a write that is older
is below the floor, which every replica that is read from has reached.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from ...errors import UnavailableError
from .._principal import principals
from . import Rules
from .pool import Lease
from .positions import Positions
from .postgres_server import Server

__all__ = ("Replicas",)

_logger = logging.getLogger("roadworthy.database")

_PAUSE = 1.0
"""Seconds between two attempts to use a replica that failed, one unit of work at a time."""

_UNKNOWN = 10**20 - 1
"""A position above all that a log can have: 2**64 bytes."""


class _Replica:
    """One replica.

    Parameters:
        server: its connections.
        number: in the setting, from 1.
    """

    def __init__(self, server: Server, number: int) -> None:
        self.server = server
        self._name = f"replica {number}"
        # By connection, as a URL of several hosts leads now to the one, now to the other.
        self._reached: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._is_away = False
        self._retry_at = 0.0

    @property
    def load(self) -> float:
        """Which share of its connections is in use; more than 1 with those that wait."""
        stats = self.server.pool.stats()
        return (stats.in_use + (stats.waiting or 0)) / (stats.max or 1)

    async def begin(self, rules: Rules, wanted: int, system: int) -> Lease | None:
        """Begin on it; None where it is away, or has not reached a position.

        Parameters:
            rules: of the unit.
            wanted: the position.
            system: what the primary calls the cluster that it is of.

        Raises:
            UnavailableError: none of its connections became free in time.
        """
        if self._is_away:
            now = monotonic()
            if now < self._retry_at:
                return None
            self._retry_at = now + _PAUSE  # this unit finds out; the others do not wait for it
        try:
            lease = await self._begin(rules, wanted, system)
        except UnavailableError:
            raise
        except Exception as error:  # whatever is wrong with it, the primary can be read from
            self._retry_at = monotonic() + _PAUSE
            if not self._is_away:
                self._is_away = True
                _logger.warning(
                    "%s of the database cannot be read from (%s); others are", self._name, _words(error)
                )
            return None
        if self._is_away:
            self._is_away = False
            _logger.warning("%s of the database is read from again", self._name)
        return lease

    async def _begin(self, rules: Rules, wanted: int, system: int) -> Lease | None:
        lease = await self.server.pool.take()
        try:
            reached = self._reached.get(lease.driver)
            if reached is None and await self.server.system_of(lease.driver) != system:
                raise _ForeignError
            # Before the transaction begins: its snapshot is then not older than what is asked here.
            if reached is None or reached < wanted:
                reached = self._reached[lease.driver] = await self.server.position_of(lease.driver)
        except BaseException:
            await lease.discard()
            await lease.give_back()
            raise
        if reached < wanted:
            await lease.give_back()
            return None
        return await self.server.begin_on(lease, rules)


class _ForeignError(Exception):
    """Raised for a server that is no replica of the primary."""


class Replicas:
    """All replicas of a primary.

    Parameters:
        primary: what they follow.
        servers: the replicas.
        positions: remembers who has written up to where, for at least ``lag`` seconds.
        lag: seconds that a replica may be behind, to be read from.
    """

    def __init__(self, primary: Server, servers: Sequence[Server], positions: Positions, lag: float) -> None:
        self.pools = tuple(server.pool for server in servers)
        self._primary = primary
        self._replicas = [_Replica(server, number) for number, server in enumerate(servers, 1)]
        self._positions = positions
        self._lag = lag
        self._system = 0
        self._known: deque[tuple[float, int]] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._own = (0, 0.0)

    async def prepare(self) -> None:
        """Check those that answer.

        Raises:
            SettingsError: one refuses, is too old, or gives too few connections.
        """
        for number, replica in enumerate(self._replicas, 1):
            try:
                await replica.server.prepare()
            except UnavailableError:
                _logger.warning(
                    "replica %d of the database does not answer; the others are read from", number
                )

    async def begin(self, rules: Rules) -> Lease | None:
        """Begin a unit that only reads, on the replica that has the least to do; None where none will do.

        Raises:
            UnavailableError: no connection to it became free in time.
        """
        least = await self._least()
        wanted = None if least is None else await self._wanted()
        if least is None or wanted is None:
            return None
        for replica in sorted(self._replicas, key=lambda one: one.load):
            lease = await replica.begin(rules, max(least, wanted), self._system)
            if lease is not None:
                # The next is asked first where none has more to do.
                self._replicas.append(self._replicas.pop(self._replicas.index(replica)))
                return lease
        return None

    async def written(self, lease: Lease) -> None:
        """Remember whose transaction has just been committed. It never raises: the write is permanent."""
        now = monotonic()
        try:
            position = await self._primary.position_of(lease.driver)
        except Exception as error:
            _logger.warning("the position of a COMMIT is not known (%s)", type(error).__name__)
            position = _UNKNOWN
        else:
            self._know(now, position)
        whose = principals()
        if whose:
            await self._positions.note(whose, position)
        else:
            self._own = (max(position, self._own_position()), now + self._lag)

    async def stop(self) -> None:
        """Close what is open besides the pools."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))
        await self._positions.stop()

    async def _wanted(self) -> int | None:
        whose = principals()
        return await self._positions.of(whose) if whose else self._own_position()

    def _own_position(self) -> int:
        """Return up to where this process has written outside requests."""
        position, until = self._own
        return position if monotonic() < until else 0

    async def _least(self) -> int | None:
        """Return where the primary stood as long ago as a replica may be behind; None while it is away."""
        now = monotonic()
        while self._known and self._known[0][0] < now - self._lag:
            self._known.popleft()
        is_known = bool(self._known and self._system)
        if self._asking is None and not (is_known and self._known[-1][0] >= now - self._lag / 10):
            self._asking = asyncio.get_running_loop().create_task(self._ask(now))
        if not is_known and self._asking is not None:
            await asyncio.wait((self._asking,))
        return self._known[0][1] if self._known and self._system else None

    async def _ask(self, now: float) -> None:
        try:
            lease = await self._primary.lend()
            try:
                if not self._system:
                    self._system = await self._primary.system_of(lease.driver)
                position = await self._primary.position_of(lease.driver)
            finally:
                await self._primary.end(lease)
        except Exception as error:  # the primary is away, and whoever wants it hears of it
            _logger.debug("the position of the primary is not known: %s", type(error).__name__)
        else:
            self._know(now, position)
        finally:
            self._asking = None

    def _know(self, now: float, position: int) -> None:
        if not self._known or self._known[-1][0] <= now - self._lag / 100:
            self._known.append((now, position))


def _words(error: Exception) -> str:
    return "it follows another primary" if isinstance(error, _ForeignError) else type(error).__name__
