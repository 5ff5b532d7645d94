"""Numbers that a process counts in and that outlive it: memory of its own, or a file shared with its group.

A group is a directory. Each process of it has two files, ``<pid>-<start>-<n>.cells`` (doubles, mapped) and
``….keys`` (one JSON line per range of cells, written before the range is first used). What a process counted
is in the file at once, so that ``kill -9`` loses nothing. Numbers of processes that ended are folded into the
file ``folded``, so that a sum never falls and the directory does not grow.

Readers take no lock: files vanish only after ``folded`` was replaced by one that holds their numbers and
their names, so a reader that finds ``folded`` unchanged at the end has seen every number exactly once.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import math
import mmap
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

from .process import alive, start_of

__all__ = (
    "LIVE",
    "MAGNET",
    "PEAK",
    "SUM",
    "Cells",
    "CellsFullError",
    "Key",
    "Merged",
    "combine",
    "exact",
    "fold",
    "live_pids",
    "merge",
)

Key: TypeAlias = tuple[str, ...]
"""What a range of cells is: how it is merged (:data:`SUM`, :data:`LIVE`, :data:`PEAK`), then any strings."""
Merged: TypeAlias = dict[Key, list[float]]

SUM = "sum"
"""Added up over all processes, those that ended included."""
LIVE = "live"
"""Added up over the processes that run."""
PEAK = "peak"
"""The highest of the processes that run."""

_QUANTUM = 2.0**-22
"""Seconds are counted in multiples of this (0.24 µs). Sums of such doubles are exact up to 2**31 s, in any
order. Otherwise a sum could fall by one rounding when its parts are added in another order, and a counter
that falls at all is read as one that started again from 0 (Prometheus, ``rate()``)."""

MAGNET = 1.5 * 2.0**52 * _QUANTUM
"""Adding and subtracting it rounds a double below 2**29 to a multiple of the quantum, in two instructions."""

_NAME = re.compile(r"((\d+)-(\d+)-\d+)\.(?:cells|keys|new)", re.ASCII)
_serial = itertools.count()


class CellsFullError(Exception):
    """Raised when there is no room for another range of cells."""


def exact(value: float) -> float:
    """Round ``value`` to a multiple of the quantum; values of 2**29 and above are returned as they are."""
    return value + MAGNET - MAGNET if -(2.0**29) < value < 2.0**29 else value


class Cells:
    """The numbers of this process.

    Parameters:
        capacity: most cells that can be reserved.
    """

    def __init__(self, capacity: int) -> None:
        self.numbers: list[float] | memoryview[float] = []
        self._capacity = capacity
        self._used = 0
        self._ranges: dict[Key, tuple[int, int]] = {}
        self._keys: Path | None = None

    @property
    def shared(self) -> bool:
        """Whether the numbers stand in a file of the group."""
        return self._keys is not None

    def reserve(self, key: Key, count: int) -> int:
        """Return the first of ``count`` cells that belong to ``key`` from now on, all 0.

        Raises:
            CellsFullError: the capacity is used up.
            OSError: the key could not be written; nothing is reserved.
        """
        known = self._ranges.get(key)
        if known is not None:
            return known[0]
        base = self._used
        if base + count > self._capacity:
            raise CellsFullError(f"all {self._capacity} cells are in use")
        if self._keys is not None:
            _append(self._keys, _line(key, base, count))
        elif isinstance(self.numbers, list):
            self.numbers.extend([0.0] * count)
        self._ranges[key] = (base, count)
        self._used += count
        return base

    def share(self, directory: Path) -> None:
        """Move the numbers into a file of the group, keeping what was counted.

        :attr:`numbers` is another object then.

        Raises:
            OSError: the file cannot be made (no such directory, no space); the numbers stay where they were.
        """
        pid = os.getpid()
        stem = directory / f"{pid}-{start_of(pid)}-{next(_serial)}"
        size = self._capacity * 8
        fresh = stem.with_suffix(".new")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # A mapped page without a block behind it kills the process (SIGBUS) once the disk is full.
            os.posix_fallocate(descriptor, 0, size)
            numbers = memoryview(mmap.mmap(descriptor, size)).cast("d")
            for index in range(self._used):
                numbers[index] = self.numbers[index]
            lines = b"".join(_line(key, base, count) for key, (base, count) in self._ranges.items())
            keys = stem.with_suffix(".keys")
            os.rename(fresh, stem.with_suffix(".cells"))
            _append(keys, lines, os.O_CREAT | os.O_EXCL)
        except OSError:
            fresh.unlink(missing_ok=True)
            stem.with_suffix(".cells").unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        self.numbers = numbers
        self._keys = keys

    def read(self) -> Merged:
        """Return a copy of this process's numbers."""
        return {key: list(self.numbers[base : base + count]) for key, (base, count) in self._ranges.items()}


