"""What Linux reports about processes: the tree of a session, its sockets, files and memory (proc(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = (
    "ProcessInfo",
    "established",
    "listening",
    "open_files",
    "processes",
    "runnable_threads",
    "session_of",
    "threads_of",
)

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LISTEN, _ESTABLISHED = "0A", "01"


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process as it is now.

    Parameters:
        started: clock ticks since boot; together with the pid it names a process for good.
        resident: bytes of memory (RSS).
        ticks: clock ticks of processor time that it has used so far.
    """

    pid: int
    parent: int
    session: int
    state: str
    name: str
    started: int
    resident: int
    ticks: int = 0

    @property
    def alive(self) -> bool:
        """Whether it is more than a zombie."""
        return self.state not in "ZX"


def processes() -> Iterator[ProcessInfo]:
    """Yield every process that can be seen."""
    for entry in os.listdir(_PROC):
        if entry.isdecimal():
            found = _process(int(entry))
            if found:
                yield found


def _process(pid: int) -> ProcessInfo | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name stands in brackets and may hold brackets and blanks itself.
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    return ProcessInfo(
        pid=pid,
        parent=int(rest[1]),
        session=int(rest[3]),
        state=rest[0],
        name=name,
        started=int(rest[19]),
        resident=int(rest[21]) * _PAGE,
        ticks=int(rest[11]) + int(rest[12]),
    )


def threads_of(pids: list[int]) -> int:
    """Return how many threads these processes have."""
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found += len(os.listdir(_PROC / str(pid) / "task"))
    return found


def runnable_threads(pids: list[int]) -> int:
    """Return how many threads of these processes run or wait for a processor right now."""
    found = 0
    for pid in pids:
        try:
            threads = os.listdir(_PROC / str(pid) / "task")
        except OSError:
            continue
        for thread in threads:
            try:
                text = (_PROC / str(pid) / "task" / thread / "stat").read_text()
            except OSError:
                continue
            found += text[text.rindex(")") + 2] == "R"
    return found


def session_of(pid: int, known: set[tuple[int, int]] | None = None) -> list[ProcessInfo]:
    """Return the processes of the session that ``pid`` leads, and all their descendants.

    Parameters:
        known: (pid, started) of processes that belonged to it before and may have left the session.
    """
    every = list(processes())
    found = {
        one.pid: one
        for one in every
        if one.session == pid or one.pid == pid or (known and (one.pid, one.started) in known)
    }
    grown = True
    while grown:
        more = {one.pid: one for one in every if one.parent in found and one.pid not in found}
        found |= more
        grown = bool(more)
    return sorted(found.values(), key=lambda one: one.pid)


def open_files(pid: int) -> dict[int, str]:
    """Return what each file descriptor of a process points to; empty when it is gone or not ours."""
    folder = _PROC / str(pid) / "fd"
    found: dict[int, str] = {}
    try:
        for entry in os.listdir(folder):
            try:
                found[int(entry)] = os.readlink(folder / entry)
            except OSError:
                continue
    except OSError:
        pass
    return found


def listening(pids: list[int]) -> set[tuple[str, int]]:
    """Return the addresses that these processes accept TCP connections on."""
    return {local for local, _ in _sockets(pids, _LISTEN)}


def established(pids: list[int]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Return local and remote address of each open TCP connection of these processes."""
    return _sockets(pids, _ESTABLISHED)


def _sockets(pids: list[int], state: str) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    inodes = {
        target[len("socket:[") : -1]
        for pid in pids
        for target in open_files(pid).values()
        if target.startswith("socket:[")
    }
    found: list[tuple[tuple[str, int], tuple[str, int]]] = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), (_PROC / "net" / table).open() as lines:
            next(lines, "")
            for line in lines:
                column = line.split()
                if state == _LISTEN != column[3]:
                    # The kernel lists those first, and thousands that wait for their end behind them.
                    break
                if column[3] == state and column[9] in inodes:
                    found.append((_address(column[1]), _address(column[2])))
    return found


def _address(text: str) -> tuple[str, int]:
    """Read ``0100007F:1F90``: the address in host byte order per 32 bits, and the port."""
    import ipaddress

    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)
