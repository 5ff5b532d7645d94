"""What was acknowledged is there after kill -9."""

from pathlib import Path

from .durability import kill_while_writing


def test_kill_while_writing(tmp_path: Path) -> None:
    """Five kills in the midst of concurrent writes lose nothing acknowledged and leave nothing half done."""
    ledger = kill_while_writing(tmp_path, cycles=5)
    assert ledger.kills == 5
