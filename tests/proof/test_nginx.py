"""The nginx example of docs/server.md, as it stands there, in front of a real service."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.patience import until

from ..server.drain import APP, ROOT, port_of
from ..server.service import free_port, get, running

pytestmark = pytest.mark.proof


def test_the_documented_configuration_serves(tmp_path: Path) -> None:
    """Requests come through, and the service sees the client's address from the trusted proxy."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    text = (ROOT / "docs" / "server.md").read_text()
    match = re.search(r"<!-- nginx -->\n```nginx\n(.*?)```", text, re.DOTALL)
    assert match is not None
    env = {"PYTHONPATH": str(ROOT), "ROADWORTHY_TRUSTED_PROXIES": "127.0.0.0/8"}
    flags = ("--port", "0", "--ops-port", "off", "--drain-delay", "0", "--workers", "2")
    with running("run", APP, *flags, cwd=tmp_path, env=env) as process:
        port = free_port()
        servers = match[1].replace("127.0.0.1:8000", f"127.0.0.1:{port_of(process)}")
        servers = servers.replace("listen 8080", f"listen 127.0.0.1:{port}")
        paths = "".join(
            f"{name}_temp_path {tmp_path}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {paths}\n{servers} }}\n"
        )
        proxy = subprocess.Popen([program, "-p", str(tmp_path), "-c", str(configuration)])
        try:
            until(lambda: _answers(f"http://127.0.0.1:{port}"), "nginx answers")
            assert {get(f"http://127.0.0.1:{port}", "/")[0] for _ in range(20)} == {200}
            assert get(f"http://127.0.0.1:{port}", "/readyz")[0] == 200
        finally:
            proxy.send_signal(signal.SIGTERM)
            proxy.wait(30)
        assert not [one for one in process.records if "Forwarding fields" in str(one["message"])]


def _answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:
        return False
