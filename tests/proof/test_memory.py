"""Memory of the reference service: small, little above the same app without the layer, and flat."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.free_port import free_port
from tests.patience import DEADLINE

pytestmark = pytest.mark.proof
REFERENCE = Path(__file__).parents[2] / "examples" / "reference"
REQUESTS = 1_000_000
PLAIN = """
import asyncio, sys, uvicorn
from reference.application import create_app
app = create_app()
async def main():
    for resource in app.state.resources:
        await resource.start()
    config = uvicorn.Config(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
    await uvicorn.Server(config).serve()
asyncio.run(main())
"""


def _memory(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _serving(folder: Path, command: list[str], port: int) -> Iterator[int]:
    environment = {
        **os.environ,
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder}/data.db",
        "ROADWORTHY_OPS_PORT": "0",
        "ROADWORTHY_RATE_LIMIT": "100000000/second",
        "ROADWORTHY_DRAIN_DELAY": "0",
        "PYTHONPATH": str(REFERENCE),
    }
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as connection:
                    connection.request(
                        "POST",
                        "/api/users",
                        b'{"name":"Ada","email":"ada@example.com"}',
                        {"content-type": "application/json"},
                    )
                    assert connection.getresponse().status in (201, 409)
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
        yield process.pid
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _load(port: int, seconds: int) -> int:
    wrk = shutil.which("wrk")
    assert wrk, "wrk is not installed: apt-get install wrk"
    command = [wrk, "-t", "1", "-c", "32", "-d", f"{seconds}s", f"http://127.0.0.1:{port}/api/users/1"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out
    found = re.search(r"(\d+) requests in", out)
    assert found is not None
    return int(found[1])


def test_memory_is_small_and_flat(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """At most 110 MB, at most 15 MB above the app without the layer, and flat over a million requests."""
    port = free_port()
    (tmp_path / "plain").mkdir()
    with _serving(tmp_path / "plain", [sys.executable, "-c", PLAIN, str(port)], port) as pid:
        _load(port, 5)
        plain = _memory(pid)
    port = free_port()
    (tmp_path / "layered").mkdir()
    layered = [sys.executable, "-m", "roadworthy", "run", "reference.main:app"]
    with _serving(tmp_path / "layered", layered, port) as pid:
        sent = _load(port, 5)
        warm = _memory(pid)
        while sent < REQUESTS // 4:
            sent += _load(port, 10)
        early = _memory(pid)
        while sent < REQUESTS:
            sent += _load(port, 20)
        late = _memory(pid)
    record_property("plain_mb", round(plain, 1))
    record_property("layered_mb", round(warm, 1))
    record_property("after_a_quarter_mb", round(early, 1))
    record_property("at_the_end_mb", round(late, 1))
    record_property("requests", sent)
    assert late <= 110
    assert warm - plain <= 15
    assert late - early <= 2
