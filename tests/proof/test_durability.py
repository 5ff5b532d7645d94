"""What was acknowledged is there after kill -9, two hundred times over, on SQLite and on PostgreSQL."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ..contract.durability import kill_while_writing
from ..postgres_server import PostgresServer

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_two_hundred_kills(
    tmp_path: Path,
    store: str,
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> None:
    """Kills in the midst of writes lose nothing acknowledged, half do no transfer, create nothing twice."""
    postgres: PostgresServer | None = None if store == "sqlite" else request.getfixturevalue("postgres")
    ledger = kill_while_writing(tmp_path, cycles=200, postgres=postgres)
    record_property("kills", ledger.kills)
    record_property("acknowledged writes", ledger.acknowledged)
    record_property("of them transfers", ledger.transfers)
    record_property("unanswered and repeated with the same key", ledger.repeated)
    assert (ledger.kills, ledger.unanswered) == (200, {})
    assert ledger.repeated > 100
