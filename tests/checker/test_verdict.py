"""What the verdicts of its assertions make of an item."""

from __future__ import annotations

import pytest

from roadworthy.checker import ExitCode, Verdict
from roadworthy.checker.verdict import ItemState, Result, exit_code, judge_item
from roadworthy.checklist import assertion


def _judged(**verdicts: Verdict) -> ItemState:
    """Return the state of security headers; HDR-8 is of high severity and HDR-1 of medium."""
    names = {name.replace("_", "-"): verdict for name, verdict in verdicts.items()}
    results = [
        Result(id=name, item="security-headers", verdict=verdict, severity=assertion(name).severity)
        for name, verdict in names.items()
    ]
    return judge_item("security-headers", results, False).state


@pytest.mark.parametrize(
    ("required", "other", "state"),
    [
        (Verdict.PASS, Verdict.PASS, ItemState.PROVED),
        (Verdict.PASS, Verdict.FAIL, ItemState.PROVED),
        (Verdict.FAIL, Verdict.PASS, ItemState.FAILED),
        (Verdict.INCONCLUSIVE, Verdict.PASS, ItemState.NOT_PROVED),
        (Verdict.ERROR, Verdict.PASS, ItemState.NOT_PROVED),
        (Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE, ItemState.NOT_APPLICABLE),
    ],
)
def test_required_assertions_decide(required: Verdict, other: Verdict, state: ItemState) -> None:
    """An item is proved when each required assertion is; the others are told beside it."""
    assert _judged(HDR_8=required, HDR_1=other) is state


@pytest.mark.parametrize(
    ("other", "state"),
    [
        (Verdict.PASS, ItemState.PROVED),
        (Verdict.FAIL, ItemState.FAILED),
        (Verdict.INCONCLUSIVE, ItemState.NOT_PROVED),
    ],
)
def test_others_decide_where_no_required_one_applies(other: Verdict, state: ItemState) -> None:
    """A service without cookies has security headers all the same: they are not left out."""
    assert _judged(HDR_8=Verdict.NOT_APPLICABLE, HDR_1=other) is state
    assert _judged(HDR_1=other) is state


@pytest.mark.parametrize(("left_out", "code"), [(False, ExitCode.INCONCLUSIVE), (True, ExitCode.OK)])
def test_what_a_profile_leaves_out_does_not_count(left_out: bool, code: ExitCode) -> None:
    """A quick check that finds nothing ends with 0, one that tried and could not prove does not."""
    result = Result(
        id="HDR-8",
        item="security-headers",
        verdict=Verdict.INCONCLUSIVE,
        severity=assertion("HDR-8").severity,
        left_out=left_out,
    )
    assert exit_code([result]) is code
