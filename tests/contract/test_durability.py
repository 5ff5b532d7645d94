"""What was acknowledged is there after kill -9."""

from pathlib import Path

from .durability import kill_while_writing


def test_kill_while_writing(tmp_path: Path) -> None:
    """Three kills in the midst of writes lose nothing acknowledged, half do nothing and do nothing twice."""
    ledger = kill_while_writing(tmp_path, cycles=3)
    assert ledger.kills == 3
