"""The operations listener of a running service, with one worker and with several: reading and writing."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from .drain import APP, ROOT
from .process import Running, get, running, until

TOKEN = "a-token-of-forty-characters-for-operators"
FLAGS = ("--port", "0", "--ops-port", "0", "--drain-delay", "0")


def write(
    url: str, method: str, path: str, body: str = "", token: str | None = TOKEN
) -> tuple[int, dict[str, Any]]:
    """Send one request with the token; returns status and JSON."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        headers = {"Connection": "close", **({"Authorization": f"Bearer {token}"} if token else {})}
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        content: dict[str, Any] = json.loads(response.read())
        return response.status, content
    finally:
        connection.close()


def start(folder: Path, workers: str, **env: str) -> Any:
    """Serve the lifecycle app with a token for operators."""
    variables = {"PYTHONPATH": str(ROOT), "ROADWORTHY_OPS_TOKEN": TOKEN, **env}
    return running("run", APP, *FLAGS, "--workers", workers, cwd=folder, env=variables)


def addresses(process: Running) -> tuple[str, str]:
    """Return both URLs."""
    found = process.record("listening")
    return str(found["url"]), str(found["operations_url"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_log_level_changes_while_it_runs(tmp_path: Path, workers: str) -> None:
    """`PUT /loglevel` reaches every worker at once: probes are written at debug only."""
    with start(tmp_path, workers) as process:
        public, operations = addresses(process)
        assert write(operations, "PUT", "/loglevel", '{"level": "debug"}') == (200, {"level": "debug"})

        def told() -> bool:
            get(public, "/livez")
            return any(one.get("path") == "/livez" for one in process.records)

        until(told, "a probe is written")
        assert write(operations, "PUT", "/loglevel", '{"level": "loud"}')[0] == 400
        assert write(operations, "PUT", "/loglevel", "[]")[0] == 400


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_drain_can_be_asked_for(tmp_path: Path, workers: str) -> None:
    """`POST /drain` does what SIGTERM does."""
    with start(tmp_path, workers) as process:
        _, operations = addresses(process)
        assert write(operations, "POST", "/drain") == (202, {"status": "draining"})
        assert process.exit_code() == 0
        assert process.record_of("closing")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_writes_want_the_token(tmp_path: Path, workers: str) -> None:
    """Without a token, with a wrong one or without the setting nothing is changed; the answer says why."""
    with start(tmp_path, workers) as process:
        _, operations = addresses(process)
        assert write(operations, "POST", "/drain", token=None)[0] == 401
        assert write(operations, "POST", "/drain", token="x" * 40)[0] == 401
        assert write(operations, "PUT", "/loglevel", '{"level": "debug"}', token=None)[0] == 401
        assert write(operations, "GET", "/drain")[0] == 405
    folder = tmp_path / "second"
    folder.mkdir()
    variables = {"PYTHONPATH": str(ROOT)}
    with running("run", APP, *FLAGS, "--workers", workers, cwd=folder, env=variables) as process:
        _, operations = addresses(process)
        status, problem = write(operations, "POST", "/drain")
        assert status == 403
        assert "ROADWORTHY_OPS_TOKEN" in problem["detail"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_effective_configuration_is_masked(tmp_path: Path, workers: str) -> None:
    """Every setting is shown with its source, and no secret is."""
    with start(tmp_path, workers, DATABASE_URL="postgresql://u:hunter2hunter2@db/x") as process:
        _, operations = addresses(process)
        text = get(operations, "/config")[1].decode()
        shown = json.loads(text)
        assert shown["workers"] == {"value": int(workers), "source": "--workers"}
        assert shown["ops_token"]["value"] == "***"
        assert TOKEN not in text
        assert "hunter2" not in text


def test_the_health_of_each_worker_is_told(tmp_path: Path) -> None:
    """Each worker is asked, and one that hangs is shown without an answer instead of holding up the page."""
    with start(tmp_path, "2", ROADWORTHY_WORKER_TIMEOUT="600") as process:
        _, operations = addresses(process)
        found = json.loads(get(operations, "/health")[1])
        assert found["status"] == "ready"
        assert [one["health"]["status"] for one in found["workers"]] == ["ready", "ready"]
        os.kill(found["workers"][0]["pid"], signal.SIGSTOP)
        try:
            again = json.loads(get(operations, "/health")[1])
            assert sum(one["health"] is None for one in again["workers"]) == 1
        finally:
            os.kill(found["workers"][0]["pid"], signal.SIGCONT)


def test_a_foreign_name_is_refused(tmp_path: Path) -> None:
    """The supervisor's listener checks Host like the other one (DNS rebinding)."""
    with start(tmp_path, "2") as process:
        _, operations = addresses(process)
        connection = http.client.HTTPConnection(operations.removeprefix("http://"), timeout=30)
        connection.request("GET", "/config", headers={"Host": "evil.example"})
        assert connection.getresponse().status == 421
        connection.close()
