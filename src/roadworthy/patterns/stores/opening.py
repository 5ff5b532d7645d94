"""Which kind of database a URL names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from .backend import Backend

__all__ = ("Options", "backend_for")

_FORMS = "sqlite:///path/to/file.db or postgresql://user:password@host/name"
_SQLITE = ("sqlite", "sqlite+aiosqlite")
_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")


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


def backend_for(url: str, options: Options) -> Backend:
    """Return what speaks to the database of a URL. Its driver is imported now, that of others never.

    Raises:
        ValueError: the URL is invalid, or names an unknown kind of database. The message does not repeat it.
        ModuleNotFoundError: the driver is not installed; the message names the extra.
    """
    scheme, colon, rest = url.partition("://")
    if colon and scheme in _POSTGRES:
        from .postgres import PostgresBackend
        from .postgres_start import Capacity, parsed_url

        return PostgresBackend(
            parsed_url(f"postgresql://{rest}"),
            Capacity(options.size, options.workers, options.instances),
            options.wait,
            options.timeout,
            options.longest,
        )
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
