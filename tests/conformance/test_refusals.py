"""Whatever the layer or the server refuses, its record names code, limit and setting, and one warning too."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.refused import RULES
from tests.patience import DEADLINE, until
from tests.servers import Server, ServerKind, serving

KINDS: tuple[ServerKind, ...] = ("roadworthy", "uvicorn")
SETTINGS = {
    "ROADWORTHY_LOG_FORMAT": "json",
    "ROADWORTHY_OPS_PORT": "off",
    "ROADWORTHY_ALLOWED_HOSTS": "localhost",
    "ROADWORTHY_BODY_LIMIT": "2KiB",
    "ROADWORTHY_URL_LIMIT": "1000",
    "ROADWORTHY_HEADER_LIMIT": "4000",
    "ROADWORTHY_HEADER_COUNT": "20",
    "ROADWORTHY_REQUEST_TIMEOUT": "600ms",
    "ROADWORTHY_BODY_TIMEOUT": "300ms",
    "ROADWORTHY_HEADER_TIMEOUT": "300ms",
}
TIGHT = {
    "ROADWORTHY_LOG_FORMAT": "json",
    "ROADWORTHY_OPS_PORT": "off",
    "ROADWORTHY_RATE_LIMIT": "40/hour",
    "ROADWORTHY_MAX_IN_FLIGHT": "1",
    "ROADWORTHY_QUEUE_SIZE": "0",
}
WEBSOCKET = (
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def head(path: str, *fields: str, method: str = "GET", host: str = "localhost") -> bytes:
    """Return the head of a request."""
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", *fields)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


Row = tuple[bytes, int, dict[str, Any], str]
"""What is sent, the status of the answer, what the record has of it, and a part of the one warning."""

REFUSED: dict[str, Row] = {
    "host": (
        head("/a", host="other.example"),
        421,
        {"code": "MISDIRECTED_REQUEST", "setting": "ROADWORTHY_ALLOWED_HOSTS"},
        "its host is not in ROADWORTHY_ALLOWED_HOSTS",
    ),
    "origin": (
        head("/ws", "Origin: https://other.example", *WEBSOCKET.split("\r\n")[:-1]),
        403,
        {"code": "FORBIDDEN", "setting": "ROADWORTHY_CORS_ORIGINS"},
        "its origin is not in ROADWORTHY_CORS_ORIGINS",
    ),
    "body": (
        head("/a", "Content-Length: 3000", method="POST"),
        413,
        {
            "code": "PAYLOAD_TOO_LARGE",
            "limit": 2048,
            "unit": "bytes",
            "setting": "ROADWORTHY_BODY_LIMIT",
            "rule": "body_limit",
        },
        "over ROADWORTHY_BODY_LIMIT = 2 KiB. Raise it if the request was meant to pass, or give the route a "
        "rule with body_limit",
    ),
    "body of a rule": (
        head("/ruled-body", "Content-Length: 6", method="POST"),
        413,
        {"code": "PAYLOAD_TOO_LARGE", "limit": 5, "unit": "bytes", "rule": "body_limit"},
        "POST /ruled-body was refused with 413: over body_limit = 5 bytes of its rule",
    ),
    "target": (
        head("/" + "a" * 1200),
        414,
        {"code": "URI_TOO_LONG", "limit": 1000, "unit": "bytes", "setting": "ROADWORTHY_URL_LIMIT"},
        "over ROADWORTHY_URL_LIMIT = 1000 bytes",
    ),
    "fields": (
        head("/a", *(f"X-{number}: a" for number in range(30))),
        431,
        {"code": "HEADERS_TOO_LARGE", "limit": 20, "unit": "fields", "setting": "ROADWORTHY_HEADER_COUNT"},
        "over ROADWORTHY_HEADER_COUNT = 20 fields",
    ),
    "size of fields": (
        head("/a", f"X-Large: {'a' * 5000}"),
        431,
        {"code": "HEADERS_TOO_LARGE", "limit": 4000, "unit": "bytes", "setting": "ROADWORTHY_HEADER_LIMIT"},
        "over ROADWORTHY_HEADER_LIMIT = 4000 bytes",
    ),
    "late": (
        head("/late"),
        504,
        {
            "code": "TIMEOUT",
            "limit": 0.6,
            "unit": "seconds",
            "setting": "ROADWORTHY_REQUEST_TIMEOUT",
            "rule": "timeout",
        },
        "GET /late was refused with 504: over ROADWORTHY_REQUEST_TIMEOUT = 0.6 s",
    ),
    "late by a rule": (
        head("/ruled-late"),
        504,
        {"code": "TIMEOUT", "limit": 0.3, "unit": "seconds", "rule": "timeout"},
        "over timeout = 0.3 s of its rule",
    ),
    "slow body": (
        head("/a", "Content-Length: 2", method="POST") + b"a",
        408,
        {
            "code": "REQUEST_TIMEOUT",
            "limit": 0.3,
            "unit": "seconds",
            "setting": "ROADWORTHY_BODY_TIMEOUT",
            "rule": "body_timeout",
        },
        "over ROADWORTHY_BODY_TIMEOUT = 0.3 s",
    ),
    "slow body by a rule": (
        head("/ruled-slow", "Content-Length: 2", method="POST") + b"a",
        408,
        {"code": "REQUEST_TIMEOUT", "limit": 0.2, "unit": "seconds", "rule": "body_timeout"},
        "over body_timeout = 0.2 s of its rule",
    ),
    "rate of a rule": (
        head("/ruled-rate"),
        429,
        {"code": "RATE_LIMITED", "limit": 1, "unit": "requests/hour", "rule": "rate_limit"},
        "over rate_limit = 1/hour of its rule",
    ),
    "slow head": (
        head("/a")[:-2],
        408,
        {
            "code": "REQUEST_TIMEOUT",
            "limit": 0.3,
            "unit": "seconds",
            "setting": "ROADWORTHY_HEADER_TIMEOUT",
        },
        "over ROADWORTHY_HEADER_TIMEOUT = 0.3 s",
    ),
}
OURS = {"slow head"}
"""What only our own server measures."""
NAMED = ("code", "limit", "unit", "setting", "rule")


def named_in(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a record names of a refusal."""
    return {key: found[key] for key in NAMED if key in found}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the app under each server, its rules in a file beside it."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "roadworthy.toml").write_text(RULES)
    with serving(request.param, "tests.apps.refused:app", folder, SETTINGS, "/livez") as server:
        yield server


