"""The services of docs/checklist/rate-limiting.md and logging.md do what the pages say."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import DEADLINE

from .server.service import environment

PAGES = Path(__file__).parents[1] / "docs" / "checklist"
_BLOCK = re.compile(r"^```python\n# (?P<name>\w+\.py)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ASK = """
import json, sys
from starlette.testclient import TestClient
from {module} import app
with TestClient(app, raise_server_exceptions=False) as client:
    asked = [client.request(*one["line"], headers=one.get("headers", {{}})) for one in {asked}]
print("ANSWERS", json.dumps([[one.status_code, one.headers["x-request-id"]] for one in asked]))
"""


def _blocks(page: str) -> dict[str, str]:
    text = (PAGES / page).read_text()
    blocks = {one["name"]: one["text"] for one in _BLOCK.finditer(text)}
    assert len(blocks) == text.count("```python")
    return blocks


def _run(
    tmp_path: Path, page: str, module: str, asked: list[dict[str, object]], **variables: str
) -> tuple[list[tuple[int, str]], str]:
    for name, text in _blocks(page).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK.format(module=module, asked=asked)],
        cwd=tmp_path, env={**environment(), "ROADWORTHY_LOG_FORMAT": "json", **variables},
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS")]
    return [(status, request_id) for status, request_id in json.loads(line.partition(" ")[2])], done.stdout


@pytest.mark.parametrize(
    ("sign", "counted"), [(True, [200] * 100 + [429, 200]), (False, [200] * 100 + [429, 429])]
)
def test_limits_by_user(tmp_path: Path, sign: bool, counted: list[int]) -> None:
    """Each user whose cookie is signed has a count; others are counted by address."""

    def cookie(user: str) -> str:
        signature = hmac.new(b"s3cret" if sign else b"guessed", user.encode(), hashlib.sha256).hexdigest()
        return f"session={user}.{signature}"

    asked: list[dict[str, object]] = [
        {"line": ["POST", "/orders"], "headers": {"cookie": cookie(user)}} for user in ["ada"] * 101 + ["ben"]
    ]
    answers, _ = _run(tmp_path, "rate-limiting.md", "limits", asked, SESSION_SECRET="s3cret")
    assert [status for status, _ in answers] == counted


def test_opentelemetry(tmp_path: Path) -> None:
    """The record names the span that is exported."""
    ((status, request_id),), output = _run(tmp_path, "logging.md", "traced", [{"line": ["GET", "/orders"]}])
    (record,) = [json.loads(line) for line in output.splitlines() if request_id in line and "span_id" in line]
    assert status == 200
    assert f'"span_id": "0x{record["span_id"]}"' in output


def test_sentry(tmp_path: Path) -> None:
    """Without a DSN the SDK sends nothing, and the service works as it does with one."""
    ((status, _),), _ = _run(tmp_path, "logging.md", "watched", [{"line": ["GET", "/orders"]}])
    assert status == 500
