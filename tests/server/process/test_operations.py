"""The operations listener of a running service, with one worker and with several: reading and writing."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import DEADLINE, until

from ..drain import APP, ROOT
from ..service import Running, get, running

TOKEN = "a-token-of-forty-characters-for-operators"
FLAGS = ("--port", "0", "--ops-port", "0", "--drain-delay", "0")


def write(
    url: str, method: str, path: str, body: str = "", token: str | None = TOKEN
) -> tuple[int, dict[str, Any]]:
    """Send one request with the token; returns status and JSON."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)
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


@pytest.fixture(scope="module", params=["1", "2"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, str, str, str]]:
    """One process, and a supervisor with two workers; gives the process, both URLs, and how many workers."""
    folder = tmp_path_factory.mktemp("service")
    more = {"DATABASE_URL": "postgresql://u:hunter2hunter2@db/x", "ROADWORTHY_HEADER_TIMEOUT": "1s"}
    with start(folder, request.param, **more) as process:
        yield process, *addresses(process), request.param


def test_the_log_level_changes_while_it_runs(service: tuple[Running, str, str, str]) -> None:
    """`PUT /loglevel` reaches every worker at once: probes are written at debug only."""
    process, public, operations, _ = service
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


def test_writes_want_the_token(service: tuple[Running, str, str, str]) -> None:
    """Without a token or with a wrong one nothing is changed; the answer says why."""
    operations = service[2]
    assert write(operations, "POST", "/drain", token=None)[0] == 401
    assert write(operations, "POST", "/drain", token="x" * 40)[0] == 401
    assert write(operations, "PUT", "/loglevel", '{"level": "debug"}', token=None)[0] == 401
    assert write(operations, "GET", "/drain")[0] == 405
    assert get(operations, "/readyz")[0] == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_the_setting_there_are_no_writes(tmp_path: Path, workers: str) -> None:
    """The answer names the setting."""
    variables = {"PYTHONPATH": str(ROOT)}
    with running("run", APP, *FLAGS, "--workers", workers, cwd=tmp_path, env=variables) as process:
        status, problem = write(addresses(process)[1], "POST", "/drain")
        assert status == 403
        assert "ROADWORTHY_OPS_TOKEN" in problem["detail"]


def test_the_effective_configuration_is_masked(service: tuple[Running, str, str, str]) -> None:
    """Every setting is shown with its source, and no secret is."""
    _, _, operations, workers = service
    text = get(operations, "/config")[1].decode()
    shown = json.loads(text)
    assert shown["workers"] == {"value": int(workers), "source": "--workers"}
    assert shown["ops_token"]["value"] == "***"
    assert TOKEN not in text
    assert "hunter2" not in text


def test_a_foreign_name_is_refused(service: tuple[Running, str, str, str]) -> None:
    """The supervisor's listener checks Host like the other one (DNS rebinding)."""
    connection = http.client.HTTPConnection(service[2].removeprefix("http://"), timeout=DEADLINE)
    connection.request("GET", "/config", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 421
    connection.close()


def test_the_listener_has_the_deadlines_of_the_public_one(service: tuple[Running, str, str, str]) -> None:
    """A client that never finishes its head takes no descriptor for good; uvicorn's own would keep it."""
    port = int(service[2].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ")
        assert client.recv(13) == b"HTTP/1.1 408 "


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
