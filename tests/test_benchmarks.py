"""The comparison of speeds: what its interval says."""

from __future__ import annotations

from statistics import geometric_mean

import pytest
from benchmarks.compare import SLOWER, interval


@pytest.mark.parametrize(
    ("factor", "slower"), [(1.0, False), (1.02, False), (1.1, True), (0.9, False)], ids=str
)
def test_an_interval_lies_above_the_bound_only_for_a_loss(factor: float, slower: bool) -> None:
    """Twenty-four pairs that scatter by 10 % show a loss of 10 %, and none where there is none."""
    scattered = [factor * (1 + 0.1 * (step - 11.5) / 11.5) for step in range(24)]
    low, high = interval(scattered)
    assert low < geometric_mean(scattered) < high
    assert (low > SLOWER) is slower


def test_the_same_pairs_give_the_same_interval() -> None:
    """The resamples are drawn from a fixed seed, so that a result can be computed again."""
    ratios = [0.98, 1.01, 1.04, 0.97, 1.02]
    assert interval(ratios) == interval(ratios)
