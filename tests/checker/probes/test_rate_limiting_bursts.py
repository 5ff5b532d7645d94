"""How much of a burst fits into a window, on a machine that is as slow as it likes."""

from __future__ import annotations

import time

import pytest

from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.probes.rate_limiting.clients import Burst, seconds_into_window


def _burst(*times: float) -> Burst:
    request = Request("GET", "/", Address("127.0.0.1", 80))
    return Burst([Answer(request, Ending.COMPLETE, began=at, ended=at + 0.1) for at in times])


@pytest.mark.parametrize(("window", "most"), [(0.5, 2), (2.0, 4), (10.0, 6)])
def test_the_densest_window(window: float, most: int) -> None:
    """The most requests that any stretch of a window's length has, its ends included."""
    assert _burst(9, 0, 1, 1.5, 2, 2.4).densest(window) == most


def test_no_requests_are_no_window() -> None:
    """A burst of nothing has no densest window."""
    assert Burst().densest(1.0) == 0


def test_a_burst_that_begins_late_is_late() -> None:
    """What has passed of a window of the clock counts from the clock, not from the first request."""
    boundary = time.monotonic() - time.time() % 60.0
    assert seconds_into_window(boundary + 12.5, 60.0) == pytest.approx(12.5, abs=1.0)
