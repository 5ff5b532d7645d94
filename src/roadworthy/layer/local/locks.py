"""Locks of all processes that map one file: robust mutexes (POSIX.1-2008, pthread_mutexattr_setrobust).

Taking a free one is a compare-and-swap in user space, and the kernel passes on those of a process that ends,
however it ends. The other ways to exclude a process have one of these only: a ``multiprocessing.Lock`` stays
locked for ever when its holder is killed; a record lock (``fcntl``) is two system calls. Those took 1.5 µs in
a loop of nothing else and 4 µs of a request, whose caches and predictions they spoil (``benchmarks
layer-cost-workers``; both calls through ctypes take 0.25 µs).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import time
from collections.abc import Callable
from typing import Any, cast

__all__ = ("STRIDE", "RobustLocks")

STRIDE = 64
"""Bytes from one lock to the next: a line of the cache, and more than any C library's ``pthread_mutex_t``."""

_PROCESS_SHARED = 1  # PTHREAD_PROCESS_SHARED and PTHREAD_MUTEX_ROBUST, in glibc and in musl
_ROBUST = 1
_ATTRIBUTES_SIZE = 64
_PATIENCE = 0.1
"""Seconds to wait for another process' lock. It is held for about a microsecond, so whoever holds it longer
is stopped (a debugger, SIGSTOP); a dead holder has no locks."""
_SKIP = 1.0
"""Seconds for which a lock that was waited for in vain is not tried again."""


class RobustLocks:
    """``count`` locks in mapped memory. Used by one thread of each process.

    :attr:`try_lock` and :attr:`unlock` are the C library's functions themselves, without Python around them:
    they take what :meth:`lock` returned. Where the first does not return 0, :meth:`settle` goes on::

        answer = locks.try_lock(lock)
        if answer == 0 or locks.settle(lock, answer):
            try: ...
            finally: locks.unlock(lock)

    Parameters:
        memory: shared by all processes; stays mapped for as long as this is used and a lock is held.
        offset: of the first lock in it, a multiple of 64 bytes.
        count: how many there are.

    Raises:
        RuntimeError: the C library of this Python has no robust mutexes.
    """

    __slots__ = ("_address", "_consistent", "_count", "_library", "_skipped", "try_lock", "unlock")

    def __init__(self, memory: mmap.mmap, offset: int, count: int) -> None:
        if offset % STRIDE or offset + count * STRIDE > len(memory):
            raise ValueError(f"{count} locks do not fit at {offset}")
        try:
            # PyDLL keeps the GIL: giving it away and back costs more than these calls.
            library = ctypes.PyDLL(None)
            self._library = library
            self.try_lock = _function(library.pthread_mutex_trylock)
            self.unlock = _function(library.pthread_mutex_unlock)
            self._consistent = _function(library.pthread_mutex_consistent)
        except (OSError, AttributeError) as error:
            raise RuntimeError(f"several workers need a C library with robust mutexes: {error}") from None
        self._count = count
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + offset
        self._skipped: dict[int, float] = {}

    def make(self) -> None:
        """Make all of them, free. For the process that makes the file, before any other uses it.

        Raises:
            OSError: the C library refuses.
        """
        attributes = ctypes.create_string_buffer(_ATTRIBUTES_SIZE)
        library = self._library
        _check(library.pthread_mutexattr_init(attributes))
        _check(library.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED))
        _check(library.pthread_mutexattr_setrobust(attributes, _ROBUST))
        for index in range(self._count):
            _check(library.pthread_mutex_init(ctypes.c_void_p(self.lock(index)), attributes))
        library.pthread_mutexattr_destroy(attributes)

    def lock(self, index: int) -> int:
        """Return what the functions take for the lock with this index."""
        return self._address + index * STRIDE

    def settle(self, lock: int, answer: int) -> bool:
        """Return whether the lock is held after all, once :attr:`try_lock` has answered other than 0.

        A dead holder is succeeded at once, a living one waited for, 0.1 s at most.
        """
        if answer != errno.EBUSY:
            return self._succeed(lock, answer)
        now = time.monotonic()
        if self._skipped and self._skipped.get(lock, 0.0) > now:
            return False
        deadline = now + _PATIENCE
        tries = 0
        while now < deadline:
            # The holder needs microseconds, if it has a core: give it ours, and only then sleep.
            if tries < 50:
                os.sched_yield()
            else:
                time.sleep(0.0002)
            tries += 1
            answer = self.try_lock(lock)
            if answer != errno.EBUSY:
                self._skipped.pop(lock, None)
                return answer == 0 or self._succeed(lock, answer)
            now = time.monotonic()
        self._skipped[lock] = now + _SKIP
        return False

    def _succeed(self, lock: int, answer: int) -> bool:
        return answer == errno.EOWNERDEAD and self._consistent(lock) == 0


def _function(function: Any) -> Callable[[int], int]:
    function.argtypes = (ctypes.c_void_p,)
    return cast("Callable[[int], int]", function)


def _check(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
