"""Bring the database to the schema of this release: ``python -m reference.migrate``, and at every start.

Safe when it is up to date already (nothing happens) and when several processes do it at the same time: all
pending migrations run in one unit of work, so the others wait and then find nothing to do. SQLite has one
writer anyway; on PostgreSQL a lock makes one of them.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from roadworthy import patterns
from roadworthy.errors import UnavailableError
from roadworthy.patterns import unit_of_work
from roadworthy.settings import SettingsError, load_settings

__all__ = ("HEAD", "MigrationError", "main", "migrate", "migrated")

HEAD = "0002"
"""The newest migration of this release; a test holds it to the folder's own answer."""

_WAIT = 30.0  # seconds for another process that migrates at this moment
_LONGEST = 600.0  # seconds for one statement of a migration: a table is rewritten at tens of MB a second
_LOCK = 7_215_305_119  # any number that nothing else locks in this database


class MigrationError(Exception):
    """The database cannot be brought to the schema of this release; the message says why and what to do."""


def migrate(url: str) -> None:
    """Bring a database to the schema of this release, where no event loop runs; see :func:`migrated`."""
    asyncio.run(migrated(url))


async def migrated(url: str) -> None:
    """Bring a database to the schema of this release.

    Parameters:
        url: of the database; a SQLite file is created when it is not there, its folder is not.

    Raises:
        MigrationError: the database is newer than this release, or the file cannot be opened as a database.
        SettingsError: a PostgreSQL server refuses.
        UnavailableError: nobody answers.
    """
    database = patterns.Database(url, wait=_WAIT, timeout=_LONGEST, longest=_LONGEST, size=1)
    try:
        await database.start()
        async with database.connection() as connection:
            revision = await connection.run_sync(_revision)
        if revision != HEAD:
            await _upgrade(database)
    except DBAPIError as error:
        if error.connection_invalidated or type(error.orig).__module__ != "sqlite3":
            raise
        raise MigrationError(f"the database file cannot be opened or changed: {error.orig}") from error
    finally:
        await database.stop()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


async def _upgrade(database: patterns.Database) -> None:
    # Imported only when there is work: Alembic costs 0.4 s and 12 MB that a running service has no use for.
    # Named before the import: at info, Alembic tells of each of its plug-ins while it is imported.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))

    def upgrade(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        async with unit_of_work(), database.connection() as connection:
            await connection.run_sync(upgrade)
    except CommandError as error:
        raise MigrationError(
            f"the database is at a migration that this release (at {HEAD}) does not know: "
            "run the release that migrated it, or restore the backup made before"
        ) from error


def main() -> int:
    """Run :func:`migrate` on ``DATABASE_URL`` and say what happened."""
    try:
        settings = load_settings()
        patterns.Database.from_settings(settings)  # reports what is wrong with the URL
        migrate(settings.database_url.get_secret_value())
    except (MigrationError, SettingsError, UnavailableError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"the database is at migration {HEAD}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
