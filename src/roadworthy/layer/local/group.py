"""How the worker processes of one service find each other, under any server.

A service's workers have one parent: the server's supervisor. Its process id and start time name the group,
and the group has a folder in memory that only this user can read, for files that its workers share. Nothing
is asked of the server: uvicorn, granian and hypercorn start their workers through :mod:`multiprocessing`,
gunicorn forks.

The folder is in the first place that has room, ``/dev/shm`` before all, for it is memory. Other users can
guess the name of its parent there, and one of them can plant a folder, a file or a link of that name. Then a
folder with a name that nobody can guess stands in for it; it is found again by its owner and mode.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .process import alive, start_of

__all__ = ("ENVIRONMENT_VARIABLE", "FolderError", "WorkerGroup", "process_key", "room_in", "worker_group")

ENVIRONMENT_VARIABLE = "ROADWORTHY_WORKER_GROUP"
"""Names the group outright; a supervisor sets it to its own :func:`process_key`. Processes with the same
value and user share their counts, whoever started them."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_PROCESS_KEY = re.compile(r"(\d+)-(\d+)-(\d+)", re.ASCII)


class FolderError(RuntimeError):
    """Raised when workers have no folder to share; ``str()`` names the folders, the need and the remedy."""


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The worker processes of one service on this machine.

    Parameters:
        key: names the group among those of this user.
        directory: a folder for the group's shared files, mode 0700. It outlives the workers and is removed by
        a
            later start, once the group's parent is gone.
    """

    key: str
    directory: Path


def worker_group(need: int = 0) -> WorkerGroup | None:
    """Return the group this process is a worker of, or None when it serves alone.

    Call it in the worker, after any fork. The first worker of a group makes the folder and removes those of
    groups whose parent is gone; the others find it.

    Parameters:
        need: bytes that the group will write; a place with less room is passed over when the folder is made.

    Raises:
        ValueError: ``ROADWORTHY_WORKER_GROUP`` is not a name.
        FolderError: there is no place for the folder, or it belongs to another user or others may enter it.
    """
    key = _group_key()
    return None if key is None else WorkerGroup(key, _folder(key, need))


def room_in(directory: Path) -> int:
    """Return the bytes that this user may still write to the file system of a folder (statvfs(3)).

    Raises:
        OSError: the folder is missing or hidden from this user.
    """
    found = os.statvfs(directory)
    # A tmpfs without a limit has no blocks to count.
    return found.f_bavail * found.f_frsize if found.f_blocks else sys.maxsize


def process_key(pid: int) -> str:
    """Return a name for a running process that no later process bears: PID namespace, process id, start time.

    Raises:
        ProcessLookupError: there is no such process.
    """
    started = start_of(pid)
    if started == "0":
        raise ProcessLookupError(f"there is no process {pid}")
    return f"{_pid_namespace()}-{pid}-{started}"


def _group_key() -> str | None:
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        if _KEY.fullmatch(named) is None:
            raise ValueError(
                f"{ENVIRONMENT_VARIABLE} is a name of up to 100 letters, digits, dots, dashes and underscores"
            )
        return named
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        pid = parent.pid
    elif "gunicorn.arbiter" in sys.modules and _same_program(os.getppid()):
        pid = os.getppid()
    else:
        return None
    try:
        return process_key(pid)
    except ProcessLookupError:
        # The supervisor is gone and this worker is about to be: it counts for itself.
        return None


def _pid_namespace() -> str:
    """Return the PID namespace's number: containers may share ``/dev/shm`` and not know each other's
    processes."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def _same_program(pid: int) -> bool:
    """Return whether a process runs our executable: a forked worker's parent does, a shell does not."""
    try:
        return os.path.samefile(f"/proc/{pid}/exe", "/proc/self/exe")
    except OSError:
        return False


def _folder(key: str, need: int) -> Path:
    roots = _roots()
    for base in [base for root in roots for base in _bases(root)]:
        directory = base / key
        if os.path.lexists(directory):
            return _checked(directory)
        _remove_stale(base)
    refused: list[str] = []
    for root in roots:
        try:
            room = room_in(root)
            if room < need:
                refused.append(f"{root} ({room / 2**20:.1f} MiB free)")
                continue
            directory = _base(root) / key
            directory.mkdir(0o700, exist_ok=True)
            return _checked(directory)
        except OSError as error:
            refused.append(f"{root} ({error.strerror})")
    raise FolderError(
        f"several workers share a folder, which needs {need / 2**20:.1f} MiB of room, and no place has it: "
        f"{', '.join(refused)}. Mount a tmpfs of that size on /dev/shm (Docker: --shm-size; Kubernetes: an "
        "emptyDir with medium: Memory), name another place with TMPDIR, or serve with one worker"
    )


def _roots() -> list[Path]:
    """Return where a folder may be made, the best first: memory, the user's own, then what tempfile takes."""
    named = (os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"))
    places = ("/dev/shm", *named, "/tmp", "/var/tmp")  # noqa: S108 - what is made there is private
    return list(dict.fromkeys(Path(place) for place in places if place and os.path.isabs(place)))


def _name() -> str:
    return f"roadworthy-{os.geteuid()}"


def _bases(root: Path) -> Iterator[Path]:
    """Yield the parents of groups' folders that are there and ours: the plain name, then random ones."""
    plain = root / _name()
    if _is_private(plain):
        yield plain
    try:
        names = sorted(name for name in os.listdir(root) if name.startswith(_name() + "-"))
    except OSError:
        return
    yield from (base for name in names if _is_private(base := root / name))


def _base(root: Path) -> Path:
    """Return a parent for groups' folders, made when there is none."""
    plain = root / _name()
    with contextlib.suppress(FileExistsError):
        plain.mkdir(0o700)
    found = next(_bases(root), None)
    return Path(tempfile.mkdtemp(prefix=_name() + "-", dir=root)) if found is None else found


def _checked(directory: Path) -> Path:
    if not _is_private(directory):
        raise FolderError(
            f"{directory} must be a folder that this user owns and nobody else may enter (mode 0700); "
            "remove it and start again"
        )
    return directory


def _is_private(directory: Path) -> bool:
    """Return whether this is a folder, and no link to one, of this user alone."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _remove_stale(base: Path) -> None:
    """Remove the folders of groups whose parent is gone, as far as this PID namespace shows."""
    try:
        entries = list(base.iterdir())
    except OSError:
        return
    for entry in entries:
        match = _PROCESS_KEY.fullmatch(entry.name)
        if match and match[1] == _pid_namespace() and not alive(int(match[2]), match[3]):
            shutil.rmtree(entry, ignore_errors=True)
