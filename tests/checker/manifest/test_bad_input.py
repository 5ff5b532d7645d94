"""What goes wrong with a check itself: a clear message, the right exit code, nothing left, nothing lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy.checker import ExitCode
from tests.free_port import free_port
from tests.patience import DEADLINE

ROOT = Path(__file__).parents[3]
_ZOO = [sys.executable, "-m", "tests.zoo"]
# Answers everything, counts its starts in a file, and does what MODE says.
_SERVER = """
import http.server, os, pathlib, signal, socket, sys, time
mode, starts = os.environ.get("MODE", ""), pathlib.Path(os.environ["STARTS"])
with starts.open("a") as file:
    file.write(f"{os.getpid()}\\n")
number = len(starts.read_text().split())
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        known = self.path == "/livez"
        if mode == "dies" and not known:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "dies slowly" and not known:
            self.server.socket.shutdown(socket.SHUT_RDWR)
            self.connection.shutdown(socket.SHUT_RDWR)
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "never ends" and not known:
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\n")
            time.sleep(600)
        status = 404
        if known:
            # On the first start liveness is broken, on the second it is not.
            status = 500 if mode == "flaky" and number == 2 else 200
        body = b'{"status": "x"}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with a manifest; whatever was started from it has to be gone at the end."""
    (tmp_path / "server.py").write_text(_SERVER)
    lines = [
        "[start]",
        f"command = {json.dumps([sys.executable, 'server.py'])}",
        "[listen]",
        'port_env = "PORT"',
        "[health]",
        'live = "/livez"',
        "[ready]",
        'path = "/livez"',
        'status = "200-500"',
        'timeout = "20s"',
    ]
    (tmp_path / "roadworthy.toml").write_text("\n".join(lines) + "\n")
    yield tmp_path
    wait_for(lambda: not any(map(alive, started(tmp_path))), "a service was left behind")


