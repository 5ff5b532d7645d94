"""Counts of one process, with a clock in the test's hand."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.layer.limiter.memory import MemoryStore
from roadworthy.layer.limiter.policy import Policy
from roadworthy.settings import Rate

SECOND = 1_000_000_000


class Clock:
    """Nanoseconds that pass when the test says so, after about four months of uptime."""

    def __init__(self) -> None:
        self.now = 10**16 + 123_456_789

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


@pytest.mark.parametrize("rate", [(1, 86_400), (7, 60), (100, 3600), (600, 60), (3_333, 1), (1_000_000, 1)])
def test_exactly_n_requests_fit_in_a_burst(rate: tuple[int, int]) -> None:
    """At one instant exactly N requests are admitted, also where the period does not divide by N."""
    store, policy = MemoryStore(1000, Clock()), Policy("default", Rate(rate))
    extra = 10
    admitted = sum(store.take(policy, "a") >= 0 for _ in range(rate[0] + extra))
    assert admitted == rate[0]
    assert store.refusals == extra


def test_refill_is_even() -> None:
    """After a burst one request fits per interval: no window, no double burst (apache/apisix#13443)."""
    clock = Clock()
    store, policy = MemoryStore(1000, clock), Policy("default", Rate((60, 60)))
    for _ in range(60):
        assert store.take(policy, "a") >= 0
    for _ in range(5):
        assert store.take(policy, "a") < 0
        clock.pass_(1)
        assert store.take(policy, "a") >= 0
    clock.pass_(60)
    assert sum(store.take(policy, "a") >= 0 for _ in range(100)) == 60


@given(
    count=st.integers(1, 500),
    period=st.sampled_from((1, 60, 3600)),
    gaps=st.lists(st.floats(0, 30), max_size=60),
)
def test_whoever_waits_as_told_is_admitted(count: int, period: int, gaps: list[float]) -> None:
    """A refused client that waits as long as it is told is admitted, and is not told to wait too long."""
    clock = Clock()
    store, policy = MemoryStore(1000, clock), Policy("default", Rate((count, period)))
    for gap in [*gaps, *([0.0] * count)]:
        clock.pass_(gap)
        room = store.take(policy, "a")
        if room < 0:
            assert 1 <= policy.reset(room) <= -(-policy.interval // 1_000_000)
            clock.pass_(policy.reset(room))
            assert store.take(policy, "a") >= 0


def test_keys_and_policies_are_counted_apart() -> None:
    """A client has one count under each policy, and no client pays for another."""
    store = MemoryStore(1000, Clock())
    first, second = Policy("/a", Rate((1, 60))), Policy("/b", Rate((1, 60)))
    assert [store.take(policy, key) >= 0 for policy in (first, second) for key in ("x", "y", "x")] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_expired_keys_make_room_without_a_timer() -> None:
    """Expired keys make room, so that a long walk never fills the table (open-webui/open-webui#29977)."""
    clock = Clock()
    store, policy = MemoryStore(1000, clock), Policy("default", Rate((600, 60)))
    for number in range(100_000):
        assert store.take(policy, f"2001:db8:{number:x}::/64") >= 0
        clock.pass_(0.001)
    assert store.keys <= 400  # about a hundred of them still count at any time
    assert store.overflows == 0


def test_no_key_that_counts_is_forgotten() -> None:
    """A client above its limit stays refused while a walk through addresses fills the table ten times."""
    clock = Clock()
    store, policy = MemoryStore(1000, clock), Policy("default", Rate((5, 3600)))
    for _ in range(5):
        assert store.take(policy, "attacker") >= 0
    for number in range(10_000):
        store.take(policy, f"2001:db8:{number:x}::/64")
        assert store.take(policy, "attacker") < 0
    assert store.keys <= 1000


def test_overflowing_keys_are_counted_and_not_let_through() -> None:
    """A key that finds the table full gets its limit and no more: overflow does not fail open."""
    store, policy = MemoryStore(1000, Clock()), Policy("default", Rate((5, 3600)))
    for number in range(1000):
        store.take(policy, f"2001:db8:{number:x}::/64")
    for number in range(200):
        assert sum(store.take(policy, f"late-{number}") >= 0 for _ in range(20)) == 5
    assert store.overflows == 200 * 20


def test_a_key_takes_its_count_from_the_overflow_into_the_table() -> None:
    """A key that was counted in the overflow does not start again when the table has room."""
    clock = Clock()
    store, policy = MemoryStore(1000, clock), Policy("short", Rate((1, 60)))
    slow = Policy("slow", Rate((5, 3600)))
    for number in range(1000):
        store.take(policy, f"2001:db8:{number:x}::/64")
    assert sum(store.take(slow, "late") >= 0 for _ in range(10)) == 5
    clock.pass_(61)  # the table's keys have expired; the late one has spent its burst of an hour
    before = store.overflows
    assert store.take(slow, "late") < 0
    assert store.overflows == before


@pytest.mark.parametrize("rate", [(600, 60), (100, 3600)])
def test_a_million_addresses_do_not_starve_an_honest_client(rate: tuple[int, int]) -> None:
    """While a million /64 prefixes walk by, memory is bounded and honest newcomers are admitted."""
    clock = Clock()
    store, policy = MemoryStore(20_000, clock), Policy("default", Rate(rate))
    refused, asked, due = 0, 0, 0.0
    for number in range(1_000_000):
        store.take(policy, f"2001:{number >> 16:x}:{number & 0xFFFF:x}::/64")
        clock.pass_(0.00005)
        due += 0.00005
        if due >= policy.interval / 1e6:
            due = 0.0
            asked += 1
            refused += store.take(policy, "honest") < 0
        assert store.keys <= 20_000
    for newcomer in range(1000):
        asked += 1
        refused += store.take(policy, f"newcomer-{newcomer}") < 0
    assert refused <= asked // 1000


def test_closing_is_harmless() -> None:
    """The store holds nothing that closing could lose."""
    store = MemoryStore(1000)
    asyncio.run(store.close())
