"""However an exchange ends, it has one answer, id, record, count and server span, under every server."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps.spans import server_spans
from tests.patience import DEADLINE, until
from tests.servers import Server, ServerKind, serving

KINDS: tuple[ServerKind, ...] = ("roadworthy", "uvicorn", "granian", "hypercorn")
ORIGIN = "https://good.example"
HANDSHAKE = (
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SETTINGS = {
    "ROADWORTHY_CORS_ORIGINS": ORIGIN,
    "ROADWORTHY_ALLOWED_HOSTS": "localhost",
    "ROADWORTHY_RATE_LIMIT": "100000/minute",
    "ROADWORTHY_REQUEST_TIMEOUT": "1",
    "ROADWORTHY_METRICS_PUBLIC": "true",
    "ROADWORTHY_METRICS_TOKEN": "a-token-of-the-tests",
    "ROADWORTHY_OPS_PORT": "off",
}

WHOLE = {
    "/fails": (500, "Odd"),
    "/group": (500, "BaseExceptionGroup"),
    "/exits": (500, "SystemExit"),
    "/cancelled-by-another": (500, "CancelledError"),
    "/cancelled": (500, "CancelledError"),
    "/cancels-itself": (500, "CancelledError"),
    "/cancels-by-a-callback": (500, "CancelledError"),
    "/returns": (500, "RuntimeError"),
    "/late": (504, None),
    "/status/999": (500, "InvalidResponseError"),
    "/status/600": (500, "InvalidResponseError"),
    "/status/103": (500, "InvalidResponseError"),
    "/field-value": (500, "InvalidResponseError"),
    "/field-name": (500, "InvalidResponseError"),
    "/error-field": (500, "InvalidResponseError"),
    "/length": (500, "InvalidResponseError"),
    "/stream-fails-first": (500, "Odd"),
    "/stream-cancelled-first": (500, "CancelledError"),
    "/stream-returns-first": (500, "RuntimeError"),
}
"""What has sent nothing: the layer's own answer takes its place, and the record has what was raised."""

CUT = {"/stream-fails": "Odd", "/stream-returns": "RuntimeError"}
"""What has begun: cut, so that the client notices, with what was raised in the record."""

DENIED = {
    "/ws/closes": (403, "info", None),
    "/ws/denies": (401, "info", None),
    "/ws/refuses": (409, "info", None),
    "/ws/fails": (500, "error", "Odd"),
    "/ws/returns": (500, "error", "RuntimeError"),
    "/ws/cancelled": (500, "error", "CancelledError"),
    "/ws/cancels-itself": (500, "error", "CancelledError"),
    "/ws/late": (504, "error", None),
    "/ws/foreign-origin": (403, "info", None),
    "/ws/foreign-host": (421, "info", None),
}
"""Handshakes that the app or the layer denies: the status of the answer, and of the record."""

LEFT = ("/leaves", "/leaves-raising", "/leaves-stream")
"""What the client ends: 499 and no failure, whatever the app makes of it."""


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the app under each server."""
    folder = tmp_path_factory.mktemp("ends")
    settings = {**SETTINGS, "TESTS_SPANS": str(folder / "spans")}
    with serving(request.param, "tests.apps.ends:app", folder, settings, "/livez") as server:
        yield server


class Asked:
    """A request by its id, what came back, and what operations have of it."""

    def __init__(
        self,
        server: Server,
        path: str,
        *,
        leave_after: bytes | None = None,
        host: str = "localhost",
        origin: str = ORIGIN,
        more: str = "Connection: close\r\n",
        route: str = "",
    ) -> None:
        self.id = uuid.uuid4().hex
        self.route = route or path
        self._server = server
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nX-Request-Id: {self.id}\r\n"
        before = self._count()
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as connection:
            connection.sendall(f"{head}{more}\r\n".encode())
            self.received = b""
            if leave_after is None:
                while data := connection.recv(65536):
                    self.received += data
            else:
                if not leave_after:
                    # A server may never have seen the request of a client that leaves sooner.
                    server.wait_stdout(lambda lines: f"waits for {self.id} to leave" in lines)
                while leave_after not in self.received:
                    self.received += connection.recv(65536)
        self.record = self._record()
        until(lambda: self._count() > before, "it is counted")
        self.counted = self._count() - before
        # The span is exported before the record is written.
        self.spans = [ids for ids in server_spans(server.cwd / "spans") if ids[0] == self.record["trace_id"]]
        self.ids = (self.record["trace_id"], self.record["span_id"])

    def _record(self) -> dict[str, Any]:
        def whole(lines: list[str]) -> bool:
            return any(record["message"] == "request" for record in self._of(lines))

        records = self._of(self._server.wait_stdout(whole))
        (record,) = [one for one in records if one["message"] == "request"]
        self.others = [one for one in records if one["message"] != "request"]
        return dict(record)

    def _of(self, lines: list[str]) -> list[dict[str, Any]]:
        return [json.loads(line) for line in lines if line.startswith("{") and self.id in line]

    def _count(self) -> float:
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=DEADLINE) as connection:
            connection.sendall(
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Authorization: Bearer a-token-of-the-tests\r\n\r\n"
            )
            page = b""
            while data := connection.recv(65536):
                page += data
        found = re.findall(rf'http_requests_total{{[^}}]*route="{self.route}"[^}}]*}} (\S+)', page.decode())
        return sum(map(float, found))

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(self.received.split(b" ", 2)[1])

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Its fields."""
        lines = self.received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


