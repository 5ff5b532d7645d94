"""The terms of one limit and the fields that tell clients about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.layer.limiter.policy import Policy
from roadworthy.settings import Rate


def test_policy_field_is_the_drafts_own_form() -> None:
    """RateLimit-Policy names the policy with its quota and its window in seconds."""
    assert Policy("default", Rate((600, 60))).field == (b"ratelimit-policy", b'"default";q=600;w=60')


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("/users/{id}", b'"/users/{id}"'),
        ('/a"b\\c', b'"/a\\"b\\\\c"'),
        ("/caf\u00e9\r\n", b'"/caf%C3%A9%0D%0A"'),
    ],
)
def test_any_template_becomes_a_valid_structured_string(name: str, member: bytes) -> None:
    """Quotes are escaped and everything outside printable ASCII is percent-encoded (RFC 9651 §4.1.6)."""
    assert Policy(name, Rate((1, 60))).field[1].startswith(member + b";")


def test_value_counts_down_and_tells_when_one_more_is_admitted() -> None:
    """The value has r for what is left and t for the whole seconds until one more is admitted."""
    policy = Policy("default", Rate((100, 3600)))
    assert policy.value(99 * policy.interval) == b'"default";r=99;t=36'
    assert policy.value(10_000_000) == b'"default";r=0;t=26'
    assert policy.value(-1) == b'"default";r=0;t=1'
    assert policy.value(-1_000_001) == b'"default";r=0;t=2'


@given(count=st.integers(1, 2_000_000), period=st.sampled_from((1, 60, 3600, 86_400)), share=st.floats(-1, 1))
def test_value_equals_the_plain_formula(count: int, period: int, share: float) -> None:
    """Whatever is precomputed or cached, the value says r and t as the plain formulas give them."""
    policy = Policy("p", Rate((count, period)))
    room = int(share * policy.burst)
    expected = b'"p";r=%d;t=%d' % (policy.remaining(room), policy.reset(room))
    assert policy.value(room) == expected == policy.value(room)
    assert policy.reset(room) >= 1


@given(count=st.integers(1, 2_000_000), period=st.sampled_from((1, 60, 3600, 86_400)))
def test_refill_is_never_faster_than_declared(count: int, period: int) -> None:
    """Rounding to microseconds only ever slows the refill, by at most a microsecond a request."""
    policy = Policy("p", Rate((count, period)))
    assert 0 <= policy.interval * count - period * 1_000_000 < count
