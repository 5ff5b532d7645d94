"""``check init``: what can be seen of a service, with evidence; what cannot is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from roadworthy.checker import parse_manifest
from roadworthy.checker.bench.json_example import example
from roadworthy.checker.read.openapi import OpenApi
from tests.free_port import free_port
from tests.patience import DEADLINE

ROOT = Path(__file__).parents[3]

_SERVICE = """
import http.server, json, os, re, sqlite3, sys
if not os.environ.get("SESSION_SECRET"):
    sys.exit("SESSION_SECRET is required")
url = os.environ.get("DATABASE_URL", "sqlite:///./own.db")
db = sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False)
db.execute("CREATE TABLE IF NOT EXISTS t (x)")
kept, count = {}, 0
body = {"type": "object", "required": ["title", "email"], "properties": {
    "title": {"type": "string", "maxLength": 60}, "email": {"type": "string", "format": "email"}}}
operation = {"requestBody": {"content": {"application/json": {"schema": body}}}}
paths = {"/notes": {"get": {}, "post": operation}, "/notes/{note}": {"get": {}, "delete": {}}}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, value=None):
        global count
        count += 1
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "text/plain" if isinstance(value, bytes) else "application/json"
        for name, text in (("Content-Type", kind), ("Content-Length", str(len(data))),
                           ("RateLimit-Policy", \'"default";q=50;w=10\')):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        print(json.dumps({"level": "info", "path": self.path}), flush=True)
        match = re.fullmatch("/notes/(.+)", self.path)
        if self.path == "/api-docs": self.answer(200, {"openapi": "3.1.0", "paths": paths})
        elif self.path in ("/healthz", "/readyz"): self.answer(200, {"status": "ok"})
        elif self.path == "/metrics":
            self.answer(200, f"# TYPE requests_total counter\\nrequests_total {count}\\n".encode())
        elif self.path == "/notes": self.answer(200, list(kept.values()))
        elif match and match[1] in kept: self.answer(200, kept[match[1]])
        else: self.answer(404, {})
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if length > 102400: return self.answer(413, {})
        value = json.loads(data)
        if not isinstance(value, dict) or "@" not in value["email"]: return self.answer(422, {})
        identifier = str(len(kept) + 1)
        kept[identifier] = {**value, "id": identifier}
        self.answer(201, kept[identifier])
    def do_DELETE(self):
        kept.pop(self.path.rpartition("/")[2])
        self.send_response(204); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["HTTP_PORT"])), Handler).serve_forever()
"""


def check(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", "check", *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture
def service(tmp_path: Path) -> list[str]:
    """Return the command of a service that has something to find."""
    (tmp_path / "service.py").write_text(_SERVICE)
    return [sys.executable, "service.py"]


def test_what_can_be_seen(tmp_path: Path, service: list[str]) -> None:
    """Port, document, routes, health, metrics, limits, environment and store are found and confirmed."""
    done = check(tmp_path, "init", "--", *service, SESSION_SECRET="not-to-be-shown-anywhere")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "roadworthy.toml").read_text()
    found = tomllib.loads(text)
    assert found["listen"] == {"port_env": "HTTP_PORT"}
    assert found["openapi"] == "/api-docs"
    assert found["health"] == {"live": "/healthz", "ready": "/readyz"}
    assert found["metrics"] == {"path": "/metrics", "requests": "requests_total"}
    assert found["limits"] == {"body": 102400}
    assert found["rate_limit"] == {"requests": 50, "window": "10s"}
    assert found["logs"] == {"format": "json"}
    assert found["env"] == {"required": ["SESSION_SECRET"], "secret": ["SESSION_SECRET"]}
    assert found["database"]["env"] == "DATABASE_URL"
    assert found["routes"]["create"] == {
        "path": "/notes",
        "body": {"title": "title {unique}", "email": "{unique}@example.com"},
    }
    assert found["routes"]["read"] == {"path": "/notes/{id}"}
    assert found["routes"]["list"] == {"path": "/notes"}
    assert found["routes"]["delete"] == {"path": "/notes/{id}"}
    assert "not-to-be-shown" not in text
    parse_manifest(text)
    facts = [line for line in text.splitlines() if " = " in line and not line.startswith(("#", "command"))]
    assert all("# inferred: " in line for line in facts if not line.startswith("version"))
    assert "# routes.slow: a route that takes two seconds" in text


def test_a_manifest_is_not_overwritten(tmp_path: Path, service: list[str]) -> None:
    """What is there already stays, unless --force says otherwise."""
    (tmp_path / "roadworthy.toml").write_text("version = 1\n")
    done = check(tmp_path, "init", "--", *service)
    assert (done.returncode, "--force replaces it" in done.stderr) == (2, True), done.stderr


def test_a_service_that_does_not_start(tmp_path: Path, service: list[str]) -> None:
    """Where the service ends at its start, its last words are shown and the exit is 3."""
    done = check(tmp_path, "init", "--", *service)
    assert (done.returncode, "SESSION_SECRET is required" in done.stderr) == (3, True), done.stderr
    assert not (tmp_path / "roadworthy.toml").exists()


def test_a_check_without_a_manifest_infers(tmp_path: Path, service: list[str]) -> None:
    """Without a manifest the same is inferred, so that assertions that need it can be proved."""
    words = ["--only", "HLT-1", "--report", "json=out.json", "--", *service]
    done = check(tmp_path, *words, SESSION_SECRET="x" * 32)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there is no roadworthy.toml; inferred: " in done.stdout
    assert "health.live" in (tmp_path / "out.json").read_text()


def test_url_mode_says_what_it_cannot_prove(tmp_path: Path, service: list[str]) -> None:
    """For a URL the manifest begins with what cannot be tried."""
    port = free_port()
    process = subprocess.Popen(
        service, cwd=tmp_path, env={**os.environ, "HTTP_PORT": str(port), "SESSION_SECRET": "x"}
    )
    try:
        done = check(tmp_path, "init", f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "roadworthy.toml").read_text()
    assert "URL mode" in "\n".join(text.splitlines()[:3])
    assert tomllib.loads(text)["start"] == {"url": f"http://127.0.0.1:{port}"}
    assert "env" not in tomllib.loads(text)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"type": "string", "maxLength": 5}, "a"),
        ({"type": "string", "minLength": 30, "maxLength": 300}, "text {unique}".ljust(30, "a")),
        ({"type": "string", "format": "email"}, "{unique}@example.com"),
        ({"type": "integer", "minimum": 5, "maximum": 5}, 5),
        ({"type": ["null", "boolean"]}, True),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": "array", "minItems": 2, "items": {"type": "boolean"}}, [True, True]),
        ({"$ref": "#/components/schemas/A"}, {"id": "{number}"}),
        (
            {"allOf": [{"$ref": "#/components/schemas/A"}, {"required": ["b"], "properties": {"b": {}}}]},
            {"id": "{number}", "b": {}},
        ),
    ],
)
def test_examples(schema: dict[str, Any], value: Any) -> None:
    """A body is made from its schema, with what has to be new each time left open."""
    one = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "x": {}}}
    assert example(OpenApi({"components": {"schemas": {"A": one}}}), schema) == value
