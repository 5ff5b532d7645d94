"""What Linux reports about processes: who computes, and who merely waits."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from roadworthy.checker.service.linux import processes, runnable_threads, threads_of
from tests.patience import DEADLINE


@contextmanager
def running(code: str) -> Iterator[int]:
    """Run some Python until the block ends; give its process id once it has begun."""
    with subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True)\n{code}"], stdout=subprocess.PIPE
    ) as one:
        assert one.stdout is not None
        one.stdout.readline()
        try:
            yield one.pid
        finally:
            one.kill()


def looks(pids: list[int], wanted: int) -> int:
    """Return in how many of twenty looks so many threads were running."""
    seen = 0
    for _ in range(20):
        seen += runnable_threads(pids) >= wanted
        time.sleep(0.005)
    return seen


def test_who_computes_is_told_from_who_waits() -> None:
    """Two processes that compute are both runnable, on any machine; one that sleeps is not."""
    with running("while True: pass") as one, running("while True: pass") as two:
        assert looks([one, two], 2) > 15
    with running("import time; time.sleep(60)") as waiting:
        assert looks([waiting], 1) < 10


def test_threads_are_counted() -> None:
    """Each thread of a process counts, and a process that is gone has none."""
    code = (
        "import threading, time\nfor _ in range(4): threading.Thread(target=time.sleep, args=(60,)).start()"
    )
    with running(code + "\ntime.sleep(60)") as pid:
        deadline = time.monotonic() + DEADLINE
        while threads_of([pid]) != 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threads_of([pid]) == 5
    assert threads_of([pid]) == 0


def test_processor_time_grows_with_work() -> None:
    """The ticks of a process that computes rise."""
    with running("while True: pass") as pid:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and not any(
            one.pid == pid and one.ticks > 5 for one in processes()
        ):
            time.sleep(0.02)
        assert next(one.ticks for one in processes() if one.pid == pid) > 5
