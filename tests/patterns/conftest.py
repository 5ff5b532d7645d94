"""Fixtures of the tests of patterns."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roadworthy.patterns import Database
from tests.patience import DEADLINE
from tests.postgres_server import PostgresServer

from .accounts import create, emptied


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A SQLite file with the tables."""
    create(tmp_path / "data.db")
    return tmp_path / "data.db"


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of each kind, with the tables and nothing in them."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('path')}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await emptied(server.url)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The open database."""
    database = Database(url, wait=DEADLINE, size=5)
    await database.start()
    yield database
    stats = database.stats()
    await database.stop()
    assert stats is not None
    assert stats.in_use == 0, "a connection was not given back"