def started(folder: Path) -> list[int]:
    """Return the ids of the services that were started."""
    file = folder / "starts"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def alive(pid: int) -> bool:
    """Tell whether a process runs, zombies aside."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def environment(folder: Path, mode: str) -> dict[str, str]:
    """Return the environment of a check whose service is in this mode."""
    own = {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    return {**os.environ, **own, "MODE": mode, "STARTS": str(folder / "starts")}


def command(*arguments: str) -> list[str]:
    """Return the command line of a check."""
    return [sys.executable, "-m", "roadworthy", "check", *arguments]


def check(folder: Path, mode: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a check to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder, mode),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def verdicts(folder: Path) -> dict[str, Any]:
    """Return the report by the ids of the assertions."""
    report = json.loads((folder / "out.json").read_text("utf-8"))
    return {entry["id"]: entry for entry in report["assertions"]}


@pytest.mark.parametrize("mode", ["dies", "dies slowly"])
def test_a_service_that_is_killed_in_the_middle(folder: Path, mode: str) -> None:
    """When the service dies under a probe the exit is 3, the report says so, and other verdicts stay."""
    done = check(folder, mode, "--only", "HLT-1,ERR-1", "--report", "json=out.json")
    assert done.returncode == ExitCode.UNREACHABLE, done.stdout + done.stderr
    assert "the service ended with signal SIGKILL during ERR-1" in done.stdout
    assert "started again" in done.stdout
    assert {name: entry["verdict"] in {"fail", "error"} for name, entry in verdicts(folder).items()} == {
        "ERR-1": True,
        "HLT-1": True,
    }


def test_what_fails_once_is_flaky(folder: Path) -> None:
    """What fails on one process and holds on a fresh one is no finding: it is inconclusive, and said so."""
    (folder / "starts").write_text("0\n")
    done = check(folder, "flaky", "--only", "HLT-1", "--report", "json=out.json")
    entry = verdicts(folder)["HLT-1"]
    assert (entry["verdict"], entry["flaky"]) == ("inconclusive", True), done.stdout + done.stderr
    assert re.search(r"flaky: fail at first, (pass|warn) on a fresh process", done.stdout)
    assert done.returncode == ExitCode.INCONCLUSIVE


def test_a_service_that_does_not_stop(folder: Path) -> None:
    """A service that ignores SIGTERM is killed at the end."""
    done = check(folder, "deaf", "--only", "HLT-1")
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr


def interrupted(folder: Path, mode: str, number: signal.Signals, *arguments: str) -> subprocess.Popen[str]:
    """Start a check, and send it a signal when its first service runs and a verdict was told."""
    process = subprocess.Popen(
        command("--only", "HLT-1,ERR-1", *arguments),
        cwd=folder,
        env=environment(folder, mode),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("roadworthy check"):
            break
    wait_for(lambda: any(map(alive, started(folder))), "no service was started")
    process.send_signal(number)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_loses_nothing(folder: Path, number: signal.Signals) -> None:
    """A check that is told to stop ends with 130, has written its reports, and leaves nothing."""
    process = interrupted(
        folder, "never ends", number, "--report", "json=out.json", "--report", "junit=out.xml"
    )
    out, error = process.communicate(timeout=DEADLINE)
    assert process.returncode == ExitCode.INTERRUPTED, out + error
    assert "the check was interrupted" in out
    assert set(verdicts(folder)) == {"ERR-1", "HLT-1"}
    assert (folder / "out.xml").exists()


def test_a_killed_check_leaves_nothing(folder: Path) -> None:
    """When the checker is killed with -9, the service that it started ends too."""
    process = interrupted(folder, "deaf never ends", signal.SIGKILL)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGKILL
    assert started(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "yaml=x"], "the formats are json, text, junit, sarif, html"),
        (["--report", "json=missing/out.json"], "there is no folder missing"),
        (["--only", "RTL-99"], "no assertion, family or item is called 'RTL-99'; did you mean RTL-9?"),
        (["--profile", "slow"], "neither quick nor full"),
        (["--manifest", "other.toml"], "cannot read other.toml"),
        (["https://example.com"], "not of the form http://127.0.0.1:8000"),
    ],
)
def test_a_wrong_command_line(folder: Path, arguments: list[str], message: str) -> None:
    """What is asked for wrongly is refused with 2 before anything is started."""
    done = check(folder, "", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert started(folder) == []


def test_a_url_that_nobody_serves(folder: Path) -> None:
    """In URL mode a service that is not there is told as such, and the exit is 3."""
    text = '[ready]\ntimeout = "1s"\n[health]\nlive = "/livez"\n'
    (folder / "roadworthy.toml").write_text(text)
    done = check(folder, "", "--only", "HLT-1", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, "was not ready within 1 s" in done.stderr) == (3, True), done.stderr


def test_the_exit_codes_in_the_help_are_those_of_the_table(folder: Path) -> None:
    """The help names each exit code."""
    words = check(folder, "", "run", "--help").stdout
    assert all(f" {int(code)} " in words for code in ExitCode)


def waivers(folder: Path) -> str:
    """Return the waivers of the manifest as they are written."""
    return (folder / "roadworthy.toml").read_text().partition("[[waivers]]")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CMP-3"], "Missing option '--reason'"),
        (["CMP-3", "--reason", " "], "say why this is acceptable"),
        (["CMP-33", "--reason", "x"], "did you mean CMP-3?"),
        (["CMP-3", "--reason", "x", "--expires", "soon"], "must be a date"),
        (["CMP-3", "--reason", "x", "--expires", "2025-01-01"], "has come already"),
    ],
)
def test_a_wrong_waiver_is_not_written(folder: Path, arguments: list[str], message: str) -> None:
    """A waiver needs a reason, an assertion that exists and a day to come; else the file stays as it was."""
    done = check(folder, "", "waive", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert waivers(folder) == ""


def test_waivers_are_looked_after(folder: Path) -> None:
    """A waiver of another route does not cover; what covers nothing or has expired is noticed."""
    base = (folder / "roadworthy.toml").read_text()
    expired = '[[waivers]]\nid = "HLT-1"\nreason = "x"\nexpires = 2025-01-01\n'
    (folder / "roadworthy.toml").write_text(base + expired)
    done = check(folder, "", "waive", "HLT-1", "--reason", "elsewhere", "--route", "/other*", "--owner", "me")
    assert done.returncode == 0, done.stderr
    assert 'owner = "me"' in waivers(folder)
    done = check(folder, "", "--only", "HLT-1")
    assert done.returncode == 0, done.stdout
    told = " ".join(done.stdout.split())
    assert "the waiver of HLT-1 (line 16) covers nothing any more" in told
    assert "the waiver of HLT-1 (line 11) expired on 2025-01-01" in told
