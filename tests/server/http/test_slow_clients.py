"""More clients that never finish than there are descriptors: honest ones are served (Slowloris)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..slow import BODY, HEAD, besiege


@pytest.mark.parametrize("first", [HEAD, BODY], ids=["head", "body"])
def test_honest_clients_are_answered_during_a_siege(tmp_path: Path, first: bytes) -> None:
    """300 slow clients that come again and again, 200 descriptors: a new connection never finds none left."""
    siege = besiege(tmp_path, first, slow=300, descriptors=200, deadline=1.0, rounds=3)
    assert siege.answered >= 0.99 * siege.honest, siege
    assert siege.slow >= 300
