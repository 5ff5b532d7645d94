"""Nothing is left of requests and connections that have ended."""

from __future__ import annotations

from pathlib import Path

from .leaks import PHASES, abort, hammer, left, probed, settled


def test_nothing_is_left_of_requests_and_aborted_connections(tmp_path: Path) -> None:
    """No task, timer, buffer or descriptor after 10,000 requests and 700 resets in every phase."""
    with probed(tmp_path) as port:
        hammer(port, 1000)
        before = left(port)
        hammer(port, 10_000)
        settled(port, before)
        abort(port, 100 * len(PHASES))
        settled(port, before)
