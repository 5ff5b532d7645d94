"""Exits raised by handlers, and what is no request, under servers that are not ours."""

from __future__ import annotations

import json
import socket
import uuid
from pathlib import Path

import httpx
import pytest

from roadworthy.layer.request_fields import FIELDS, Repeats
from tests.conformance.conftest import SETTINGS, Cell
from tests.patience import DEADLINE
from tests.servers import ServerKind, serving

KINDS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "OwnExit")
APPS = {
    "plain": "tests.apps.exits:plain",
    "fastapi": "tests.apps.exits_fastapi:fastapi",
    "behind": "tests.apps.exits_fastapi:behind",
    "litestar": "tests.apps.exits_litestar:litestar",
    "django": "tests.apps.exits_django:app",
}
CELLS: list[tuple[str, ServerKind]] = [
    *((app, "uvicorn") for app in APPS),
    ("plain", "granian"),
    ("plain", "hypercorn"),
]


@pytest.mark.parametrize(("app", "kind"), CELLS)
def test_a_handler_that_exits_ends_its_request_alone(app: str, kind: ServerKind, tmp_path: Path) -> None:
    """It is a 500 with one record, and the server answers the next request."""
    places = ("handler",) if app == "plain" else ("handler", "sync")
    with serving(kind, APPS[app], tmp_path, SETTINGS, "/livez") as server:
        # A GeneratorExit out of a thread reaches uvicorn beside the layer, and uvicorn closes the connection.
        fields = {"connection": "close"}
        with httpx.Client(base_url=server.url, timeout=DEADLINE, headers=fields) as client:
            for place in places:
                for leave in KINDS:
                    given = uuid.uuid4().hex
                    response = client.get(f"/{place}/{leave}", headers={"x-request-id": given})
                    assert response.status_code == 500, (place, leave)
                    assert response.headers["content-type"] == "application/problem+json"
                    lines = server.wait_stdout(lambda lines: any(given in line for line in lines))  # noqa: B023
                    records = [json.loads(line) for line in lines if given in line]
                    assert [one["level"] for one in records] == ["error"]
                    # Starlette's middleware hides that a task was cancelled.
                    assert leave in json.dumps(records[0]["exception"]) or (app, leave) == (
                        "behind",
                        "CancelledError",
                    )
            assert client.get("/livez").status_code == 200
        server.terminate()
        assert server.wait_exit() in (0, -15)


def _head(cell: Cell, data: bytes) -> bytes:
    """Send bytes and return the head of the first response, or what there is before the connection ends."""
    with socket.create_connection(("127.0.0.1", cell.server.port), timeout=DEADLINE) as connection:
        connection.sendall(data)
        seen = b""
        while b"\r\n\r\n" not in seen and (chunk := connection.recv(65536)):
            seen += chunk
    return seen


@pytest.mark.parametrize("target", [b"/ok", b"x:443", b"/items"])
@pytest.mark.parametrize("body", [b"", b"GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_connect_makes_no_tunnel(cell: Cell, target: bytes, body: bytes) -> None:
    """No server behind which the layer stands answers CONNECT with 2xx (RFC 9110 §9.3.6)."""
    head = b"CONNECT " + target + b" HTTP/1.1\r\nHost: localhost\r\n"
    seen = _head(cell, head + (b"Content-Length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body)
    assert not seen.startswith(b"HTTP/1.1 2"), seen[:200]


VALUES = {
    b"content-type": (b"application/json", b"text/plain"),
    b"authorization": (b"Bearer a", b"Bearer b"),
    b"origin": (b"https://good.example", b"https://bad.example"),
    b"access-control-request-method": (b"GET", b"PUT"),
}


@pytest.mark.parametrize("name", VALUES, ids=bytes.decode)
def test_lines_that_differ_are_refused(cell: Cell, name: bytes) -> None:
    """A field of one value with two values is 400, before anybody has chosen one of them."""
    assert FIELDS[name] in (Repeats.NEVER, Repeats.EQUAL)
    for method in (b"GET", b"OPTIONS"):
        lines = b"".join(name + b": " + value + b"\r\n" for value in VALUES[name])
        if name == b"access-control-request-method":
            lines += b"origin: https://good.example\r\n"
        seen = _head(
            cell, method + b" /ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + lines + b"\r\n"
        )
        assert seen.startswith(b"HTTP/1.1 400"), seen[:300]


def test_a_second_content_type_hides_no_body(cell: Cell) -> None:
    """JSON that no parser of ours accepts does not pass because a second line calls it something else."""
    body = b'{"name":NaN}'
    head = b"POST /items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n" % len(
        body
    )
    for types in ((b"application/json", b"text/plain"), (b"text/plain", b"application/json")):
        lines = b"".join(b"Content-Type: " + one + b"\r\n" for one in types)
        assert _head(cell, head + lines + b"\r\n" + body).startswith(b"HTTP/1.1 400")


def test_a_list_in_two_lines_is_one(cell: Cell) -> None:
    """Of two lines of Accept-Encoding both count."""
    lines = b"Accept-Encoding: identity;q=0\r\nAccept-Encoding: gzip\r\n"
    seen = _head(cell, b"GET /items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + lines + b"\r\n")
    assert seen.startswith(b"HTTP/1.1 200")
    assert b"content-encoding: gzip" in seen.lower()
