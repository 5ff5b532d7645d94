"""The database of this service: its address, and its schema when it opens."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text

from reference.database import Database
from reference.schema import users
from roadworthy.settings import Settings, SettingsError

pytestmark = pytest.mark.anyio


async def test_start(tmp_path: Path) -> None:
    """An empty file has this release's schema when the database has started."""
    database = Database(f"sqlite:///{tmp_path / 'data.db'}")
    await database.start()
    try:
        async with database.connection() as connection:
            assert (await connection.execute(select(func.count()).select_from(users))).scalar_one() == 0
            assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
    finally:
        await database.stop()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "canary", "mysql+canary", "mysql://canary@x/y"]
)
def test_other_databases(url: str) -> None:
    """A database that this service does not speak is refused by name, without the password."""
    with pytest.raises(SettingsError) as caught:
        Database.from_settings(Settings(database_url=SecretStr(url)))
    assert "sqlite:///path/to/file.db" in str(caught.value)
    assert "canary" not in str(caught.value).replace("'mysql+canary'", "")
