"""The database of this service: its address, its schema."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from roadworthy import patterns
from roadworthy.settings import Problem, SettingsError

from .migrate import MigrationError, migrate

__all__ = ("Database", "database_path")

_logger = logging.getLogger("reference.database")


def database_path(url: str) -> Path:
    """Return the file that a database URL names.

    Raises:
        SettingsError: it is not ``sqlite:///path/to/file.db``. The message names the scheme, never the URL: a
            URL may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused("this is not a URL") from None
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise _refused(f"this service does not speak {parsed.drivername!r}")
    if parsed.database in (None, "", ":memory:"):
        raise _refused("a database in memory ends with the connection")
    return Path(str(parsed.database))


def _refused(why: str) -> SettingsError:
    return SettingsError([Problem("DATABASE_URL", f"{why}; write sqlite:///path/to/file.db")])


class Database(patterns.Database):
    """The connections to one SQLite file, which is brought to this release's schema when they open.

    Parameters:
        path: the database file.
        wait: seconds that a request waits for a connection or for its turn to write before it is refused.
    """

    def __init__(self, path: Path, wait: float = 5.0) -> None:
        super().__init__(URL.create("sqlite", database=str(path)).render_as_string(), wait=wait)
        self.path = path

    async def start(self) -> None:
        """Migrate the file and open the first connection.

        Raises:
            MigrationError: see :func:`reference.migrate.migrate`.
            UnavailableError: the file is locked.
        """
        try:
            await asyncio.to_thread(migrate, self.path)
        except MigrationError as error:
            _logger.critical("%s", error)
            raise
        await super().start()
