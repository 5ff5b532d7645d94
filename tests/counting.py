"""Several real processes that count at once, for the tests and the proofs of exactness."""

import subprocess
import sys
from pathlib import Path

from tests.patience import DEADLINE

__all__ = ("count_in_processes", "hold_locks")

_PROGRAM = str(Path(__file__).parent / "apps" / "counting.py")


def count_in_processes(kind: str, where: str, rate: str, decisions: int, processes: int) -> int:
    """Share ``decisions`` on one key among processes that start together; return how many were admitted."""
    command = [sys.executable, _PROGRAM, kind, where, rate, str(decisions // processes)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=DEADLINE)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return sum(int(answer) for answer in answers)


def hold_locks(where: str) -> "subprocess.Popen[str]":
    """Return a process that holds every lock of a shared table. The caller ends it."""
    process = subprocess.Popen(
        [sys.executable, _PROGRAM, "hold", where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
