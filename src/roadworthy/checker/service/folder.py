"""A working folder of a start's own: copies of the files that hold data, and links to everything else.

A service that keeps its data in files beside it writes into the copies then, and what it makes anew in its
working folder is not left in the real one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .inotify import CREATE, MODIFY, MOVED_TO, OPEN, FolderWatch

__all__ = ("DataFiles", "Workplace", "copy_data", "guessed_data", "sqlite_file")

_KEPT_JOURNALS = ("-wal", "-journal")
_JOURNALS = (*_KEPT_JOURNALS, "-shm")
_SCHEME = re.compile(r"(?:jdbc:)?(?:sqlite|file)[A-Za-z0-9+]*:", re.IGNORECASE)
# Above its own folder a link has other parents than the real one.
_ABOVE = re.compile(r"(^|=)(\.\./[^\s:]*)")
_LOOKS_LIKE_DATA = re.compile(r"[^.].*\.(?:db3?|sqlite3?|json|jsonl|ndjson|csv)", re.IGNORECASE)
_CONFIGURES = re.compile(
    r"(?:package|package-lock|composer|global|manifest|vercel|now|angular|nest-cli|turbo|lerna|nx|project|"
    r"renovate|components|launchSettings|(?:ts|js|jest|deno|app|api)?config.*|appsettings.*|settings.*|"
    r"openapi.*|swagger.*|schema.*|deno|.*\.config|.*\.schema|.*rc)\.jsonc?",
    re.IGNORECASE,
)
_DATA_FOLDERS = ("data", "db", "storage")
_MOST_GUESSED = 64 << 20
_KINDS = OPEN | MODIFY | CREATE | MOVED_TO
_MOST_BESIDE = 4 << 20
"""Bytes of a file beside the working folder that is copied for each start."""


def sqlite_file(url: str, cwd: Path) -> Path | None:
    """Return the file that a URL or a path names, as SQLAlchemy and SQLite write them; None for memory.

    ``sqlite:///data.db`` is beside the service, ``sqlite:////srv/data.db`` is not.
    """
    text = _SCHEME.sub("", url, count=1).partition("?")[0]
    if text.startswith("///"):
        text = text[3:]
    return None if not text or ":memory:" in text else Path(os.path.normpath(cwd / text))


def guessed_data(cwd: Path) -> tuple[Path, ...]:
    """Return files beside a service that look like its data, for one that declares none.

    None when they are large: what is copied for each start has to be small, or declared.
    """
    found = [
        Path(entry.path)
        for folder in (cwd, *(cwd / name for name in _DATA_FOLDERS))
        if folder.is_dir() and not folder.is_symlink()
        for entry in os.scandir(folder)
        if entry.is_file(follow_symlinks=False) and _is_data(entry.name)
    ]
    small = sum(path.stat().st_size for path in found) <= _MOST_GUESSED
    return tuple(sorted(found)) if small else ()


def _is_data(name: str) -> bool:
    return bool(_LOOKS_LIKE_DATA.fullmatch(name)) and not _CONFIGURES.fullmatch(name)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one start works.

    Parameters:
        cwd: its working folder.
        moved: the copy of each file that holds data.
        real: the real working folder.
    """

    cwd: Path
    moved: Mapping[str, str]
    real: Path

    def word(self, text: str) -> str:
        """Return a word of a command, or a value of a variable, that leads to the copies."""
        for original, copy in self.moved.items():
            found = re.compile(rf"(?<![\w./-]){re.escape(original)}(?![\w.-])")
            text = copy.join(found.split(text))
        return text

    def command_word(self, text: str) -> str:
        """Return a word of a command, in which a path above the working folder is written in full."""
        return _ABOVE.sub(self._in_full, self.word(text))

    def _in_full(self, match: re.Match[str]) -> str:
        path = os.path.normpath(self.real / match[2])
        return match[1] + path if os.path.exists(path) else match[0]


