"""What was acknowledged is there after kill -9, a hundred times over."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ..contract.durability import kill_while_writing

pytestmark = pytest.mark.proof


def test_a_hundred_kills(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A hundred kills in the midst of concurrent writes lose nothing acknowledged."""
    ledger = kill_while_writing(tmp_path, cycles=100)
    record_property("kills", ledger.kills)
    record_property("acknowledged writes", len(ledger.users) + len(ledger.posts) + 2 * len(ledger.deleted))
    assert ledger.kills == 100
