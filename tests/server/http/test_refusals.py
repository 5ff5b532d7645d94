"""What the server refuses by itself is told, recorded and counted as the layer does it."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from pathlib import Path

from tests.patience import DEADLINE
from tests.reference_service import Running, reference_service


def _operations(running: Running) -> str:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        for line in running.lines():
            if line.endswith("}") and (record := json.loads(line))["message"] == "listening":
                return str(record["operations_url"])
    raise AssertionError("the service did not say where operations are served")


def test_a_request_without_host_is_refused_in_the_services_shape_and_counted(tmp_path: Path) -> None:
    """RFC 9112 §3.2: 400, in the error format of the service, with an id, in one record and one count."""
    with reference_service(tmp_path, ROADWORTHY_ERROR_FORMAT="envelope") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=DEADLINE) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body)["error"]["code"] == "BAD_REQUEST"
        assert b"\r\nx-request-id: " in head
        with urllib.request.urlopen(f"{_operations(running)}/metrics", timeout=DEADLINE) as scraped:
            page = scraped.read().decode()
    counted = [
        line for line in page.splitlines() if line.startswith("http_requests_total") and '"400"' in line
    ]
    assert len(counted) == 1
    assert counted[0].endswith(" 1.0")
