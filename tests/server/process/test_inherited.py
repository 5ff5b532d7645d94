"""The state a process is given at its start: what nothing works with is reset, all else is respected.

Each test states what is inherited, in all the processes of a service: the first one, workers, offload workers
and what handlers start.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.apps.inherited import state_of
from tests.patience import DEADLINE, until

from ..drain import ROOT, port_of
from ..service import Running, environment, free_port, get, running

pytestmark = pytest.mark.long

APP = "tests.apps.inherited:app"
FLAGS = ("--ops-port", "off", "--drain-delay", "0", "--grace", "5")
CLOSED = [some for count in (1, 2, 3) for some in combinations(range(3), count)]
MODES = pytest.mark.parametrize("workers", [1, 2], ids=["one-process", "two-workers"])


@contextmanager
def started(folder: Path, given: str, *flags: str, workers: int = 1) -> Iterator[Running]:
    """Start a service by a program that first makes what is to be inherited."""
    program = (
        f"import os, resource, signal, sys\n{given}\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'roadworthy', *sys.argv[1:]])"
    )
    every = ("run", APP, *FLAGS, "--workers", str(workers), *flags)
    with running(*every, cwd=folder, env={"PYTHONPATH": str(ROOT)}, program=["-c", program]) as process:
        yield process


def state(port: int) -> dict[str, Any]:
    """Return what the processes of the service see; 503 while the offload worker starts."""

    def whole() -> dict[str, Any] | None:
        status, body = get(f"http://127.0.0.1:{port}")
        assert status in (200, 503, 504)
        found: dict[str, Any] = json.loads(body)
        return found if status == 200 else None

    seen: dict[str, Any] = until(whole, "each process reports")
    return seen


def first_process(process: Running) -> dict[str, Any]:
    """Return which signals the process that was started blocks and ignores."""
    return state_of(Path(f"/proc/{process.process.pid}/status").read_text())


@pytest.mark.parametrize(
    ("closed", "workers"),
    # Workers get the streams of the first process, which opens them in the same way.
    [*((some, 1) for some in CLOSED), ((0,), 2), ((1, 2), 2), ((0, 1, 2), 2)],
    ids=lambda given: "".join(map(str, given)) if isinstance(given, tuple) else f"{given}",
)
def test_closed_standard_streams_are_dev_null(tmp_path: Path, closed: tuple[int, ...], workers: int) -> None:
    """Whichever of 0, 1 and 2 are closed, no socket gets their numbers, and the end is an orderly one."""
    port = free_port()
    given = f"for number in {closed}: os.close(number)"
    with started(tmp_path, given, "--port", str(port), workers=workers) as process:

        def answers() -> bool:
            assert process.process.poll() is None
            try:
                return bool(get(f"http://127.0.0.1:{port}"))
            except (OSError, HTTPException):
                return False

        until(answers, "it answers")
        found = state(port)
        for place in ("process", "offload"):
            streams = found[place]["descriptors"]
            assert {str(number): streams.get(str(number)) for number in closed} == {
                str(number): os.devnull for number in closed
            }
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0, process.output + process.errors


def test_a_check_without_standard_streams_proves_the_same(tmp_path: Path) -> None:
    """Started by cron or a daemonizer the checker finds what it finds on a terminal."""
    (tmp_path / "main.py").write_text("from tests.apps.lifecycle import app\n")
    program = (
        "import os, sys\nfor number in range(3): os.close(number)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'roadworthy', 'check', 'main:app',"
        " '--only', 'LOG-1', '--report', 'json=found.json', '--profile', 'quick'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment({"PYTHONPATH": str(ROOT)}),
        timeout=4 * DEADLINE, check=False,
    )  # fmt: skip
    text = (tmp_path / "found.json").read_text()
    assert done.returncode == 0, text
    assert '"status": "pass"' in text or '"verdict": "pass"' in text, text


@MODES
def test_inherited_signals(tmp_path: Path, workers: int) -> None:
    """Blocked signals are unblocked, ignored ones stay ignored; SIGTERM and exit codes always work."""
    given = (
        "for one in ('HUP', 'INT', 'QUIT', 'TERM', 'CHLD', 'USR1'):\n"
        "    signal.signal(signal.Signals['SIG' + one], signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())"
    )
    with started(tmp_path, given, "--port", "0", workers=workers) as process:
        found = state(port_of(process))
        found["first"] = first_process(process)
        respected = {"SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1"}
        for place in ("first", "process", "child", "offload"):
            assert found[place]["blocked"] == [], place
            ignored = set(found[place]["ignored"]) - {"SIGPIPE", "SIGXFSZ"}  # the interpreter ignores these
            assert ignored == respected, place
        assert found["process"]["code"] == 6
        assert found["offload"]["code"] == 6
        assert found["child"]["codes"] == [7, -9]
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0, process.output + process.errors


@MODES
def test_signals_that_were_not_ignored(tmp_path: Path, workers: int) -> None:
    """Nothing is ignored where nothing was: Ctrl-C ends what handlers have started, too."""
    given = (
        "for one in ('HUP', 'INT', 'QUIT', 'TERM', 'CHLD', 'USR1'):\n"
        "    signal.signal(signal.Signals['SIG' + one], signal.SIG_DFL)"
    )
    with started(tmp_path, given, "--port", "0", workers=workers) as process:
        found = state(port_of(process))
        found["first"] = first_process(process)
        for place in ("first", "process", "child", "offload"):
            assert set(found[place]["ignored"]) <= {"SIGPIPE", "SIGXFSZ"}, place
        process.signal(signal.SIGINT)
        assert process.exit_code() == 0, process.output + process.errors


@MODES
def test_what_the_starter_chose_stays(tmp_path: Path, workers: int) -> None:
    """umask, niceness and the soft limit of descriptors are those of whoever started the service."""
    given = (
        "os.umask(0o037); os.nice(3)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    )
    with started(tmp_path, given, "--port", "0", workers=workers) as process:
        found = state(port_of(process))
        for place in ("process", "offload"):
            assert (found[place]["umask"], found[place]["files"]) == (0o037, 300), place
        niceness = min(os.nice(0) + 3, 19)
        assert found["process"]["nice"] == niceness
        assert found["offload"]["nice"] == min(niceness + 10, 19)


def test_further_descriptors_are_not_handed_on(tmp_path: Path) -> None:
    """A file that the starter left open stays in the first process, and no other gets it."""
    left = tmp_path / "left-open"
    left.touch()
    given = f"os.dup2(os.open({str(left)!r}, os.O_RDONLY), 50, inheritable=True)"
    with started(tmp_path, given, "--port", "0", workers=2) as process:
        found = state(port_of(process))
        assert os.readlink(f"/proc/{process.process.pid}/fd/50") == str(left)
        for place in ("process", "offload"):
            assert str(left) not in found[place]["descriptors"].values(), place


@MODES
def test_the_least_descriptors(tmp_path: Path, workers: int) -> None:
    """A service works within 32 descriptors; with less it is refused by one message that has the remedy."""
    lower = "resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))"
    with started(tmp_path, lower.format(32), "--port", "0", workers=workers) as process:
        assert state(port_of(process))["process"]["files"] == 32
    with started(tmp_path, lower.format(31), "--port", "0", workers=workers) as process:
        assert process.exit_code() == 2
        assert process.errors.startswith("roadworthy: this process may have 31 descriptors open")
        assert process.errors.count("\n") == 1


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000, reason="the hard limit is lower")
def test_descriptors_beyond_those_of_select(tmp_path: Path) -> None:
    """A starter that left more than 1,024 files open does not keep the workers from coming up (select(2))."""
    given = (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "for number in range(3, 1100): os.dup2(0, number, inheritable=True)"
    )
    with started(tmp_path, given, "--port", "0", workers=2) as process:
        assert state(port_of(process))["process"]["code"] == 6
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "nowhere:app"], 2),
        (["run", "nowhere:app", "--workers", "2"], 2),
        (["run", "main:app", "--no-such-flag"], 2),
        (["run", "main:app", "--port", "high"], 2),
        (["config", "--no-such-flag"], 2),
        (["explain", "NO-SUCH-ITEM"], 2),
        (["check", "--only", "NO-SUCH-ITEM", "main:app"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refusal_without_a_reader_keeps_its_exit_code(
    tmp_path: Path, words: list[str], code: int, variables: dict[str, str]
) -> None:
    """Where standard error is a pipe that nobody reads, the exit code still says what is wrong."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "roadworthy", *words], cwd=tmp_path, env=environment(variables),
            stderr=writing, timeout=DEADLINE, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.returncode == code


def test_a_background_check_gives_its_service_the_signals(tmp_path: Path) -> None:
    """A check that is itself deaf to SIGINT and SIGHUP starts a service that hears them."""
    program = (
        "import os, signal, sys\n"
        "for one in (signal.SIGHUP, signal.SIGINT): signal.signal(one, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'roadworthy', 'check', '--only', 'LOG-1', '--',"
        " '/bin/sh', '-c', 'grep SigIgn /proc/self/status >&2; exit 1'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=2 * DEADLINE, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert "SigIgn" in told, told
    mask = int(told.partition("SigIgn:")[2].split()[0], 16)
    assert not mask & (1 << signal.SIGINT - 1 | 1 << signal.SIGHUP - 1)
