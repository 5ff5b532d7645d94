"""How the worker processes of one service find each other, under any server.

A service's workers have one parent: the server's supervisor. Its process id and start time name the group,
and the group has a folder in memory that only this user can read, for files that its workers share. Nothing
is asked of the server: uvicorn, granian and hypercorn start their workers through :mod:`multiprocessing`,
gunicorn forks.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ._process import alive, start_of

__all__ = ("ENVIRONMENT_VARIABLE", "WorkerGroup", "process_key", "worker_group")

ENVIRONMENT_VARIABLE = "ROADWORTHY_WORKER_GROUP"
"""Names the group outright; a supervisor sets it to its own :func:`process_key`. Processes with the same
value and user share their counts, whoever started them."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_PROCESS_KEY = re.compile(r"(\d+)-(\d+)-(\d+)", re.ASCII)


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


def worker_group() -> WorkerGroup | None:
    """Return the group this process is a worker of, or None when it serves alone.

    Call it in the worker, after any fork. The first worker of a group makes the folder and removes those of
    groups whose parent is gone.

    Raises:
        ValueError: ``ROADWORTHY_WORKER_GROUP`` is not a name.
        RuntimeError: the folder belongs to somebody else or others may enter it.
    """
    key = _group_key()
    if key is None:
        return None
    base = _base()
    directory = base / key
    if _make_private(directory):
        _remove_stale(base)
    return WorkerGroup(key, directory)


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
    """Tell whether a process runs our executable: a forked worker's parent does, a shell does not."""
    try:
        return os.path.samefile(f"/proc/{pid}/exe", "/proc/self/exe")
    except OSError:
        return False


def _base() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - the folder below it is checked for owner and mode
    root = memory if os.access(memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    base = root / f"roadworthy-{os.geteuid()}"
    _make_private(base)
    return base


def _make_private(directory: Path) -> bool:
    """Make a folder for this user alone; return whether it is new."""
    try:
        directory.mkdir(0o700)
        new = True
    except FileExistsError:
        new = False
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise RuntimeError(
            f"{directory} must be a folder that this user owns and nobody else may enter (mode 0700); "
            "remove it and start again"
        )
    return new


def _remove_stale(base: Path) -> None:
    """Remove the folders of groups whose parent is gone, as far as this PID namespace can tell."""
    for entry in base.iterdir():
        match = _PROCESS_KEY.fullmatch(entry.name)
        if match and match[1] == _pid_namespace() and not alive(int(match[2]), match[3]):
            shutil.rmtree(entry, ignore_errors=True)
