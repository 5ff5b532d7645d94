"""PostgreSQL: units of work and reads on the primary, read-only units on replicas where there are some."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Table, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ...errors import OutcomeUnknownError
from . import Rules, TransactionError, postgres_errors
from .backend import OVER
from .driver.asyncpg import AsyncpgDriver
from .pool import Lease
from .postgres_server import ENDING, Server, rolled_back
from .replicas import Replicas
from .sweep import Sweep

__all__ = ("PostgresBackend",)


class PostgresBackend:
    """One PostgreSQL database.

    Parameters:
        primary: takes the writes.
        replicas: take read-only units of work; None where there are none.
    """

    def __init__(self, primary: Server, replicas: Replicas | None = None) -> None:
        self._primary = primary
        self._replicas = replicas
        self._endings = Sweep(ENDING)
        self.pools = (primary.pool, *(() if replicas is None else replicas.pools))
        self.driver = AsyncpgDriver(primary.engine.dialect, primary.lend, primary.end)
        self.lend = primary.lend
        self.end = primary.end
        self.begin = primary.begin if replicas is None else self._begin

    async def prepare(self) -> None:
        """Connect, and check the servers' version and their room for all workers."""
        await self._primary.prepare()
        if self._replicas is not None:
            await self._replicas.prepare()

    async def open(self) -> None:
        """Connect, so that what is wrong with the URL is reported in words."""
        await self._primary.open()

    async def _begin(self, rules: Rules) -> Lease:
        """Begin, on a replica where the unit only reads and one has what its principal has written."""
        # A standby offers no SERIALIZABLE (PostgreSQL, chapter "Hot Standby", Caveats).
        if self._replicas is not None and rules.read_only and rules.isolation != "serializable":
            lease = await self._replicas.begin(rules)
            if lease is not None:
                return lease
        return await self._primary.begin(rules)

    async def commit(self, lease: Lease) -> None:
        """Commit, and report what PostgreSQL makes of COMMIT after a statement that failed: ROLLBACK."""
        ending = self._endings.watch(_abandon, lease.bare)
        try:
            answer = await lease.bare.execute("COMMIT")
        except Exception as error:
            postgres_errors.without_values(error)
            if postgres_errors.is_refused_commit(error):
                raise
            await lease.discard()
            raise OutcomeUnknownError from error
        finally:
            ending.is_over = True
        if answer != "COMMIT":
            raise TransactionError(OVER)
        if self._replicas is not None and lease.writes:
            await self._replicas.written(lease)

    async def rollback(self, lease: Lease) -> None:
        """Undo everything; a connection that does not answer is closed, and the server undoes the rest."""
        await rolled_back(lease)

    async def stop(self) -> None:
        """Close every connection."""
        if self._replicas is not None:
            await self._replicas.stop()
        for pool in self.pools:
            await pool.stop()

    async def lock(self, connection: AsyncConnection, name: str) -> bool:
        """Take an advisory lock, which has a number of 64 bits."""
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        asked = select(func.pg_try_advisory_xact_lock(literal(number, BigInteger)))
        return bool((await connection.execute(asked)).scalar_one())

    def is_passing(self, error: Exception) -> bool:
        """Return whether another transaction was in the way, or the connection broke before COMMIT."""
        return postgres_errors.is_passing(error)

    def refusal(self, error: Exception) -> Exception | None:
        """Return 503, 504 or 409; see :mod:`roadworthy.patterns.stores.postgres_errors`."""
        return postgres_errors.refusal_of(error)

    def is_read_only(self, error: Exception) -> bool:
        """Return whether a write was refused because the transaction must not write."""
        return postgres_errors.is_read_only(error)

    def is_over(self, error: Exception) -> bool:
        """Return whether the transaction has failed before."""
        return postgres_errors.is_over(error)

    def unique_columns(self, error: Exception, table: Table) -> tuple[str, ...]:
        """Read the columns from the error's fields."""
        return postgres_errors.unique_columns(error, table)

    async def missing_parent(
        self, error: Exception, table: Table, values: Mapping[str, Any], connection: AsyncConnection
    ) -> str | None:
        """Read the column from the error's fields; no question is possible after an error."""
        return postgres_errors.missing_parent(error, table)

    def is_referred_to(self, error: Exception) -> bool:
        """Return whether a foreign key keeps the row."""
        return postgres_errors.is_referred_to(error)


def _abandon(driver: Any) -> None:
    driver.terminate()  # whoever waits for its answer hears that the connection is closed
