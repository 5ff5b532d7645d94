"""Counts shared by the worker processes of one machine: a table in a mapped file, guarded by record locks.

Why this and not the standard library's ready-made parts: a ``multiprocessing.Lock`` stays locked for ever
when its holder is killed, and ``SharedMemory`` on Python 3.11 is unlinked when an unrelated attacher exits. A
POSIX record lock (``fcntl``) belongs to a process, so the kernel releases it however the process ends. The
file lives in memory where there is a ``/dev/shm``. ``CLOCK_MONOTONIC`` is one clock for all processes of a
machine.

Layout: a header page; the tags (64 bits of a keyed hash of the key); the theoretical arrival times, in the
same order; the overflow sketch. Sixteen slots form a bucket, and a key lives in one bucket only. A slot whose
time has passed is free. Buckets are spread over 256 locks.
"""

from __future__ import annotations

import errno
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

from ._limiter_memory import MemoryStore
from ._limiter_overflow import OVERFLOW_CELLS, Overflow

if TYPE_CHECKING:
    from ._limiter_policy import Policy

__all__ = ("SharedStore",)

_HEADER = Struct("<8s16sQ16s")
_HEADER_SIZE = 4096
_MAGIC = b"RWLIMIT1"
_WAYS = 16
_STRIPES = 256
_OVERFLOW_LOCK = _STRIPES
_HEADER_LOCK = _STRIPES + 1
_PATIENCE = 0.1
"""Seconds to wait for another process' lock. It is held for about a microsecond, so whoever holds it longer
is stopped (a debugger, SIGSTOP); a dead holder has no locks."""
_SKIP = 1.0
"""Seconds for which a lock that was waited for in vain is not tried again."""
_REMEMBERED = 4_096

_Place: TypeAlias = tuple[int, int, bytes, bytes]
"""Of a key: its lock, the first slot of its bucket, its tag, its digest for the sketch."""


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
        "_descriptor",
        "_first_tag",
        "_local",
        "_map",
        "_mask",
        "_overflow",
        "_overflow_cells",
        "_places",
        "_secret",
        "_skipped",
        "_times",
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
        self._skipped: dict[int, float] = {}
        self._places: dict[str, _Place] = {}
        # Closing any descriptor of a file drops all record locks of the process on it: this stays the only
        # one.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            buckets, self._secret = self._prepare(capacity)
        except BaseException:
            os.close(self._descriptor)
            raise
        slots = buckets * _WAYS
        times = _HEADER_SIZE + 8 * slots
        cells = times + 8 * slots
        self._map = mmap.mmap(self._descriptor, _size(buckets))
        self._view = memoryview(self._map)
        self._times = self._view[times:cells].cast("q")
        self._overflow_cells = self._view[cells : cells + 8 * OVERFLOW_CELLS].cast("q")
        self._overflow = Overflow(self._overflow_cells)
        self._mask = buckets - 1
        self._first_tag = _HEADER_SIZE
        self.decisions = 0
        self.refusals = 0
        self.overflows = 0
        self.fallbacks = 0

    def _prepare(self, capacity: int) -> tuple[int, bytes]:
        """Check the file, make it when it is new, and return its number of buckets and its hash key."""
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise RuntimeError(
                f"{self.path} holds rate limit counts and must be a regular file of this user with mode "
                "0600; remove it and start again"
            )
        boot = _boot_id()
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, _HEADER_LOCK)
        try:
            header = os.pread(self._descriptor, _HEADER.size, 0)
            # The header is written last: a file without one was left by a process that died while making it.
            # One from before a reboot holds times of a clock that has started again since.
            if len(header) < _HEADER.size or not any(header) or header[8:24] != boot:
                os.ftruncate(self._descriptor, 0)
                buckets = 1 << (max(2 * capacity // _WAYS, _STRIPES) - 1).bit_length()
                # Without its pages reserved, a full file system would end the process with SIGBUS later on.
                os.posix_fallocate(self._descriptor, 0, _size(buckets))
                header = _HEADER.pack(_MAGIC, boot, buckets, secrets.token_bytes(16))
                os.pwrite(self._descriptor, header, 0)
            magic, _, buckets, secret = _HEADER.unpack(header)
            if magic != _MAGIC or os.fstat(self._descriptor).st_size != _size(buckets):
                raise RuntimeError(
                    f"{self.path} was made by another version of roadworthy; remove it and start again"
                )
            return buckets, secret
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _HEADER_LOCK)

    def take(self, policy: Policy, key: str) -> int:
        """Count one request of ``key``; see :data:`Room`."""
        self.decisions += 1
        labelled = policy.label + key
        place = self._places.get(labelled)
        if place is None:
            place = self._place(labelled)
        stripe, first, tag, digest = place
        descriptor = self._descriptor
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, stripe)
        except OSError as error:
            if not self._lock_slowly(stripe, error):
                self.fallbacks += 1
                return self._local.take(policy, key)
        try:
            now = self._clock() // 1000
            start = self._first_tag + 8 * first
            found = self._map.find(tag, start, start + 8 * _WAYS)
            # A match across two tags is as likely as a false one (2**-64 each); it would only mean a new
            # slot.
            if found >= 0 and not found & 7:
                slot = first + (found - start >> 3)
                tat = self._times[slot]
                if tat < now:
                    tat = now
                tat += policy.interval
                room = now + policy.burst - tat
                if room >= 0:
                    self._times[slot] = tat
            else:
                room = self._take_new(policy, first, tag, digest, now)
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, stripe)
        if room < 0:
            self.refusals += 1
        return room

    def _take_new(self, policy: Policy, first: int, tag: bytes, digest: bytes, now: int) -> int:
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
            start = self._first_tag + 8 * slot
            self._map[start : start + 8] = tag
            self._times[slot] = tat
        return room

    def _take_overflow(self, policy: Policy, digest: bytes, now: int) -> int:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OVERFLOW_LOCK)
        except OSError as error:
            if not self._lock_slowly(_OVERFLOW_LOCK, error):
                self.fallbacks += 1
                return self._overflow.take(policy, digest, now)
        try:
            return self._overflow.take(policy, digest, now)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _OVERFLOW_LOCK)

    def _place(self, key: str) -> _Place:
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=24, key=self._secret).digest()
        bucket = int.from_bytes(digest[8:16], "little") & self._mask
        place = (bucket % _STRIPES, bucket * _WAYS, digest[16:24], digest[:8])
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        self._places[key] = place
        return place

    def _lock_slowly(self, stripe: int, refused: OSError) -> bool:
        """Wait for a lock that another process holds, for a bounded time."""
        if refused.errno not in (errno.EACCES, errno.EAGAIN):
            return False
        now = time.monotonic()
        if self._skipped and self._skipped.get(stripe, 0.0) > now:
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
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, stripe)
            except OSError:
                now = time.monotonic()
            else:
                self._skipped.pop(stripe, None)
                return True
        self._skipped[stripe] = now + _SKIP
        return False

    async def close(self) -> None:
        """Unmap and close the file; it stays for the other processes."""
        self._times.release()
        self._overflow_cells.release()
        self._view.release()
        self._map.close()
        os.close(self._descriptor)


def _size(buckets: int) -> int:
    return _HEADER_SIZE + 2 * 8 * _WAYS * buckets + 8 * OVERFLOW_CELLS


def _boot_id() -> bytes:
    """Return 16 bytes that differ from one start of the machine to the next (random(4)), zeros where
    unknown."""
    try:
        return UUID(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
