"""``make serve``: a person gets addresses and requests that work; a pipe gets records alone."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.free_port import free_port
from tests.patience import DEADLINE
from tests.reference_service import REFERENCE
from tests.server.service import environment, get, running

_MODULE = ["-m", "reference.serve"]


def _settings(folder: Path) -> dict[str, str]:
    return {
        "PORT": str(free_port()),
        "ROADWORTHY_OPS_PORT": str(free_port()),
        "DATABASE_URL": f"sqlite:///{folder}/data.db",
    }


def test_make_runs_the_module() -> None:
    """The target of the Makefile starts what the tests below start."""
    recipe = re.search(r"^serve:.*\n\t(.+)$", (REFERENCE.parents[1] / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert recipe[1] == f"@cd examples/reference && exec ../../$(BIN)/python {' '.join(_MODULE)}"


@pytest.mark.parametrize("operations", ["open", "off"])
def test_the_requests_that_are_printed_work(tmp_path: Path, operations: str) -> None:
    """On a terminal the start names both addresses and the data, and each printed curl line succeeds."""
    settings = _settings(tmp_path)
    if operations == "off":
        settings["ROADWORTHY_OPS_PORT"] = "off"
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *_MODULE], cwd=REFERENCE, env=environment(settings | {"COLUMNS": "200"}),
        stdout=follower, stderr=follower, stdin=follower,
    )  # fmt: skip
    os.close(follower)
    shown = ""
    end = time.monotonic() + DEADLINE
    try:
        while "listening" not in shown and time.monotonic() < end:
            shown += os.read(leader, 65536).decode().replace("\r\n", "\n")
        lines = [line for line in shown.splitlines() if line.startswith("curl ")]
        answers = [
            subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=DEADLINE, check=True)
            for line in lines
        ]
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(leader)
    assert f"service     http://127.0.0.1:{settings['PORT']} " in shown
    assert ("operations  " in shown) is (operations == "open")
    assert f"20 users in {tmp_path}/data.db" in shown
    assert [answer.stdout.split()[1] for answer in answers] == ["200", "201", "200"]
    assert '"name":"User 1"' in answers[0].stdout
    assert "http_requests_total" in answers[2].stdout or operations == "off"


def test_a_pipe_gets_records_alone(tmp_path: Path) -> None:
    """Without a terminal nothing but JSON records is written, and the data is there as well."""
    settings = _settings(tmp_path)
    with running(program=_MODULE, cwd=REFERENCE, place=tmp_path, env=settings) as process:
        url = process.record("listening")["url"]
        status, body = get(url, "/api/users/1")
        assert (status, json.loads(body)["email"]) == (200, "user-1@example.com")
        assert all(line.startswith("{") for line in process.output.splitlines())
        assert process.errors == ""


def test_a_wrong_setting_is_reported_by_the_service(tmp_path: Path) -> None:
    """What is wrong is said once, by `roadworthy run`, and nothing is greeted."""
    env = _settings(tmp_path) | {"ROADWORTHY_GRACE": "soon"}
    with running(program=_MODULE, cwd=REFERENCE, place=tmp_path, env=env) as process:
        assert process.exit_code() == 2
        assert "ROADWORTHY_GRACE" in process.errors
        assert process.output == ""
    assert not (tmp_path / "data.db").exists()
