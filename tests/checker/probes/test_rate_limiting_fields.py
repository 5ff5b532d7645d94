"""Rate-limit fields in the dialects that services use."""

from __future__ import annotations

import pytest

from roadworthy.checker.http.request import Address, Request
from roadworthy.checker.http.response import Head
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.probes.rate_limiting.fields import Quota, quota_of


def _answer(**fields: str) -> Answer:
    pairs = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    head = Head(version="1.1", status=200, reason="OK", fields=pairs, raw=b"")
    return Answer(Request("GET", "/", Address("127.0.0.1", 80)), Ending.COMPLETE, head)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"RateLimit_Policy": '"default";q=20;w=2', "RateLimit": '"default";r=19;t=2'},
            Quota("RateLimit", 20, 2, 19, 2),
        ),
        (
            {"RateLimit_Policy": '"5-in-1min"; q=5; w=60; pk=:ZjM4:', "RateLimit": '"5-in-1min"; r=4; t=60'},
            Quota("RateLimit", 5, 60, 4, 60),
        ),
        (
            {"RateLimit_Policy": '"day";q=900;w=86400, "a,b";q=20;w=2', "RateLimit": '"day";r=9, "a,b";r=3'},
            Quota("RateLimit", 20, 2, 3, None),
        ),
        (
            {"RateLimit_Policy": "10;w=60", "RateLimit": "limit=10, remaining=9, reset=60"},
            Quota("RateLimit (draft 7)", 10, 60, 9, 60),
        ),
        (
            {"RateLimit_Limit": "10, 10;w=60", "RateLimit_Remaining": "9", "RateLimit_Reset": "60"},
            Quota("RateLimit-*", 10, None, 9, 60),
        ),
        (
            {
                "X_RateLimit_Limit": "10",
                "X_RateLimit_Remaining": "9",
                "X_RateLimit_Reset": "1767225600",
            },
            Quota("X-RateLimit-*", 10, None, 9, None),
        ),
        # Names may be tokens in drafts 8 and 9; further parameters and other policies mean nothing here.
        (
            {"RateLimit_Policy": 'default;q=20;w=2;qu="requests"', "RateLimit": "default;r=0;x"},
            Quota("RateLimit", 20, 2, 0, None),
        ),
        ({"RateLimit": '"default";r=19'}, Quota("RateLimit", None, None, 19, None)),
        (
            {"RateLimit_Policy": '"a";q=5;w=1,\t"b";q=20;w=2', "RateLimit": '"b";t=2;r=1, "a";r=4;t=1'},
            Quota("RateLimit", 20, 2, 1, 2),
        ),
        (
            {"RateLimit_Policy": "10;w=1, 20;w=60", "RateLimit": "reset=5, limit=20, remaining=0"},
            Quota("RateLimit (draft 7)", 20, 60, 0, 5),
        ),
        ({"Retry_After": "1"}, None),
    ],
)
def test_every_dialect_is_read(fields: dict[str, str], expected: Quota | None) -> None:
    """Structured fields of drafts 8 to 11, draft 7, and the fields from before the drafts."""
    assert quota_of(_answer(**fields), 20) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"RateLimit": "default: 4 left"},
        {"RateLimit": '"default";t=60'},
        {"RateLimit": '"default";r=9.5'},
        {"RateLimit": '"default";r=-9,'},
        {"RateLimit": '"default"; R=9'},
        {"RateLimit": '"default";r = 9'},
        {"RateLimit": "'default';r=9"},
        {"RateLimit": "9;t=60"},
        {"RateLimit": ""},
        {"RateLimit": "limit=10, reset=60"},
        {"RateLimit": "limit=10, remaining=few, reset=60"},
        {"RateLimit_Policy": '"default";q=5;w=60;', "RateLimit": '"default";r=1'},
        {"RateLimit_Policy": "5;w=60", "RateLimit": '"default";r=1'},
        {"RateLimit_Policy": '"open;q=5', "RateLimit": '"default";r=1'},
        {"X_RateLimit_Limit": "10", "X_RateLimit_Remaining": "plenty"},
    ],
)
def test_what_a_client_would_ignore_is_a_problem(fields: dict[str, str]) -> None:
    """Fields that cannot be read are reported as such and not guessed."""
    found = quota_of(_answer(**fields))
    assert found is not None
    assert found.problem
