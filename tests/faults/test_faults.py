"""The cases that are quick, on our server alone; `make faults` has them all, and the other servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .bench import Bench
from .case import GROUPS, SUBJECTS, Case
from .catalogue import CASES

pytestmark = pytest.mark.long

_SCALE = 0.05


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A bench on ``roadworthy run``, with small numbers."""
    one = Bench("roadworthy", _SCALE)
    yield one
    one.close()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES if case.smoke])
def test_it_holds(case: Case, bench: Bench) -> None:
    """The criterion of the case is met."""
    seen = case.drive(bench)
    assert seen.holds, f"{case.what}: {seen.text} (wanted: {case.passes})"


def test_the_table_is_sound() -> None:
    """Every id stands for one case, in a group that there is, and servers that are left out have a reason."""
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.group for case in CASES} == GROUPS.keys()
    for case in CASES:
        assert case.absent.keys() <= SUBJECTS.keys()
        assert all(case.absent.values())
        assert "roadworthy" not in case.absent