class DataFiles:
    """The files of a service that hold data, and how a start gets copies of them.

    Parameters:
        cwd: the working folder.
        data: files and folders that are copied, in full.
        left_out: files that no start is to see, because a variable leads it to one of its own.
        always: each start works in a folder of its own even when there is no data yet.
    """

    def __init__(
        self, cwd: Path, data: Iterable[Path], left_out: Iterable[Path] = (), *, always: bool = False
    ) -> None:
        self.cwd = Path(os.path.abspath(cwd))
        self.data = tuple(dict.fromkeys(Path(os.path.abspath(path)) for path in data))
        inside = (Path(os.path.abspath(path)) for path in left_out)
        self._left_out = {path for path in inside if path.is_relative_to(self.cwd)}
        self.always = always
        self._kept: Path | None = None
        self._watches: list[tuple[Path, FolderWatch]] = []
        self._opened = ""
        self._changed = ""

    def __bool__(self) -> bool:
        """Whether a start needs a working folder of its own."""
        return bool(self.data or self._left_out or self.always)

    def stay(self) -> None:
        """Let the service work in its real folder from now on, and only watch that."""
        self.data, self.always = (), False
        self._left_out.clear()

    @property
    def elsewhere(self) -> Sequence[Path]:
        """The data outside the working folder: only a variable or an argument can lead to a copy."""
        return [path for path in self.data if not path.is_relative_to(self.cwd)]

    def prepare(self, folder: Path) -> None:
        """Copy the data as it is now; each start gets a copy of that.

        Raises:
            OSError: it cannot be read.
        """
        folder.mkdir()
        for number, path in enumerate(self.data):
            if path.exists():
                copy_data(path, folder / str(number))
        self._kept = folder
        for place in {self.cwd, *(path.parent for path in self.data)}:
            self._watches.append((place, FolderWatch(place, _KINDS)))

    def make(self, folder: Path) -> Workplace:
        """Make a working folder, and the copies in it.

        Parameters:
            folder: where to make it.
        """
        folder.mkdir()
        self._link(self.cwd, folder, {*self.data, *self._left_out})
        self._surround(folder.parent)
        return self._filled(folder)

    def _surround(self, place: Path) -> None:
        """Put what is beside the real folder beside the other, for a service that reads ``../shared.json``.

        What looks like data is copied while it is small. Folders are left out: what is in them is not known.
        """
        for entry in os.scandir(self.cwd.parent):
            path, target = Path(entry.path), place / entry.name
            if not entry.is_file() or path in self.data or os.path.lexists(target):
                continue
            if not _is_data(entry.name):
                target.symlink_to(path)
            elif entry.stat().st_size <= _MOST_BESIDE:
                copy_data(path, target)

    def _filled(self, folder: Path) -> Workplace:
        """Put the copies where they belong."""
        moved = {str(path): str(self._place(path, number, folder)) for number, path in enumerate(self.data)}
        for path, place in self._copies(moved):
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            copy_data(path, Path(place))
        # As it was declared too: "../db.json" is in no working folder but the real one.
        moved |= {os.path.relpath(path, self.cwd): moved[str(path)] for path in self.elsewhere}
        return Workplace(folder, moved, self.cwd)

    def adopt(self, folder: Path) -> Workplace:
        """Put the copies into a working folder that a probe has made of links, in place of the links."""
        leave = {*self.data, *self._left_out}
        for path in leave:
            if path.is_relative_to(self.cwd):
                self._unlink(path, folder, leave)
        return self._filled(folder)

    def _unlink(self, path: Path, folder: Path, leave: set[Path]) -> None:
        """Take the link to a file away, or make a folder of links of the link to a folder around it."""
        real, place = self.cwd, folder
        for part in path.relative_to(self.cwd).parts:
            real, place = real / part, place / part
            if place.is_symlink():
                place.unlink()
                if real != path and real.is_dir():
                    place.mkdir()
                    self._link(real, place, leave)

    @property
    def opened(self) -> str:
        """The name of a real file with data that was opened since :meth:`prepare`; empty when none was."""
        self._look()
        return self._opened

    @property
    def changed(self) -> str:
        """The name of a real file that was changed since :meth:`prepare`; empty when none was.

        In the folders of the data any file counts that looks like data.
        """
        self._look()
        return self._changed

    def _look(self) -> None:
        names = {path.name for path in (*self.data, *self._left_out)}
        for place, watch in self._watches:
            for kind, name in watch.read():
                path = os.path.relpath(place / name, self.cwd)
                if kind & OPEN:
                    self._opened = self._opened or (path if name in names else "")
                elif name in names or _is_data(name):
                    self._changed = self._changed or path

    def close(self) -> None:
        """Stop watching."""
        for _, watch in self._watches:
            watch.close()
        self._watches.clear()

    def _place(self, path: Path, number: int, folder: Path) -> Path:
        if path.is_relative_to(self.cwd):
            return folder / path.relative_to(self.cwd)
        return folder.with_name(f"{folder.name}-data") / str(number) / path.name

    def _copies(self, moved: Mapping[str, str]) -> Iterable[tuple[Path, str]]:
        assert self._kept is not None, "prepare() comes first"
        for number, path in enumerate(self.data):
            if (self._kept / str(number)).exists():
                yield self._kept / str(number), moved[str(path)]

    def _link(self, real: Path, into: Path, leave: set[Path]) -> None:
        for entry in os.scandir(real):
            path = real / entry.name
            if path in leave or _is_journal(path, leave):
                continue
            if any(one.is_relative_to(path) for one in leave):
                (into / entry.name).mkdir()
                self._link(path, into / entry.name, leave)
            else:
                (into / entry.name).symlink_to(path)


def _is_journal(path: Path, of: set[Path]) -> bool:
    return any(path.name.endswith(end) and Path(str(path).removesuffix(end)) in of for end in _JOURNALS)


def copy_data(source: Path, target: Path) -> None:
    """Copy a file or a folder; a database of SQLite with its journals.

    As files: SQLite itself, asked to read, leaves journals beside a database that had none.
    """
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*-shm"))
        return
    shutil.copy2(source, target)
    for end in _KEPT_JOURNALS:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(f"{source}{end}", f"{target}{end}")
