"""Slow clients in numbers that exceed the descriptors: honest requests are answered all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..server.slow import BODY, HEAD, besiege

pytestmark = pytest.mark.proof


@pytest.mark.parametrize(
    ("first", "slow"), [(HEAD, 1500), (BODY, 1100)], ids=["1500 trickled heads", "1100 stalled bodies"]
)
def test_honest_clients_are_answered(
    tmp_path: Path, first: bytes, slow: int, record_property: Callable[[str, object], None]
) -> None:
    """From one deadline on 99 % are, under 1,024 descriptors, though slow clients come again at once."""
    siege = besiege(tmp_path, first, slow=slow, descriptors=1024, deadline=2.0, rounds=5)
    record_property("honest_requests", siege.honest)
    record_property("answered", siege.answered)
    record_property("slowest_seconds", round(siege.slowest, 2))
    record_property("slow_connections", siege.slow)
    assert siege.answered >= 0.99 * siege.honest, siege
