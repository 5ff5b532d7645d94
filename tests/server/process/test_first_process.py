"""Process 1 of a container: it reaps, passes signals on, ends with the service's code, and does no more."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until

from ..drain import ROOT, port_of
from ..service import Running, free_port, get, running

APP = "tests.apps.inherited:app"
SPACE: tuple[str, ...] = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
FLAGS = ("--ops-port", "off", "--drain-delay", "0", "--grace", "5")
if os.geteuid():
    SPACE = (*SPACE, "--user", "--map-root-user")

MODES = pytest.mark.parametrize("workers", [1, 2], ids=["one-process", "two-workers"])


def _namespaces() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*SPACE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _namespaces(), reason="PID namespaces are not to be had here (unshare)")


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def group(pid: int) -> tuple[int, int]:
    """Return a process's group, and the group in the foreground of its terminal (proc(5), fields 5 and 8)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[2]), int(fields[5])


class Container:
    """A PID namespace whose first process is `roadworthy`."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.first = until(lambda: children(process.process.pid), "process 1 is there")[0]

    def signal(self, number: int) -> None:
        """Send process 1 a signal, from outside, as `docker kill` does."""
        os.kill(self.first, number)

    @property
    def service(self) -> int:
        """The process that is the service."""
        return int(until(lambda: children(self.first), "the service is there")[0])

    def zombies(self) -> list[int]:
        """Return the processes of the namespace that nobody has waited for."""
        space = os.readlink(f"/proc/{self.first}/ns/pid")
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns" / "pid") == space:
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    found += [int(entry.name)] if state == "Z" else []
            except OSError:
                continue
        return found

    def status(self, name: str, pid: int) -> str:
        """Return a line of proc(5), ``status``."""
        text = Path(f"/proc/{pid}/status").read_text()
        return text.partition(f"{name}:")[2].partition("\n")[0].strip()


@contextmanager
def container(
    folder: Path, *flags: str, workers: int = 1, given: str = "", around: tuple[str, ...] = ()
) -> Iterator[Container]:
    """Start a service as process 1 of a PID namespace, by a program that first does what is `given`."""
    words = [*SPACE, *around, sys.executable, "-m", "roadworthy"]
    program = (
        f"import os, socket, sys\n{given}\nwords = {words!r}\nos.execvp(words[0], [*words, *sys.argv[1:]])"
    )
    every = ("run", APP, *FLAGS, "--workers", str(workers), *flags)
    with running(*every, cwd=folder, env={"PYTHONPATH": str(ROOT)}, program=["-c", program]) as process:
        yield Container(process)


def asked(port: int, path: str) -> Any:
    """Return what the app answers."""
    return json.loads(get(f"http://127.0.0.1:{port}", path)[1])


def heard(port: int, count: int) -> bool:
    """Tell whether the app has got so many signals."""
    return len(asked(port, "/heard")) == count


@MODES
def test_orphans_are_reaped_and_exit_codes_kept(tmp_path: Path, workers: int) -> None:
    """What handlers and offloaded work leave behind becomes no zombie; codes reach who waits for them."""
    with container(tmp_path, "--port", "0", workers=workers) as one:
        port = port_of(one.process)
        for _ in range(5):
            assert asked(port, "/orphans") == {"codes": [5, 4 << 8]}
        assert asked(port, "/")["child"]["codes"] == [7, -9]
        assert asked(port, "/")["process"]["code"] == 6
        until(lambda: not one.zombies(), "all are reaped")
        one.signal(signal.SIGTERM)
        assert one.process.exit_code() == 0


def test_signals_are_passed_on(tmp_path: Path) -> None:
    """Whatever process 1 is sent, the service gets, also what means nothing to the server."""
    names = ("SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGCONT", "SIGQUIT")
    with container(tmp_path, "--port", "0") as one:
        port = port_of(one.process)
        for count, name in enumerate(names, 1):
            one.signal(signal.Signals[name])
            until(partial(heard, port, count), name)
        assert asked(port, "/heard") == list(names)
        one.signal(signal.SIGHUP)
        assert one.process.exit_code() == 0
        assert one.process.record_of("draining")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_are_reloaded_and_ended_through_it(tmp_path: Path, number: signal.Signals) -> None:
    """SIGHUP reloads, SIGTERM and SIGINT end in order: the signals of the supervisor's table."""
    with container(tmp_path, "--port", "0", workers=2) as one:
        port_of(one.process)
        one.signal(signal.SIGHUP)
        one.process.record("reloaded")
        one.signal(number)
        assert one.process.exit_code() == 0
        assert one.process.record_of("ended")["code"] == 0


