"""What was acknowledged is there after kill -9."""

from pathlib import Path

import pytest

from ..postgres_server import PostgresServer
from .durability import kill_while_writing


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_kill_while_writing(tmp_path: Path, store: str, request: pytest.FixtureRequest) -> None:
    """Three kills in the midst of writes lose nothing acknowledged, half do nothing and do nothing twice."""
    postgres: PostgresServer | None = None if store == "sqlite" else request.getfixturevalue("postgres")
    ledger = kill_while_writing(tmp_path, cycles=3, postgres=postgres)
    assert ledger.kills == 3
