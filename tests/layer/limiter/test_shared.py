"""Counts shared by local processes: a real file, real locks, real processes."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roadworthy.layer.limiter.policy import Policy
from roadworthy.layer.limiter.shared import SharedStore
from roadworthy.settings import Rate

from ...counting import count_in_processes, hold_locks

SECOND = 1_000_000_000


class Clock:
    """Nanoseconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[SharedStore]:
    """Give a store on a new file."""
    made = SharedStore(tmp_path / "limits", 1000, clock)
    yield made
    asyncio.run(made.close())


def _attach(store: SharedStore, clock: Clock) -> SharedStore:
    return SharedStore(store.path, 1000, clock)


@pytest.mark.parametrize("attempt", range(3))
def test_four_processes_admit_exactly_the_limit(tmp_path: Path, attempt: int) -> None:
    """Of 1,000 requests in four processes 100 are admitted (laurentS/slowapi#226, rmyndharis/OpenWA#722)."""
    assert count_in_processes("shared", str(tmp_path / "limits"), "100/hour", 1000, 4) == 100


def test_a_file_that_many_make_at_once_is_made_once(tmp_path: Path) -> None:
    """Whoever comes while another makes the file waits for it, and counts in the same one."""
    for attempt in range(20):
        path, barrier = tmp_path / f"limits-{attempt}", threading.Barrier(8)

        def opened(path: Path = path, barrier: threading.Barrier = barrier) -> SharedStore:
            barrier.wait()
            return SharedStore(path, 1000)

        with ThreadPoolExecutor(8) as pool:
            stores = [future.result() for future in [pool.submit(opened) for _ in range(8)]]
        policy = Policy("default", Rate((5, 3600)))
        assert sum(store.take(policy, "a") >= 0 for store in stores) == 5
        for store in stores:
            asyncio.run(store.close())


def test_counts_are_one_for_all_who_open_the_file(store: SharedStore, clock: Clock) -> None:
    """Two stores on one file share each key's count, and it outlives both."""
    policy = Policy("default", Rate((5, 60)))
    other = _attach(store, clock)
    try:
        admitted = [each.take(policy, "a") >= 0 for _ in range(4) for each in (store, other)]
    finally:
        asyncio.run(other.close())
    later = _attach(store, clock)
    try:
        assert admitted == [True] * 5 + [False] * 3
        assert later.take(policy, "a") < 0
    finally:
        asyncio.run(later.close())


def test_a_decision_after_the_end_is_an_error(tmp_path: Path) -> None:
    """A request that comes when the counts are closed gets an exception, not memory that is gone."""
    store = SharedStore(tmp_path / "limits", 1000)
    asyncio.run(store.close())
    with pytest.raises(ValueError, match="closed"):
        store.take(Policy("default", Rate((1, 60))), "a")


def test_burst_and_refill_are_those_of_one_process(store: SharedStore, clock: Clock) -> None:
    """A burst admits exactly N, an emission interval one more, and whoever waits as told is admitted."""
    policy = Policy("default", Rate((7, 60)))
    assert sum(store.take(policy, "a") >= 0 for _ in range(20)) == 7
    wait = policy.reset(store.take(policy, "a"))
    clock.now += (wait - 1) * SECOND
    assert store.take(policy, "a") < 0
    clock.now += SECOND
    assert store.take(policy, "a") >= 0
    assert store.take(policy, "a") < 0


def test_keys_and_policies_are_counted_apart(store: SharedStore) -> None:
    """A client has one count under each policy, and no client pays for another."""
    first, second = Policy("/a", Rate((1, 60))), Policy("/b", Rate((1, 60)))
    for policy in (first, second):
        assert [store.take(policy, key) >= 0 for key in ("x", "y", "x")] == [True, True, False]


def test_expired_slots_are_used_again(store: SharedStore, clock: Clock) -> None:
    """Far more keys than the table has slots pass through it, as long as few of them count at a time."""
    policy = Policy("default", Rate((600, 60)))
    for number in range(50_000):
        assert store.take(policy, f"2001:db8:{number:x}::/64") >= 0
        clock.now += SECOND // 1000
    assert store.overflows == 0