def merge(directory: Path) -> Merged:
    """Return the numbers of the whole group, each counted exactly once.

    A file that is empty, cut short or not one of ours is passed over (prometheus/client_python#1199).
    """
    merged: Merged = {}
    # Somebody folds at most a few times a second; eight changes in a row do not happen by themselves.
    for _ in range(8):
        before = _bytes(directory / "folded")
        done, merged = _unfold(before)
        for stem, pid, start in _stems(directory):
            if stem not in done:
                _add(merged, directory / stem, running=alive(pid, start))
        if _bytes(directory / "folded") == before:
            break
    return merged


def combine(merged: Merged, key: Key, cells: list[float]) -> None:
    """Add the numbers that one process has under ``key``."""
    present = merged.get(key)
    if present is None:
        merged[key] = cells
    elif len(present) == len(cells):
        take = max if key[0] == PEAK else float.__add__
        merged[key] = [take(one, other) for one, other in zip(present, cells, strict=True)]


def live_pids(directory: Path) -> list[int]:
    """Return the pids of the group's processes that run."""
    return sorted({pid for _, pid, start in _stems(directory) if alive(pid, start)})


def fold(directory: Path) -> list[int]:
    """Fold the files of processes that ended into one, and return their pids.

    Does nothing while another process folds: waiting for one that is stopped would stop the caller too.
    """
    gone = [(stem, pid) for stem, pid, start in _stems(directory) if not alive(pid, start)]
    if not gone:
        return []
    with _lock(directory / "lock") as held:
        if not held:
            return []
        done, total = _unfold(_bytes(directory / "folded"))
        for stem, _ in gone:
            if stem not in done:
                _add(total, directory / stem, running=False)
        # Names stay listed until their files are gone for certain: whoever is killed before
        # that counts nothing twice.
        left = {stem for stem, _, _ in _stems(directory)} & (done | {stem for stem, _ in gone})
        text = json.dumps(
            {"done": sorted(left), "numbers": [[list(key), cells] for key, cells in total.items()]}
        )
        fresh = directory / "folded.new"
        fresh.write_text(text, "utf-8")
        os.replace(fresh, directory / "folded")
        for stem in left:
            for suffix in (".new", ".cells", ".keys"):
                with contextlib.suppress(OSError):
                    (directory / stem).with_suffix(suffix).unlink(missing_ok=True)
    return [pid for _, pid in gone]


def _add(merged: Merged, stem: Path, *, running: bool) -> None:
    for key, cells in _ranges(stem):
        if running or key[0] == SUM:
            combine(merged, key, cells)


def _ranges(stem: Path) -> Iterator[tuple[Key, list[float]]]:
    lines = _bytes(stem.with_suffix(".keys")).split(b"\n")
    try:
        with open(stem.with_suffix(".cells"), "rb") as file:
            size = os.fstat(file.fileno()).st_size // 8 * 8
            # Mapped and not read: a double is then loaded whole even while its owner writes it.
            mapped = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) if size else None
    except (OSError, ValueError):
        return
    if mapped is None:
        return
    with mapped, memoryview(mapped) as raw, raw.cast("d") as numbers:
        # What follows the last line end is a line that is not whole yet.
        for line in lines[:-1]:
            try:
                base, count, *words = json.loads(line)
                key = tuple(map(str, words))
                cells = list(numbers[base : base + count])
            except (ValueError, TypeError):
                continue
            if key and base >= 0 and len(cells) == count and all(map(math.isfinite, cells)):
                yield key, cells


def _unfold(text: bytes) -> tuple[set[str], Merged]:
    try:
        content = cast("dict[str, Any]", json.loads(text)) if text else {}
        numbers = {tuple(map(str, key)): list(map(float, cells)) for key, cells in content.get("numbers", ())}
        return set(map(str, content.get("done", ()))), numbers
    except (ValueError, TypeError, AttributeError):
        return set(), {}


def _stems(directory: Path) -> list[tuple[str, int, str]]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted({(match[1], int(match[2]), match[3]) for match in map(_NAME.fullmatch, names) if match})


def _line(key: Key, base: int, count: int) -> bytes:
    return json.dumps([base, count, *key]).encode() + b"\n"


def _append(path: Path, line: bytes, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        if os.write(descriptor, line) != len(line):
            # The rest of a cut line must not be taken for the start of the next.
            os.write(descriptor, b"\n")
            raise OSError(f"no space for {path.name}")
    finally:
        os.close(descriptor)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def _lock(path: Path) -> Generator[bool, None, None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
