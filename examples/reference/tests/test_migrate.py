"""Migrations: at every start, by several processes at once, and not from a newer release."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from reference import migrate as module
from reference.migrate import HEAD, MigrationError, migrate
from reference.schema import metadata

_FOLDER = Path(module.__file__).parent.parent


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


def _revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_head() -> None:
    """The newest migration that the code names is the newest in the folder."""
    assert ScriptDirectory(str(Path(module.__file__).with_name("migrations"))).get_current_head() == HEAD


def test_migrations_build_the_schema(tmp_path: Path) -> None:
    """The migrations build exactly the tables that the code uses."""
    migrate(_url(tmp_path / "data.db"))
    engine = create_engine(f"sqlite:///{tmp_path / 'data.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_up_to_date(tmp_path: Path) -> None:
    """A second run changes nothing."""
    path = tmp_path / "data.db"
    migrate(_url(path))
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
        migrate(_url(path))
        assert list(connection.iterdump()) == before


def test_four_processes_at_once(tmp_path: Path) -> None:
    """Four processes that start on an empty file at the same time all succeed."""
    command = [sys.executable, "-W", "error", "-m", "reference.migrate"]
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path / 'data.db'}"}
    processes = [
        subprocess.Popen(
            command, cwd=_FOLDER, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60)[0].decode() for process in processes]
    assert said == [f"the database is at migration {HEAD}\n"] * 4
    assert _revision(tmp_path / "data.db") == HEAD


def test_newer_database(tmp_path: Path) -> None:
    """A database that a newer release migrated is left alone, and the message says what to do."""
    path = tmp_path / "data.db"
    migrate(_url(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(MigrationError, match="run the release that migrated it"):
        migrate(_url(path))
    assert _revision(path) == "9999"


def test_failing_migration_leaves_nothing(tmp_path: Path) -> None:
    """A migration that fails half-way leaves the file as it was: all of it is one transaction."""
    path = tmp_path / "data.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE posts (id)")  # in the way of the second table
        connection.commit()
        with pytest.raises(Exception, match="posts already exists"):
            migrate(_url(path))
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master")] == ["posts"]


@pytest.mark.parametrize("content", [None, b"this is no database, and long enough to be seen as none" * 100])
def test_no_database(tmp_path: Path, content: bytes | None) -> None:
    """A path that cannot be opened, or a file that is something else, is named."""
    path = tmp_path / "nowhere" / "data.db" if content is None else tmp_path / "data.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MigrationError, match="cannot be opened"):
        migrate(_url(path))