def send(server: Server, data: bytes) -> int:
    """Send a request and return the status of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as connection:
        connection.sendall(data)
        return int(connection.recv(65536).split(b" ", 2)[1])


def record(server: Server, status: int, after: int) -> dict[str, Any]:
    """Return the record of the first request with ``status`` among the lines after the first ``after``."""

    def found(lines: list[str]) -> list[dict[str, Any]]:
        records = (json.loads(line) for line in lines[after:] if line.startswith("{"))
        return [one for one in records if one["message"] == "request" and one["status"] == status]

    return found(server.wait_stdout(lambda lines: bool(found(lines))))[0]


def warnings(server: Server, part: str) -> list[str]:
    """Return the warnings about refusals that have ``part``."""
    lines = server.wait_stdout(lambda lines: any(part in line for line in lines))
    records = [json.loads(line) for line in lines if '"roadworthy.refusals"' in line]
    assert {one["level"] for one in records} == {"warning"}
    return [one["message"] for one in records if part in one["message"]]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_what_decided_it(server: Server, name: str) -> None:
    """The record of each has code, limit and setting, or the field of the rule; one of them warns."""
    data, status, named, warning = REFUSED[name]
    if name in OURS and server.kind != "roadworthy":
        pytest.skip("not measured by this server")
    if status == 429:
        assert send(server, data) == 204
    for _ in range(2):
        after = len(server.stdout())
        assert send(server, data) == status
        found = record(server, status, after)
        assert named_in(found) == named
    assert len(warnings(server, warning)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_limits_of_all_requests_are_named_alike(kind: ServerKind, tmp_path: Path) -> None:
    """503 at the ceiling and 429 by the service's own limit; a flood of them is one warning."""
    with serving(kind, "tests.apps.refused:app", tmp_path, TIGHT, "/livez") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as busy:
            busy.sendall(head("/late"))
            until(lambda: send(server, head("/a")) == 503, "a request is shed")
            found = record(server, 503, 0)
            assert named_in(found) == {
                "code": "UNAVAILABLE",
                "limit": 0,
                "unit": "requests",
                "setting": "ROADWORTHY_QUEUE_SIZE",
            }
            until(lambda: send(server, head("/a")) == 429, "the limit is reached")
            assert {send(server, head("/a")) for _ in range(30)} == {429}
        found = record(server, 429, 0)
        assert named_in(found) == {
            "code": "RATE_LIMITED",
            "limit": 40,
            "unit": "requests/hour",
            "setting": "ROADWORTHY_RATE_LIMIT",
            "rule": "rate_limit",
        }
        assert len(warnings(server, "over ROADWORTHY_RATE_LIMIT = 40/hour")) == 1
        assert len(warnings(server, "over ROADWORTHY_QUEUE_SIZE = 0 requests")) == 1
