"""Which process is meant by a number: a pid alone is given to another process after a while."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

__all__ = ("alive", "process_families", "start_of")

_GONE = "ZX"
"""States of a process that runs no more: zombie and dead (proc(5))."""


def start_of(pid: int) -> str:
    """Return when ``pid`` was started, in clock ticks since boot, or ``"0"`` where it does not run.

    Source: proc(5), field 22 of ``/proc/<pid>/stat``. Without ``/proc`` every running process has ``"1"``.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The command's name may hold blanks and brackets; the last bracket ends it.
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return "0" if os.path.isdir("/proc/self") or not _signalled(pid) else "1"
    return "0" if fields[0].decode() in _GONE else fields[19].decode()


def alive(pid: int, start: str) -> bool:
    """Return whether the process that had ``pid`` and started at ``start`` still runs."""
    return start_of(pid) == start


def process_families(pids: Iterable[int]) -> list[Metric]:
    """Return the ``process_*`` gauges of several workers as those of one service.

    Memory and descriptors are added up; the start is that of the oldest worker and the descriptor limit the
    lowest one. The counter of CPU seconds is left out, because here it would fall when a worker ends.
    """
    found: dict[str, GaugeMetricFamily] = {}
    values: dict[str, list[float]] = {}
    for pid in pids:
        for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            if isinstance(family, GaugeMetricFamily):
                found[family.name] = family
                values.setdefault(family.name, []).append(family.samples[0].value)
    smallest = ("process_start_time_seconds", "process_max_fds")
    return [
        GaugeMetricFamily(
            name, family.documentation, value=min(values[name]) if name in smallest else sum(values[name])
        )
        for name, family in found.items()
    ]


def _signalled(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
