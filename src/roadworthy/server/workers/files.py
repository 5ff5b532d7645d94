"""Which source files have changed, for ``--reload``."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...settings import RULES_FILE

__all__ = ("Files", "forget_compiled")

_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})


class Files:
    """Looks at the ``.py`` files and the rules of routes below a folder, and at further files.

    Parameters:
        folder: looked through whole, apart from hidden folders, packages of others and virtual environments.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._more: frozenset[str] = frozenset()
        self._seen = self._look()

    def add(self, files: Iterable[str]) -> None:
        """Watch these as well: modules that were imported from elsewhere."""
        new = frozenset(files) - self._more - self._seen.keys()
        self._more |= new
        # Only these: a file that has changed since the last look is still to be reported.
        self._seen |= _times(new)

    def changed(self) -> list[str]:
        """Return the files that are new, gone or written since the last call."""
        before, self._seen = self._seen, self._look()
        differing = before.items() ^ self._seen.items()
        return sorted({name for name, _ in differing})

    def _look(self) -> dict[str, int]:
        return _times((*self._below(str(self._folder)), *self._more))

    def _below(self, folder: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                    yield from self._below(entry.path)
            elif entry.name.endswith(".py") or entry.name == RULES_FILE:
                yield entry.path


def forget_compiled(files: Iterable[str]) -> None:
    """Remove what Python keeps compiled of these files.

    It is taken for current while the file has the same size and was written in the same second (importlib,
    ``SourceLoader``), so a change that follows another at once would not be served.
    """
    for name in files:
        with contextlib.suppress(OSError):
            os.unlink(importlib.util.cache_from_source(name))


def _times(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        try:
            found[name] = os.stat(name).st_mtime_ns
        except OSError:
            continue
    return found
