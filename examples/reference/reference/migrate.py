"""Bring the database to the schema of this release: ``python -m reference.migrate``, and at every start.

Safe when it is up to date already (nothing happens) and when several processes do it at the same time: all
pending migrations run in one ``BEGIN IMMEDIATE`` transaction, so the others wait and then find nothing to do.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

__all__ = ("HEAD", "MigrationError", "main", "migrate")

HEAD = "0002"
"""The newest migration of this release; a test holds it to the folder's own answer."""

_WAIT = 30.0  # seconds for another process that migrates at this moment


class MigrationError(Exception):
    """The database cannot be brought to the schema of this release; the message says why and what to do."""


def migrate(path: Path) -> None:
    """Bring the SQLite file to the schema of this release.

    Parameters:
        path: the database file; it is created when it is not there, its folder is not.

    Raises:
        MigrationError: the database is newer than this release, or the file cannot be opened as a database.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT, isolation_level=None)) as connection:
            # Once for the file's life; here, because it needs the file for itself for a moment.
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if _revision(connection) == HEAD:
                return
    except sqlite3.Error as error:
        raise MigrationError(f"the database file {path} cannot be opened: {error}") from error
    _upgrade(path)


def _revision(connection: sqlite3.Connection) -> str | None:
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = table and connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _upgrade(path: Path) -> None:
    # Imported only when there is work: Alembic costs 0.4 s and 12 MB that a running service has no use for.
    # Named before the import: at info, Alembic tells of each of its plug-ins while it is imported.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import URL, create_engine

    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": _WAIT, "isolation_level": None}
    )
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise MigrationError(
            f"the database is at a migration that this release (at {HEAD}) does not know: "
            "run the release that migrated it, or restore the backup made before"
        ) from error
    finally:
        engine.dispose()


def main() -> int:
    """Run :func:`migrate` on ``DATABASE_URL`` and say what happened."""
    from roadworthy.settings import SettingsError, load_settings

    from .database import database_path

    try:
        migrate(database_path(load_settings().database_url.get_secret_value()))
    except (MigrationError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"the database is at migration {HEAD}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