def test_the_service_s_end_is_its_own(tmp_path: Path) -> None:
    """A service that is killed ends process 1 with 128 and the signal; one that is refused with its code."""
    with container(tmp_path, "--port", "0") as one:
        port_of(one.process)
        os.kill(one.service, signal.SIGKILL)
        assert one.process.exit_code() == 128 + signal.SIGKILL
    with container(tmp_path, "--port", "nonsense") as one:
        assert one.process.exit_code() == 2


def test_a_signal_before_the_service_is_up(tmp_path: Path) -> None:
    """As soon as process 1 has its place, which its child or blocked signals show, SIGTERM ends the start."""
    with container(tmp_path, "--port", "0") as one:
        until(
            lambda: (
                one.process.process.poll() is not None
                # The kernel shows signals as not blocked while sigwait(3) waits for them.
                or children(one.first)
                # unshare(1) itself blocks SIGTERM and SIGINT around its fork, and nothing else.
                or int(one.status("SigBlk", one.first), 16) >> (signal.SIGUSR1 - 1) & 1
            ),
            "it takes signals",
        )
        one.signal(signal.SIGTERM)
        assert one.process.exit_code() in (0, 128 + signal.SIGTERM)


def test_it_holds_nothing_of_the_service(tmp_path: Path) -> None:
    """Process 1 has no files of the service open, is in no folder of it, and stays small."""
    with container(tmp_path, "--port", "0", given="os.dup2(0, 50, inheritable=True)") as one:
        port_of(one.process)
        assert os.path.lexists(f"/proc/{one.service}/fd/50")
        assert sorted(os.listdir(f"/proc/{one.first}/fd")) == ["0", "1", "2"]
        assert os.readlink(f"/proc/{one.first}/cwd") == "/"
        first, service = (int(one.status("VmRSS", pid).split()[0]) for pid in (one.first, one.service))
        assert first < service / 3, (first, service)


def test_sockets_that_systemd_passes_to_process_1(tmp_path: Path) -> None:
    """`LISTEN_PID=1` names the service, which takes the sockets (sd_listen_fds(3))."""
    port = free_port()
    given = (
        f"listener = socket.create_server(('127.0.0.1', {port}))\n"
        "os.dup2(listener.detach(), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID='1')"
    )
    with container(tmp_path, given=given) as one:
        assert port_of(one.process) == port
        assert asked(port, "/heard") == []
        one.signal(signal.SIGTERM)
        assert one.process.exit_code() == 0


def test_ctrl_c_counts_once(tmp_path: Path) -> None:
    """On a terminal Ctrl-C reaches the service once: a second SIGINT would cut what is in flight."""
    ours, theirs = pty.openpty()
    given = f"os.dup2(os.open({os.ttyname(theirs)!r}, os.O_RDWR), 0)"
    try:
        with (
            container(tmp_path, "--port", "0", given=given, around=("setsid", "--ctty")) as one,
            ThreadPoolExecutor(1) as threads,
        ):
            port = port_of(one.process)
            assert len({group(one.first)[0], *group(one.service)}) == 2  # the service's is in the foreground
            slow = threads.submit(get, f"http://127.0.0.1:{port}", "/slow")
            one.process.record("slow")
            os.write(ours, b"\x03")
            assert slow.result()[0] == 200
            assert one.process.exit_code() == 0
    finally:
        os.close(ours)
        os.close(theirs)
