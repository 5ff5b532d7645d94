"""Which kind of database a URL names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .backend import Backend

__all__ = ("Options", "ReplicaError", "backend_for")

_FORMS = "sqlite:///path/to/file.db or postgresql://user:password@host/name"
_SQLITE = ("sqlite", "sqlite+aiosqlite")
_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")
_REPLICAS = "DATABASE_REPLICA_URLS"
_PATIENCE = 1.0
"""Seconds for a connection to a replica to open. There are others, and the primary."""
_SLACK = 1.0
"""Seconds that positions are kept beyond the time that replicas may be behind: clocks of two machines part by
less in such a time."""


class ReplicaError(ValueError):
    """Raised when replicas cannot be used as they are set up."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a database is opened with; see :class:`~roadworthy.patterns.stores.database.Database`."""

    wait: float
    readers: int
    size: int
    timeout: float
    workers: int
    instances: int
    longest: float
    name: str
    replicas: Sequence[str]
    redis: str | None
    lag: float


def backend_for(url: str, options: Options) -> Backend:
    """Return what speaks to the database of a URL. Its driver is imported now, that of others never.

    Raises:
        ValueError: the URL is invalid, or names an unknown kind of database. The message does not repeat it.
        ReplicaError: replicas cannot be used as they are set up.
        ModuleNotFoundError: the driver is not installed; the message names the extra.
    """
    scheme, colon, rest = url.partition("://")
    if colon and scheme in _POSTGRES:
        return _postgres(rest, options)
    if options.replicas:
        raise ReplicaError("replicas are those of a PostgreSQL server, and DATABASE_URL names none")
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError(f"this is not the URL of a database; write {_FORMS}") from None
    if parsed.drivername not in _SQLITE:
        raise ValueError(f"{parsed.drivername!r} is not spoken here; write {_FORMS}")
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("a database in memory ends with its connection; write sqlite:///path/to/file.db")
    from .sqlite import SqliteBackend

    return SqliteBackend(str(Path(str(parsed.database))), options.wait, options.readers, options.longest)


def _postgres(rest: str, options: Options) -> Backend:
    from .postgres import PostgresBackend
    from .postgres_server import Server
    from .postgres_start import Capacity, parsed_url

    capacity = Capacity(options.size, options.workers, options.instances)

    def server(rest: str, patience: float, setting: str) -> Server:
        return Server(
            parsed_url(f"postgresql://{rest}"),
            capacity,
            wait=options.wait,
            patience=patience,
            timeout=options.timeout,
            longest=options.longest,
            setting=setting,
        )

    primary = server(rest, options.wait, "DATABASE_URL")
    if not options.replicas:
        return PostgresBackend(primary)
    from .positions import RedisPositions
    from .replicas import Replicas

    if options.redis is None:
        raise ReplicaError(
            "what a client has written is remembered for all workers and machines: give REDIS_URL, too"
        )
    try:
        servers = [server(_rest(url), min(_PATIENCE, options.wait), _REPLICAS) for url in options.replicas]
        positions = RedisPositions(options.redis, options.name, options.lag + _SLACK)
    except (ValueError, RuntimeError) as error:
        raise ReplicaError(str(error)) from None
    return PostgresBackend(primary, Replicas(primary, servers, positions, options.lag))


def _rest(url: str) -> str:
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in _POSTGRES:
        raise ValueError("write postgresql://user:password@host/name for each, with a comma between two")
    return rest
