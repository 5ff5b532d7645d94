"""An SQLite file as a store: inotify(7) reports who opens it, its header the journal mode."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..service.inotify import CLOSE_READ, CLOSE_WRITE, MODIFY, OPEN, FolderWatch
from ..service.linux import open_files
from .access import Fault, NoFault, Store

__all__ = ("SqliteFile",)

# Byte 18 of the header is the version that writers need (SQLite documentation: database file format).
_JOURNALS = {1: "rollback", 2: "WAL"}


class SqliteFile(Store):
    """An SQLite file; stalling it means to hold its write lock.

    A session is an open handle, and what goes to the server is a change of the file or of its journal. The
    kernel reports two openings with nothing in between as one, so ``opens`` is exact for requests one after
    another; ``live`` is counted in /proc. What the checker itself opens counts too.

    Its commits fail as on a full disk: the service's processes may not write to files any more
    (RLIMIT_FSIZE), and an SQLite transaction that fits into memory first writes when it commits.

    Parameters:
        pids: the processes of the service, for failing commits.
    """

    can = frozenset({Fault.STALL, Fault.COMMIT})

    def __init__(self, url: str, file: Path) -> None:
        self.url = url
        self.file = file
        self.pids: Callable[[], list[int]] = list[int]
        self._held: sqlite3.Connection | None = None
        self._limited: dict[int, tuple[int, int]] = {}
        self._looked = 0.0
        # Closing is asked for too, so that two openings in a row are separate events.
        self._watch = FolderWatch(file.parent, MODIFY | CLOSE_WRITE | CLOSE_READ | OPEN)
        self.counted = bool(self._watch)
        if self.counted:
            asyncio.get_running_loop().add_reader(self._watch.descriptor, self._read)

    async def inject(self, fault: Fault) -> None:
        """Hold the lock.

        Raises:
            NoFault: another fault than STALL or COMMIT was asked for, or the file cannot be locked.
        """
        if fault is Fault.COMMIT:
            for pid in self.pids():
                # It may have ended since it was listed.
                with contextlib.suppress(ProcessLookupError):
                    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                    self._limited.setdefault(pid, before)
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
            return
        if fault is not Fault.STALL:
            raise NoFault(f"an SQLite file cannot {fault}")
        if self._held is None:
            try:
                self._held = await asyncio.to_thread(self._lock, "EXCLUSIVE")
            except sqlite3.Error as error:
                raise NoFault(f"the file cannot be locked: {error}") from None

    async def restore(self) -> None:
        """Let the lock go, and let the processes write again."""
        for pid, before in self._limited.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        self._limited.clear()
        if self._held is not None:
            self._held.close()
            self._held = None

    def copy_to(self, copy: Path) -> None:
        """Copy the file as it is at this moment, what stands in its journal included.

        Raises:
            sqlite3.Error: it is not there, is no database, or is locked.
        """
        with (
            contextlib.closing(sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)

    def processes(self, pids: Iterable[int]) -> int:
        """Return how many of these processes have the file open."""
        name = os.path.realpath(self.file)
        return sum(name in open_files(pid).values() for pid in pids)

    def look(self) -> None:
        """Count the handles that the service has on the file."""
        self._looked = time.monotonic()
        files = [name for pid in self.pids() for name in open_files(pid).values()]
        self.live = files.count(os.path.realpath(self.file))
        self.peak = max(self.peak, self.live)

    def left_in_transaction(self, seconds: float) -> int | None:
        """Return 1 when a process keeps the write lock for longer."""
        try:
            self._lock("IMMEDIATE", seconds).close()
        except sqlite3.OperationalError as error:
            return 1 if "locked" in str(error) else None
        except sqlite3.Error:
            return None
        return 0

    @property
    def journal(self) -> str:
        """The journal mode: ``WAL``, ``rollback``, or nothing while there is no file."""
        try:
            with self.file.open("rb") as file:
                head = file.read(20)
        except OSError:
            return ""
        return _JOURNALS.get(head[18], "") if len(head) == 20 else ""

    @property
    def leftovers(self) -> list[str]:
        """The journals beside the file, which the last connection removes when it is closed."""
        beside = [self.file.with_name(self.file.name + end) for end in ("-wal", "-journal")]
        return [file.name for file in beside if file.exists() and file.stat().st_size]

    async def close(self) -> None:
        """Let the lock go and stop watching."""
        await self.restore()
        if self._watch:
            asyncio.get_running_loop().remove_reader(self._watch.descriptor)
            self._watch.close()

    def _lock(self, how: str, seconds: float = 5.0) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.file, timeout=seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"BEGIN {how}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _read(self) -> None:
        for kind, name in self._watch.read():
            if name == self.file.name and kind & OPEN:
                self.opens += 1
                if time.monotonic() - self._looked > 0.02:
                    self.look()
            if kind & MODIFY and name.startswith(self.file.name):
                self.to_server += 1
