"""Fixtures of the tests of patterns."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roadworthy.patterns import Database
from tests.patience import DEADLINE

from .accounts import create


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file with the tables."""
    create(tmp_path / "data.db")
    return tmp_path / "data.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """The open database."""
    database = Database(f"sqlite:///{path}", wait=DEADLINE)
    await database.start()
    yield database
    stats = database.stats()
    await database.stop()
    assert stats is not None
    assert stats.in_use == 0, "a connection was not given back"
