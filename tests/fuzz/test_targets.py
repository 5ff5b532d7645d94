"""Each target for a moment, under hypothesis; ``make proof`` runs them for an hour, under both engines."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from .registry import TARGETS
from .target import Target, shrunk

EXAMPLES = 25
_targets = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@_targets
def test_seeds(target: Target) -> None:
    """What a target holds of all inputs, it holds of its seeds; and each can be written as it is."""
    for seed in target.seeds:
        assert target.spelled(target.written(seed)) == seed
        target(target.written(seed))


@_targets
def test_moment(target: Target) -> None:
    """What a target holds of all inputs, it holds of the same few dozen each time."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs())
    def moment(data: bytes) -> None:
        target(data)

    moment()


def test_targets_have_names_of_their_own() -> None:
    """A proof is found again by the name of its target."""
    names = [target.name for target in TARGETS]
    assert len(set(names)) == len(names)


def test_a_finding_is_made_shorter() -> None:
    """What has no part in a failure is left out of the input that is reported."""
    assert shrunk(lambda data: b"ab" in data, b"x" * 37 + b"ab" + b"y" * 50) == b"ab"
