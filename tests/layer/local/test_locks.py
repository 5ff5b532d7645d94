"""Locks between processes in mapped memory."""

import ctypes
import errno
import mmap
from collections.abc import Iterator

import pytest

from roadworthy.layer.local.locks import STRIDE, RobustLocks


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    """Give memory that processes could share."""
    with mmap.mmap(-1, 4096) as made:
        yield made


def test_a_lock_excludes_until_it_is_given_back(memory: mmap.mmap) -> None:
    """A held lock is busy, its neighbour is free, and it is free again afterwards."""
    locks = RobustLocks(memory, 0, 2)
    locks.make()
    first, second = locks.lock(0), locks.lock(1)
    assert locks.try_lock(first) == 0
    assert locks.try_lock(first) == errno.EBUSY
    assert locks.try_lock(second) == 0
    assert locks.unlock(first) == 0
    assert locks.try_lock(first) == 0
    # A thread keeps a list of what it holds, so nothing may be held when the memory goes.
    assert locks.unlock(first) == locks.unlock(second) == 0


def test_a_lock_fits_its_place(memory: mmap.mmap) -> None:
    """No byte beyond a lock's stride is written, whatever the C library makes of a mutex."""
    memory[:] = b"\xff" * len(memory)
    locks = RobustLocks(memory, STRIDE, 1)
    locks.make()
    assert locks.try_lock(locks.lock(0)) == 0
    assert memory[:STRIDE] == b"\xff" * STRIDE
    assert memory[2 * STRIDE :] == b"\xff" * (len(memory) - 2 * STRIDE)
    assert memory[STRIDE : 2 * STRIDE] != b"\xff" * STRIDE
    assert locks.unlock(locks.lock(0)) == 0


@pytest.mark.parametrize(("offset", "count"), [(8, 1), (0, 65), (4096, 1)])
def test_locks_that_do_not_fit_are_refused(memory: mmap.mmap, offset: int, count: int) -> None:
    """An offset between two places, or memory too small, is an error and no write elsewhere."""
    with pytest.raises(ValueError, match="do not fit"):
        RobustLocks(memory, offset, count)


def test_a_c_library_without_them_is_named(memory: mmap.mmap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the functions are missing, the start stops and says what several workers need."""
    monkeypatch.setattr(ctypes, "PyDLL", lambda _: object())
    with pytest.raises(RuntimeError, match=r"several workers need .* robust mutexes.*pthread_mutex"):
        RobustLocks(memory, 0, 1)
