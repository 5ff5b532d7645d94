"""The database of this service: its address, its schema."""

from __future__ import annotations

from roadworthy import patterns
from roadworthy.settings import Problem, SettingsError

from .migrate import MigrationError, migrated

__all__ = ("Database",)


class Database(patterns.Database):
    """The connections to SQLite or PostgreSQL, which has this release's schema before it is used."""

    async def prepare(self) -> None:
        """Check the server and migrate, once before any worker starts.

        Raises:
            SettingsError: the database cannot be used; the message says why and what to do.
            UnavailableError: nobody answers.
        """
        await super().prepare()
        await self._migrate()

    async def start(self) -> None:
        """Open the first connection, of a database that is migrated.

        Raises:
            SettingsError, UnavailableError: as :meth:`prepare` does.
        """
        await self._migrate()
        await super().start()

    async def _migrate(self) -> None:
        try:
            await migrated(self.url)
        except MigrationError as error:
            raise SettingsError([Problem("DATABASE_URL", str(error))]) from error
