"""A million requests and ten thousand aborted connections leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..server.leaks import abort, hammer, left, probed, settled

pytestmark = pytest.mark.proof

REQUESTS = 1_000_000
ABORTED = 10_000


def test_nothing_leaks(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """No task, timer, buffer or descriptor is left, and memory is flat."""
    with probed(tmp_path) as port:
        hammer(port, 1000)
        idle = left(port)
        hammer(port, REQUESTS // 10)
        # As many as later: streams that end a second after their client are there at the same time, and the
        # allocator keeps what their greatest number took.
        abort(port, ABORTED)
        before = settled(port, idle)
        hammer(port, REQUESTS)
        served = settled(port, idle)
        abort(port, ABORTED)
        aborted = settled(port, idle)
    record_property("requests", REQUESTS)
    record_property("aborted_connections", ABORTED)
    record_property("before", before.counts)
    record_property("after", aborted.counts)
    record_property("megabytes_before", round(before.megabytes, 1))
    record_property("megabytes_after_requests", round(served.megabytes, 1))
    record_property("megabytes_after_aborted", round(aborted.megabytes, 1))
    assert aborted.megabytes - before.megabytes <= 2