def test_a_full_table_counts_the_rest_and_forgets_nobody(store: SharedStore, clock: Clock) -> None:
    """With the table full of unexpired keys each newcomer gets its limit, and a refused key stays refused."""
    policy = Policy("default", Rate((5, 3600)))
    for _ in range(5):
        assert store.take(policy, "attacker") >= 0
    for number in range(20_000):
        store.take(policy, f"2001:db8:{number:x}::/64")
    assert store.overflows > 10_000
    assert store.take(policy, "attacker") < 0
    other = _attach(store, clock)
    try:
        for number in range(100):
            shares = [each.take(policy, f"late-{number}") >= 0 for _ in range(10) for each in (store, other)]
            assert sum(shares) <= 5
        # What the sketch counts, every process sees.
        assert other.take(policy, "late-0") < 0
        # It counts a little too much for some, and nothing for nobody: newcomers are still served.
        served = sum(store.take(policy, f"newcomer-{number}") >= 0 for number in range(1000))
        assert served >= 999
    finally:
        asyncio.run(other.close())


def test_a_killed_holder_releases_its_locks(tmp_path: Path) -> None:
    """After kill -9 of a process that holds every lock, decisions go on at once and stay exact."""
    store = SharedStore(tmp_path / "limits", 1000)
    policy = Policy("default", Rate((3, 3600)))
    for _ in range(3):
        holder = hold_locks(str(store.path))
        holder.kill()
        holder.communicate()
        assert store.take(policy, "a") >= 0
    assert store.take(policy, "a") < 0
    assert store.fallbacks == 0
    asyncio.run(store.close())


def test_a_stopped_holder_is_waited_for_only_so_long(tmp_path: Path) -> None:
    """While a stopped process holds a lock, decisions are bounded in time, limited, counted as fallbacks."""
    store = SharedStore(tmp_path / "limits", 1000)
    policy = Policy("default", Rate((5, 3600)))
    holder = hold_locks(str(store.path))
    try:
        os.kill(holder.pid, signal.SIGSTOP)
        started = time.monotonic()
        admitted = sum(store.take(policy, "a") >= 0 for _ in range(50))
        # One patient wait, then none for a second; the bound is generous for a busy machine.
        assert time.monotonic() - started < 1
        assert admitted == 5
        assert store.fallbacks == 50
    finally:
        holder.kill()
        holder.communicate()
    asyncio.run(store.close())


def test_file_is_for_this_user_alone(store: SharedStore) -> None:
    """The file is made with mode 0600."""
    assert store.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("trap", ["symlink", "mode", "folder"])
def test_a_file_prepared_by_others_is_refused(tmp_path: Path, trap: str) -> None:
    """A link, a file others may write to, or something else stops the start, with the path in the error."""
    path = tmp_path / "limits"
    if trap == "symlink":
        (tmp_path / "elsewhere").write_bytes(b"")
        path.symlink_to(tmp_path / "elsewhere")
    elif trap == "mode":
        path.write_bytes(b"")
        path.chmod(0o666)
    else:
        path.mkdir()
    with pytest.raises((RuntimeError, OSError), match="limits"):
        SharedStore(path, 1000)
    if trap == "symlink":
        assert (tmp_path / "elsewhere").read_bytes() == b""


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """A table whose layout is not ours is not written to."""
    path = tmp_path / "limits"
    asyncio.run(SharedStore(path, 1000).close())
    with path.open("r+b") as file:
        file.write(b"RWLIMIT9")
    with pytest.raises(RuntimeError, match="another version"):
        SharedStore(path, 1000)


def test_a_half_made_file_is_made_again(tmp_path: Path) -> None:
    """A file whose maker was killed before it wrote the header is no obstacle."""
    path = tmp_path / "limits"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    os.ftruncate(descriptor, 123_456)
    os.close(descriptor)
    store = SharedStore(path, 1000)
    assert store.take(Policy("default", Rate((1, 60))), "a") >= 0
    asyncio.run(store.close())


def test_counts_from_before_a_reboot_are_dropped(tmp_path: Path) -> None:
    """The clock starts again with the machine, so older times would refuse clients for days."""
    path, policy = tmp_path / "limits", Policy("default", Rate((1, 3600)))
    store = SharedStore(path, 1000)
    assert store.take(policy, "a") >= 0
    asyncio.run(store.close())
    with path.open("r+b") as file:
        file.seek(8)
        file.write(bytes(16))
    store = SharedStore(path, 1000)
    assert store.take(policy, "a") >= 0
    asyncio.run(store.close())
