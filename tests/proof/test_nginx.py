"""The nginx example of docs/server.md, as it stands there, in front of a real service."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.patience import DEADLINE, until

from ..server.drain import APP, ROOT, port_of
from ..server.load import ask
from ..server.service import Running, free_port, get, running

pytestmark = pytest.mark.proof

_MIB = 1 << 20


@contextmanager
def behind_nginx(folder: Path) -> Iterator[tuple[int, Running]]:
    """Serve the lifecycle app behind nginx, with bodies of up to 8 MiB; gives the port of nginx."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    text = (ROOT / "docs" / "server.md").read_text()
    match = re.search(r"<!-- nginx -->\n```nginx\n(.*?)```", text, re.DOTALL)
    assert match is not None
    env = {
        "PYTHONPATH": str(ROOT),
        "ROADWORTHY_TRUSTED_PROXIES": "127.0.0.0/8",
        "ROADWORTHY_BODY_LIMIT": "8MiB",
    }
    flags = ("--port", "0", "--ops-port", "off", "--drain-delay", "0", "--workers", "2")
    with running("run", APP, *flags, cwd=folder, env=env) as process:
        port = free_port()
        servers = match[1].replace("127.0.0.1:8000", f"127.0.0.1:{port_of(process)}")
        servers = servers.replace("listen 8080", f"listen 127.0.0.1:{port}")
        paths = "".join(
            f"{name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {paths}\n{servers} }}\n"
        )
        proxy = subprocess.Popen([program, "-p", str(folder), "-c", str(configuration)])
        try:
            until(lambda: proxy.poll() is not None or _answers(f"http://127.0.0.1:{port}"), "nginx answers")
            assert proxy.poll() is None, "nginx refused its configuration"
            yield port, process
        finally:
            proxy.send_signal(signal.SIGTERM)
            proxy.wait(DEADLINE)


def test_the_documented_configuration_serves(tmp_path: Path) -> None:
    """Requests come through, and the service sees the client's address from the trusted proxy."""
    with behind_nginx(tmp_path) as (port, process):
        assert {get(f"http://127.0.0.1:{port}", "/")[0] for _ in range(20)} == {200}
        assert get(f"http://127.0.0.1:{port}", "/readyz")[0] == 200
        assert not [one for one in process.records if "Forwarding fields" in str(one["message"])]


@pytest.mark.anyio
async def test_the_services_own_limit_of_a_body_counts(tmp_path: Path) -> None:
    """A body that the service takes arrives, though nginx alone would refuse it; one too large is its 413."""
    with behind_nginx(tmp_path) as (port, _):
        taken = await ask(port, "/write", "POST", bytes(5 * _MIB))
        assert (taken.status, taken.body) == (201, b"%d" % (5 * _MIB))
        refused = await ask(port, "/write", "POST", bytes(9 * _MIB))
        assert (refused.status, json.loads(refused.body)["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_websockets_come_through_and_other_upgrades_do_not(tmp_path: Path) -> None:
    """A WebSocket echoes; a request to change to another protocol is answered as an ordinary one."""
    with behind_nginx(tmp_path) as (port, _):
        with connect(f"ws://127.0.0.1:{port}/", open_timeout=DEADLINE) as socket:
            socket.send("here")
            assert socket.recv(DEADLINE) == "here"
        fields = (
            "-H",
            "Connection: Upgrade, HTTP2-Settings",
            "-H",
            "Upgrade: h2c",
            "-H",
            "HTTP2-Settings: AAMAAABk",
        )
        done = subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", *fields, f"http://127.0.0.1:{port}/"],
            capture_output=True, text=True, timeout=DEADLINE, check=True,
        )  # fmt: skip
        assert done.stdout == "200 1.1"


def _answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:
        return False
