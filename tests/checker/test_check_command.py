"""``roadworthy check`` as a person calls it: targets, exit codes, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from roadworthy.checker.report.json import SCHEMA
from tests.free_port import free_port
from tests.patience import DEADLINE

ROOT = Path(__file__).parents[2]
ZOO = [sys.executable, "-m", "tests.zoo"]


def check(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", "check", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def manifest(folder: Path, *more: str) -> None:
    """Write a manifest that starts the zoo's service."""
    command = json.dumps(ZOO)
    lines = ["[start]", f"command = {command}", "[listen]", 'port_env = "PORT"', *more]
    (folder / "roadworthy.toml").write_text("\n".join(lines) + "\n")


def test_findings_are_told_with_a_command_to_replay(tmp_path: Path) -> None:
    """A failing assertion is shown with a replay, the report keeps its schema, the exit is 1."""
    manifest(tmp_path, "[health]", 'live = "/livez"')
    done = check(tmp_path, "--only", "HLT-1", "--report", "json=out.json", ZOO_FAULT="hlt-1-wants-login")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL   HLT-1 high  liveness is not a success" in done.stdout
    assert "replay    curl" in done.stdout
    report = json.loads((tmp_path / "out.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    assert [entry["verdict"] for entry in report["assertions"]] == ["fail"]


def test_a_good_service_is_proved(tmp_path: Path) -> None:
    """Without findings the exit is 0 and the item is proved."""
    manifest(tmp_path, "[health]", 'live = "/livez"')
    done = check(tmp_path, "--only", "HLT-1")
    assert (done.returncode, "proved 1 of 1 items" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_server_of_the_same_environment_is_found(tmp_path: Path) -> None:
    """A command of the environment that the checker runs in need not be on the path."""
    manifest(tmp_path, "[health]", 'live = "/livez"')
    text = (tmp_path / "roadworthy.toml").read_text()
    command = '["roadworthy", "run", "tests.apps.raw_asgi:app", "--ops-port", "0", "--drain-delay", "0"]'
    (tmp_path / "roadworthy.toml").write_text(text.replace(json.dumps(ZOO), command))
    done = check(tmp_path, "--only", "HLT-1", PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_service_with_a_port_of_its_own_is_started_once_at_a_time(tmp_path: Path) -> None:
    """Where the port cannot be chosen, phases and probes wait for each other."""
    port = free_port()
    manifest(tmp_path, "[health]", 'live = "/livez"', "[env.set]", f'PORT = "{port}"')
    text = (tmp_path / "roadworthy.toml").read_text()
    (tmp_path / "roadworthy.toml").write_text(text.replace('port_env = "PORT"', f"port = {port}"))
    done = check(tmp_path, "--only", "HLT-1,LOG-8,ENV-9,RTL-1,SHUT-4")
    assert "listens on" not in done.stdout, done.stdout
    assert "pass         HLT-1" in done.stdout, done.stdout + done.stderr


def test_a_waived_finding_does_not_fail(tmp_path: Path) -> None:
    """``check waive`` writes a waiver; the finding is still shown, and the exit is 0."""
    manifest(tmp_path, "[health]", 'live = "/livez"')
    assert check(tmp_path, "waive", "HLT-1", "--reason", "behind a login").returncode == 0
    done = check(tmp_path, "--only", "HLT-1", ZOO_FAULT="hlt-1-wants-login")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waived" in done.stdout
    assert "behind a login" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[start]\ncomand = ["a"]',
            "roadworthy.toml:2: start.comand: unknown key; did you mean command?",
        ),
        ("[health]\nlive = 3", "roadworthy.toml:2: health.live: must be a quoted string, not a number"),
        ("[start", "roadworthy.toml:1: this is not TOML"),
        ('[start]\nurl = "http://example.com:80"', "is not this machine"),
        ('[[waivers]]\nid = "CMP-99"\nreason = "x"', "unknown assertion 'CMP-99'; did you mean CMP-9?"),
        ("version = 1", "nothing to check"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in the manifest is named with its line, and the exit is 2."""
    (tmp_path / "roadworthy.toml").write_text(text)
    done = check(tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["-c", "import sys; sys.exit('no database')"], "no database"),
        (["-c", "import time; time.sleep(60)"], "GET / gave refused (Connect call failed"),
        (
            [
                "-c",
                "import os, socket; s = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
                "while True: c, _ = s.accept(); c.recv(999); c.sendall(b'SSH-2.0\\r\\n'); c.close()",
            ],
            "does not speak HTTP/1.1",
        ),
    ],
    ids=["ends", "never listens", "speaks something else"],
)
def test_a_service_that_does_not_start(tmp_path: Path, command: list[str], message: str) -> None:
    """A service that ends, never listens or answers garbage is told as such, and the exit is 3."""
    lines = [
        "[start]",
        f"command = {json.dumps([sys.executable, *command])}",
        "[listen]",
        'port_env = "PORT"',
    ]
    (tmp_path / "roadworthy.toml").write_text("\n".join([*lines, "[ready]", 'timeout = "1s"']))
    done = check(tmp_path, "--only", "ERR-1")
    assert (done.returncode, message in done.stderr) == (3, True), done.stdout + done.stderr


def test_a_url_that_refuses_is_reported_at_once(tmp_path: Path) -> None:
    """A service that should run and does not is not waited for, and the message names the remedies."""
    done = check(tmp_path, "--only", "ERR-1", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 3
    assert "nothing listens on http://127.0.0.1:" in done.stderr
    assert "start the service first" in done.stderr
    assert "ready.timeout" in done.stderr
    assert "was not ready within" not in done.stderr


_WARMS_UP = """
import http.server, os, sys, time
for step in range(int(sys.argv[1])):
    print(f"index {step} of many is loaded", flush=True)
    time.sleep(0.25)
address = ("127.0.0.1", int(os.environ["PORT"]))
http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def starts_slowly(folder: Path, steps: int) -> None:
    """Write a manifest of a service that takes so many quarters of a second, and may take one second."""
    (folder / "slow.py").write_text(_WARMS_UP)
    command = json.dumps([sys.executable, "slow.py", str(steps)])
    lines = ["[start]", f"command = {command}", "[listen]", 'port_env = "PORT"', "[ready]", 'timeout = "1s"']
    (folder / "roadworthy.toml").write_text("\n".join(lines))


def test_a_start_that_still_works_is_waited_for(tmp_path: Path) -> None:
    """A service that goes on writing is not given up on when ready.timeout is over."""
    starts_slowly(tmp_path, 8)
    done = check(tmp_path, "--only", "ERR-1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_start_without_end_is_given_up(tmp_path: Path) -> None:
    """It is waited for a few times as long and no longer; the message has the limit's name and the output."""
    starts_slowly(tmp_path, 10_000)
    done = check(tmp_path, "--only", "ERR-1")
    assert done.returncode == 3
    assert "was not ready within 1 s (waited for " in done.stderr
    assert "ready.timeout in the manifest sets how long a start may take" in done.stderr
    assert "of many is loaded" in done.stderr


def test_a_broken_manifest_is_refused_by_every_way_to_ask(tmp_path: Path) -> None:
    """--list and --dry-run refuse it with the words of a run."""
    (tmp_path / "roadworthy.toml").write_text('[start]\ncomand = ["a"]')
    for arguments in ((), ("--list",), ("--dry-run",)):
        done = check(tmp_path, *arguments)
        assert done.returncode == 2, arguments
        assert "roadworthy.toml:2: start.comand: unknown key; did you mean command?" in done.stderr


def test_a_list_needs_no_target(tmp_path: Path) -> None:
    """Without a manifest, or with one that starts nothing, the assertions are listed all the same."""
    assert "HLT-1" in check(tmp_path, "--list", "--only", "HLT").stdout
    (tmp_path / "roadworthy.toml").write_text("version = 1")
    done = check(tmp_path, "--list", "--only", "HLT")
    assert (done.returncode, "HLT-1" in done.stdout) == (0, True), done.stderr


def test_what_is_not_declared_comes_with_its_lines(tmp_path: Path) -> None:
    """It is counted apart, keeps its exit code, and its lines can be pasted below the manifest."""
    manifest(tmp_path)
    done = check(tmp_path, "--only", "HLT-1")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "1 assertion: 1 not declared" in done.stdout
    assert "Declare health.live to try 1 more" in done.stdout
    lines = done.stdout.partition("to adapt:\n")[2].partition("\n\n")[0]
    file = tmp_path / "roadworthy.toml"
    file.write_text(file.read_text() + lines + "\n")
    done = check(tmp_path, "--only", "HLT-1", "--quiet")
    (line,) = done.stdout.splitlines()
    assert line.startswith("proved 1 of 1 items"), done.stderr


def test_a_stranger_on_the_port_is_not_judged(tmp_path: Path) -> None:
    """A port on which something answers already is refused: the check would judge the wrong service."""
    import socket

    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        lines = ["[start]", f"command = {json.dumps(ZOO)}", "[listen]", f"port = {port}"]
        (tmp_path / "roadworthy.toml").write_text("\n".join(lines))
        done = check(tmp_path, "--only", "ERR-1")
    assert (done.returncode, "something else listens" in done.stderr) == (3, True), done.stderr


def test_a_command_after_two_dashes(tmp_path: Path) -> None:
    """The words after ``--`` are the command, its own options included."""
    done = check(tmp_path, "--only", "ERR-1", "--", sys.executable, "-c", "raise SystemExit('mine')")
    assert (done.returncode, "mine" in done.stderr) == (3, True), done.stderr