@pytest.mark.parametrize("path", WHOLE)
def test_what_has_sent_nothing_is_answered_by_the_layer(server: Server, path: str) -> None:
    """One problem document with id and CORS field, one record with the stack, one count, one span."""
    status, raised = WHOLE[path]
    asked = Asked(server, path)
    fields = dict(asked.fields)
    assert (asked.status, asked.record["status"], asked.counted) == (status, status, 1)
    assert fields["content-type"] == "application/problem+json"
    assert [value for name, value in asked.fields if name == "x-request-id"] == [asked.id]
    assert fields["access-control-allow-origin"] == ORIGIN
    document = json.loads(asked.received[asked.received.index(b"{") : asked.received.rindex(b"}") + 1])
    assert (document["instance"], document["request_id"]) == (path, asked.id)
    assert (asked.record["level"], asked.record["route"], asked.others) == ("error", path, [])
    assert asked.spans == [asked.ids]
    exception = json.dumps(asked.record.get("exception"))
    assert exception == "null" if raised is None else raised in exception


@pytest.mark.parametrize("path", CUT)
def test_what_has_begun_is_cut(server: Server, path: str) -> None:
    """The client sees that the response is not whole; one record says why."""
    asked = Asked(server, path)
    assert (asked.status, asked.counted, asked.others) == (200, 1, [])
    assert asked.spans == [asked.ids]
    assert not asked.received.endswith(b"0\r\n\r\n")
    assert asked.record["level"] == "error"
    assert CUT[path] in json.dumps(asked.record["exception"])


def test_what_fails_after_its_response_is_recorded_beside_it(server: Server) -> None:
    """The request has its record and its count as it was answered; the failure is a second record."""
    asked = Asked(server, "/fails-after")
    assert (asked.status, asked.record["status"], asked.counted) == (200, 200, 1)
    assert asked.spans == [asked.ids]


@pytest.mark.parametrize("path", LEFT)
def test_what_its_client_ends_is_no_failure(server: Server, path: str) -> None:
    """499 at info, without a stack and without another record."""
    asked = Asked(server, path, leave_after=b"piece" if path == "/leaves-stream" else b"")
    assert (asked.record["status"], asked.record["level"], asked.counted) == (499, "info", 1)
    assert "exception" not in asked.record
    assert (asked.spans, asked.others) == ([asked.ids], [])


@pytest.mark.parametrize("path", DENIED)
def test_a_denied_handshake_has_the_status_of_its_answer(server: Server, path: str) -> None:
    """Whoever denies it: one answer, one record with its status and what was raised, one count."""
    status, level, raised = DENIED[path]
    asked = Asked(
        server,
        path,
        host="other.example" if path == "/ws/foreign-host" else "localhost",
        origin="https://other.example" if path == "/ws/foreign-origin" else ORIGIN,
        more=HANDSHAKE,
        # granian keeps the connection open behind its answer.
        leave_after=b"\r\n\r\n",
        # Which route it was for is known to this app alone.
        route="unmatched" if "/foreign" in path else path,
    )
    assert asked.counted == 1
    assert (asked.status, asked.record["status"], asked.record["level"]) == (status, status, level)
    # uvicorn writes a line of its own for each handshake, at the level info.
    assert [one for one in asked.others if one["level"] != "info"] == []
    exception = json.dumps(asked.record.get("exception"))
    assert exception == "null" if raised is None else raised in exception


def test_no_server_reports_a_second_time(server: Server) -> None:
    """Of all that ended before, no server has a record of its own at the level error."""
    records = [json.loads(line) for line in server.stdout() if '"level":"error"' in line]
    assert [one for one in records if one["logger"] != "roadworthy.access"] == []
    assert [one for one in records if one["method"] == ""] == []
    assert [line for line in server.stderr() if "rror" in line or "Traceback" in line] == []


def test_the_next_request_is_served(server: Server) -> None:
    """The server goes on, and counts and traces it as the others."""
    asked = Asked(server, "/other")
    assert (asked.status, asked.counted, asked.spans) == (204, 1, [asked.ids])
