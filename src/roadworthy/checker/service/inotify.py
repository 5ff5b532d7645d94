"""What the kernel reports of a folder: which of its files are opened and changed (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ("CLOSE_READ", "CLOSE_WRITE", "CREATE", "MODIFY", "MOVED_TO", "OPEN", "FolderWatch")

MODIFY, CLOSE_WRITE, CLOSE_READ, OPEN, MOVED_TO, CREATE = 0x2, 0x8, 0x10, 0x20, 0x80, 0x100
_EVENT = struct.Struct("iIII")


class FolderWatch:
    """Watches the files of one folder.

    Parameters:
        kinds: what to report: the constants of this module, joined by ``|``.
    """

    def __init__(self, folder: Path, kinds: int) -> None:
        self.descriptor = _open(folder, kinds)

    def __bool__(self) -> bool:
        """Whether the kernel reports anything."""
        return self.descriptor >= 0

    def read(self) -> Iterator[tuple[int, str]]:
        """Yield kind and file name of each event since the last call; never waits."""
        while self:
            try:
                data = os.read(self.descriptor, 65_536)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                _, kind, _, length = _EVENT.unpack_from(data, at)
                yield kind, os.fsdecode(data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
                at += _EVENT.size + length

    def close(self) -> None:
        """Stop watching."""
        if self:
            os.close(self.descriptor)
            self.descriptor = -1


def _open(folder: Path, kinds: int) -> int:
    """Return the descriptor that reports; -1 without one."""
    if not sys.platform.startswith("linux") or not folder.is_dir():
        return -1
    libc = ctypes.CDLL(None, use_errno=True)
    watch = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if watch < 0:
        return -1
    if libc.inotify_add_watch(watch, os.fsencode(folder), kinds) < 0:
        os.close(watch)
        return -1
    return watch
