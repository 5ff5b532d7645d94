"""The names of uvicorn that the protocol class depends on are there, in every line that is supported."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path
from signal import SIGTERM

import pytest
import uvicorn.server

from roadworthy.server.process.uvicorn_names import missing
from tests.patience import DEADLINE

from ..drain import APP, ROOT
from ..service import get, running

LINES = ("0.34", "0.35", "0.38", "0.40", "0.44", "0.48", "0.52", "0.54")
"""The oldest line that pyproject.toml allows, the newest that was seen, and some between them."""


def test_the_installed_uvicorn_has_every_name() -> None:
    """What vanished is listed by name, so that a new release of uvicorn fails here and not in production."""
    assert missing() == [], f"uvicorn {importlib.metadata.version('uvicorn')} lacks what the protocol uses"


def test_a_name_that_vanishes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name that is used, the check says which one it is."""

    class Poorer(uvicorn.server.ServerState):
        def __getattribute__(self, name: str) -> object:
            if name == "total_requests":
                raise AttributeError(name)
            return super().__getattribute__(name)

    monkeypatch.setattr("roadworthy.server.process.uvicorn_names.ServerState", Poorer)
    assert missing() == ["ServerState.total_requests"]


def test_the_oldest_line_is_the_one_that_is_allowed() -> None:
    """The lines above begin where the requirement begins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [requirement] = [one for one in project["dependencies"] if one.startswith("uvicorn")]
    assert requirement == f"uvicorn>={LINES[0]}"


@pytest.mark.proof
@pytest.mark.parametrize("line", LINES)
def test_every_supported_line_has_every_name(line: str, tmp_path: Path) -> None:
    """A minor line of uvicorn, installed by itself, has all names, serves with our class, and drains."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*command, f"uvicorn=={line}.*"], check=True, timeout=300)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, cwd=tmp_path,
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [line, "[]", "200", "101"]
    with running(
        "run", APP, "--port", "0", "--ops-port", "0", "--drain-delay", "0", cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    ) as process:  # fmt: skip
        found = process.record("listening")
        assert [get(str(found[name]))[0] for name in ("url", "operations_url")] == [200, 200]
        process.signal(SIGTERM)
        assert process.exit_code() == 0
        steps = ["draining", "closing", "listener closed", "requests finished", "lifespan ended"]
        assert [one["message"] for one in process.records if one["message"] in steps] == steps


PROGRAM = """
import uvicorn
from roadworthy.server.process.uvicorn_names import missing
from tests.server.wire import serving

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

print(uvicorn.__version__.rpartition(".")[0], missing())
with serving(app) as served, served.connect() as client:
    client.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(client.response().status)
    client.send(
        b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
        b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
    )
    print(client.read_until(b"\\r\\n\\r\\n")[9:12].decode())
"""
