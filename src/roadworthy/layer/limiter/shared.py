"""Counts shared by the worker processes of one machine: a table in a mapped file, guarded by robust locks.

Why a file and not the standard library's ``SharedMemory``: on Python 3.11 that is unlinked when an unrelated
attacher exits. The file lives in memory where there is a ``/dev/shm``. ``CLOCK_MONOTONIC`` is one clock for
all processes of a machine.

Layout: a header; the locks; the tags (64 bits of a keyed hash of the key); the theoretical arrival times, in
the same order; the overflow sketch. Sixteen slots form a bucket, and a key lives in one bucket only. A slot
whose time has passed is free. Buckets are spread over 256 locks. A holder that is killed between two writes
leaves nothing half done: a time is one aligned word, and a tag without its time is that of a free slot.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import stat
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from ..local.locks import STRIDE, RobustLocks
from .memory import MemoryStore
from .overflow import OVERFLOW_CELLS, Overflow

if TYPE_CHECKING:
    from .policy import Policy

__all__ = ("LOCKS", "LOCKS_OFFSET", "SharedStore", "bytes_for")

LOCKS_OFFSET = 64
"""Where the locks begin in the file."""
LOCKS = 257
"""One for each stripe of buckets, and one for the overflow sketch."""

_HEADER = Struct("<8s16sQ16s")
_MAGIC = b"RWLIMIT2"
_WAYS = 16
_STRIPES = LOCKS - 1
_OVERFLOW_LOCK = _STRIPES
_TABLE = LOCKS_OFFSET + LOCKS * STRIDE
_REMEMBERED = 4_096

_Place: TypeAlias = tuple[int, int, int, bytes]
"""Of a key: its lock, the slot where it was last (at first its bucket's first), its tag, its digest for the
sketch."""


class SharedStore:
    """Exact counts over all processes that open the same file.

    Parameters:
        path: the file; created when missing, in a folder that only this user may write to.
        capacity: keys to count at one time; the table has twice as many slots, so that buckets rarely
        overflow.
            The process that creates the file decides.
        clock: nanoseconds that never go back and are the same for all processes.

    Raises:
        RuntimeError: the file is not ours alone (owner, mode, links), or was made by another version.
        OSError: there is no room for it.
    """

    __slots__ = (
        "_clock",
        "_local",
        "_locks",
        "_map",
        "_mask",
        "_overflow",
        "_overflow_cells",
        "_places",
        "_secret",
        "_tags",
        "_times",
        "_try_lock",
        "_unlock",
        "_view",
        "decisions",
        "fallbacks",
        "overflows",
        "path",
        "refusals",
    )

    def __init__(self, path: Path, capacity: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.path = path
        self._clock = clock
        self._local = MemoryStore(capacity, clock)
        self._places: dict[str, _Place] = {}
        self._map, buckets, self._secret = _opened(path, capacity)
        self._locks = RobustLocks(self._map, LOCKS_OFFSET, LOCKS)
        self._try_lock = self._locks.try_lock
        self._unlock = self._locks.unlock
        self._view = memoryview(self._map)
        words = 8 * buckets * _WAYS
        self._tags = self._view[_TABLE : _TABLE + words].cast("Q")
        self._times = self._view[_TABLE + words : _TABLE + 2 * words].cast("q")
        self._overflow_cells = self._view[_TABLE + 2 * words :].cast("q")
        self._overflow = Overflow(self._overflow_cells)
        self._mask = buckets - 1
        self.decisions = 0
        self.refusals = 0
        self.overflows = 0
        self.fallbacks = 0

    def take(self, policy: Policy, key: str) -> int:
        """Count one request of ``key``; see :data:`Room`."""
        self.decisions += 1
        labelled = policy.label + key
        place = self._places.get(labelled)
        if place is None:
            place = self._place(labelled)
        lock, slot, tag, _ = place
        answer = self._try_lock(lock)
        if answer and not self._locks.settle(lock, answer):
            self.fallbacks += 1
            return self._local.take(policy, key)
        try:
            now = self._clock() // 1000
            if self._tags[slot] == tag or (slot := self._find(labelled, place)) >= 0:
                times = self._times
                tat = times[slot]
                if tat < now:
                    tat = now
                tat += policy.interval
                room = now + policy.burst - tat
                if room >= 0:
                    times[slot] = tat
            else:
                room = self._take_new(policy, place, now)
        finally:
            self._unlock(lock)
        if room < 0:
            self.refusals += 1
        return room

    def _find(self, labelled: str, place: _Place) -> int:
        """Return the slot of a key that is not where it was last, -1 for none; and remember it."""
        lock, slot, tag, digest = place
        first = slot - slot % _WAYS
        try:
            slot = first + self._tags[first : first + _WAYS].tolist().index(tag)
        except ValueError:
            return -1
        self._places[labelled] = (lock, slot, tag, digest)
        return slot

    def _take_new(self, policy: Policy, place: _Place, now: int) -> int:
        _, slot, tag, digest = place
        first = slot - slot % _WAYS
        times = self._times[first : first + _WAYS].tolist()
        earliest = min(times)
        if earliest > now:
            self.overflows += 1
            return self._take_overflow(policy, digest, now)
        # A key that was counted in the sketch takes its count along into the table. The sketch is read
        # without its lock: a key's own cells only change under the lock of its bucket or to count more.
        tat = max(now, self._overflow.estimate(digest, now)) + policy.interval
        room = now + policy.burst - tat
        if room >= 0:
            slot = first + times.index(earliest)
            self._tags[slot] = tag
            self._times[slot] = tat
        return room

    def _take_overflow(self, policy: Policy, digest: bytes, now: int) -> int:
        lock = self._locks.lock(_OVERFLOW_LOCK)
        answer = self._try_lock(lock)
        if answer and not self._locks.settle(lock, answer):
            self.fallbacks += 1
            return self._overflow.take(policy, digest, now)
        try:
            return self._overflow.take(policy, digest, now)
        finally:
            self._unlock(lock)

    def _place(self, key: str) -> _Place:
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=24, key=self._secret).digest()
        bucket = int.from_bytes(digest[8:16], "little") & self._mask
        place = (
            self._locks.lock(bucket % _STRIPES),
            bucket * _WAYS,
            int.from_bytes(digest[16:24], "little"),
            digest[:8],
        )
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        self._places[key] = place
        return place

    async def close(self) -> None:
        """Unmap the file; it stays for the other processes."""
        # A lock in memory that is no longer mapped would end the process.
        self._try_lock = _closed
        for view in (self._tags, self._times, self._overflow_cells, self._view):
            view.release()
        self._map.close()


def _closed(lock: int) -> int:
    raise ValueError("the counts were closed")


def _opened(path: Path, capacity: int) -> tuple[mmap.mmap, int, bytes]:
    """Check the file, make it when it is new; return it mapped, its number of buckets and its hash key."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise RuntimeError(
                f"{path} holds rate limit counts and must be a regular file of this user with mode "
                "0600; remove it and start again"
            )
        # Not a record lock (fcntl): the process loses that when it closes any descriptor of the file, and a
        # map that is closed closes one.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        boot = _boot_id()
        header = os.pread(descriptor, _HEADER.size, 0)
        # The header is written last: a file without one was left by a process that died while making it.
        # One from before a reboot holds times of a clock that has started again since.
        if len(header) < _HEADER.size or not any(header) or header[8:24] != boot:
            os.ftruncate(descriptor, 0)
            buckets = _buckets(capacity)
            _reserve(descriptor, path, _size(buckets))
            with mmap.mmap(descriptor, _size(buckets)) as memory:
                RobustLocks(memory, LOCKS_OFFSET, LOCKS).make()
            header = _HEADER.pack(_MAGIC, boot, buckets, secrets.token_bytes(16))
            os.pwrite(descriptor, header, 0)
        magic, _, buckets, secret = _HEADER.unpack(header)
        if magic != _MAGIC or os.fstat(descriptor).st_size != _size(buckets):
            raise RuntimeError(f"{path} was made by another version of roadworthy; remove it and start again")
        return mmap.mmap(descriptor, _size(buckets)), buckets, secret
    finally:
        # The map has a descriptor of its own, which would keep the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def bytes_for(capacity: int) -> int:
    """Return the size of the file that counts so many keys."""
    return _size(_buckets(capacity))


def _buckets(capacity: int) -> int:
    return 1 << (max(2 * capacity // _WAYS, _STRIPES) - 1).bit_length()


def _reserve(descriptor: int, path: Path, size: int) -> None:
    """Take the blocks now: a page without one would end the process with SIGBUS later on.

    Raises:
        OSError: they are not there; the file is left empty.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        os.ftruncate(descriptor, 0)
        raise OSError(
            error.errno,
            f"{error.strerror}: the rate limit counts need {size / 2**20:.1f} MiB in {path.parent}; "
            "give it more room, or lower ROADWORTHY_RATE_LIMIT_KEYS",
        ) from None


def _size(buckets: int) -> int:
    return _TABLE + 2 * 8 * _WAYS * buckets + 8 * OVERFLOW_CELLS


def _boot_id() -> bytes:
    """Return 16 bytes that differ from one start of the machine to the next (random(4)), zeros where
    unknown."""
    try:
        return UUID(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
