"""What a client sees of the layer, whatever framework and server it stands between."""

from __future__ import annotations

import json
import socket
import sys
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from roadworthy.layer.request_fields import FIELDS, Repeats
from tests.apps.common import BIG_LIST, CANARY, EVENTS, TEXT_CHUNKS
from tests.conformance.conftest import APPS, SETTINGS, Cell
from tests.patience import DEADLINE
from tests.servers import SERVERS, ServerKind, serving

pytestmark = pytest.mark.long

ORIGIN = "https://good.example"
SECURITY = ("x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy")

# Status, method, path, body and content type of every refusal; the framework makes some, the layer others.
REFUSALS = [
    (404, "GET", "/nowhere", b"", ""),
    (404, "GET", "/items/1000", b"", ""),
    (405, "DELETE", "/items", b"", ""),
    (409, "GET", "/conflict", b"", ""),
    (500, "GET", "/fail", b"", ""),
    (413, "POST", "/items", b"x" * 30_000, "application/json"),
    (400, "POST", "/items", b'{"name":', "application/json"),
    (422, "POST", "/items", b'{"name":"\\u0000"}', "application/json"),
    (400, "POST", "/items", b'{"name":NaN}', "application/json"),
]


def _ask(
    cell: Cell,
    method: str,
    path: str,
    body: bytes = b"",
    kind: str = "",
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    fields = {"origin": ORIGIN, "accept-encoding": "identity", **(headers or {})}
    if kind:
        fields["content-type"] = kind
    return cell.client.request(method, path, content=body or None, headers=fields)


def _problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check all that must hold of any error, and return its document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "code", "instance"} <= document.keys()
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "origin" in response.headers["vary"].lower()
    for name in SECURITY:
        assert name in response.headers, name
    assert response.headers["cache-control"] == "no-store"
    assert CANARY not in response.text
    assert "Traceback" not in response.text
    return document


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "kind"), REFUSALS, ids=lambda v: str(v)[:24] if v else "-"
)
def test_every_refusal_has_one_shape(
    cell: Cell, status: int, method: str, path: str, body: bytes, kind: str
) -> None:
    """Whoever refuses, it is a problem with request id, CORS and security fields (spring-boot#33716)."""
    document = _problem(_ask(cell, method, path, body, kind), status)
    assert document["instance"] == path


def test_a_405_names_what_is_allowed(cell: Cell) -> None:
    """Every 405 has an ``Allow`` that names what the resource has (RFC 9110 §15.5.6)."""
    response = _ask(cell, "DELETE", "/items")
    allowed = {method.strip() for method in response.headers["allow"].split(",")}
    assert {"GET"} <= allowed
    assert "DELETE" not in allowed
    assert cell.framework == "raw" or "POST" in allowed


def test_refused_fields_are_listed(cell: Cell) -> None:
    """A failed validation names the field and repeats no value (fastapi/fastapi#14064)."""
    response = _ask(cell, "POST", "/items?token=SECRETQUERY", b'{"price":"SECRETVALUE"}', "application/json")
    document = _problem(response, 400 if cell.framework == "litestar" else 422)
    assert document["code"] == "VALIDATION_ERROR"
    assert cell.framework == "litestar" or "/name" in {entry["pointer"] for entry in document["errors"]}
    assert "SECRET" not in response.text


def test_another_media_type_is_refused_on_a_json_route(cell: Cell) -> None:
    """A body that is not JSON is 415 where the framework says that the route reads JSON."""
    if cell.framework != "fastapi":
        pytest.skip("the route's handler reads bytes itself: no framework but FastAPI knows what it expects")
    _problem(_ask(cell, "POST", "/items", b"name=x", "text/plain"), 415)


def test_a_chunked_body_is_counted(cell: Cell) -> None:
    """A body without a declared length is refused once it is above the limit."""

    def chunks() -> Any:
        for _ in range(30):
            yield b"x" * 1000

    response = cell.client.post(
        "/items", content=chunks(), headers={"origin": ORIGIN, "content-type": "application/octet-stream"}
    )
    _problem(response, 413)


def test_success_carries_the_fields_too(cell: Cell) -> None:
    """A 200 has id, security fields, CORS and ``no-store`` like any error (micronaut-core#3100)."""
    response = _ask(cell, "GET", "/ok")
    assert (response.status_code, response.json()) == (200, {"ok": True})
    for name in (*SECURITY, "x-request-id", "access-control-allow-origin"):
        assert name in response.headers, name
    assert response.headers["cache-control"] == "no-store"


def test_head_is_get_without_a_body(cell: Cell) -> None:
    """HEAD answers as GET does, with no body, and an error to it has none either."""
    if cell.framework in ("fastapi", "litestar"):
        pytest.skip("the framework's GET routes have no HEAD")
    head, get = _ask(cell, "HEAD", "/ok"), _ask(cell, "GET", "/ok")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    missing = _ask(cell, "HEAD", "/nowhere")
    assert (missing.status_code, missing.content) == (404, b"")


@pytest.mark.parametrize(
    "given",
    ['x"}{"', "a" * 200, "id with spaces", "<script>", ""],
    ids=["quote", "long", "space", "tag", "empty"],
)
def test_a_hostile_request_id_is_replaced(cell: Cell, given: str) -> None:
    """An id that could forge a record is replaced by one of the layer's."""
    answered = _ask(cell, "GET", "/ok", headers={"x-request-id": given}).headers["x-request-id"]
    assert answered != given
    assert len(answered) == 32


def test_a_well_formed_request_id_is_kept(cell: Cell) -> None:
    """A client's own id comes back in the field and in the error."""
    given = uuid.uuid4().hex
    response = _ask(cell, "GET", "/nowhere", headers={"x-request-id": given})
    assert response.headers["x-request-id"] == response.json()["request_id"] == given


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip;q=0.5, br;q=1", "br"),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("identity", None),
        ("xgzipx", None),
    ],
)
def test_compression_follows_the_quality_values(cell: Cell, accept: str, coding: str | None) -> None:
    """The coding is the best that the client takes, none at ``q=0``, and caches are told."""
    response = _ask(cell, "GET", "/items", headers={"accept-encoding": accept})
    assert response.headers.get("content-encoding") == coding
    assert "accept-encoding" in response.headers["vary"].lower()
    assert response.json() == BIG_LIST


def test_a_stream_arrives_whole(cell: Cell) -> None:
    """A streamed body arrives unchanged, coded or not."""
    for accept in ("identity", "gzip"):
        response = _ask(cell, "GET", "/stream", headers={"accept-encoding": accept})
        assert response.text == "".join(TEXT_CHUNKS)


def test_a_file_arrives_whole(cell: Cell) -> None:
    """A file response keeps its type and its length."""
    response = _ask(cell, "GET", "/file")
    assert response.headers["content-type"].startswith("text/x-python")
    assert int(response.headers["content-length"]) == len(response.content) > 0


def test_events_are_not_held_back(cell: Cell) -> None:
    """Server-sent events leave one by one and are never compressed (Kludex/starlette#2753)."""
    with cell.client.stream("GET", "/events", headers={"accept-encoding": "gzip, br"}) as response:
        assert "content-encoding" not in response.headers
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = ""
        for text in response.iter_text():
            seen += text
            if len(seen) >= len("".join(EVENTS)):
                break
    assert seen == "".join(EVENTS)


def test_preflights_are_answered(cell: Cell) -> None:
    """A preflight of an allowed origin is answered by the layer, that of another one allows nothing."""
    fields = {"origin": ORIGIN, "access-control-request-method": "POST"}
    allowed = cell.client.options("/items", headers=fields)
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    other = cell.client.options("/items", headers={**fields, "origin": "https://bad.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_limit_is_told_and_kept(cell: Cell) -> None:
    """The fourth of three allowed requests is 429 with ``Retry-After`` and the RateLimit fields."""
    answers = [_ask(cell, "GET", "/limited") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    document = _problem(answers[3], 429)
    assert document["code"] == "RATE_LIMITED"
    assert int(answers[3].headers["retry-after"]) > 0
    for answer in answers:
        assert "ratelimit" in answer.headers
        assert "ratelimit-policy" in answer.headers


def test_probes_answer(cell: Cell) -> None:
    """Liveness and readiness answer 200 with small bodies that nobody caches."""
    for path in ("/livez", "/readyz"):
        response = cell.client.get(path)
        assert response.status_code == 200
        assert len(response.content) < 200
        assert "no-store" in response.headers["cache-control"]


def _records(lines: list[str], request_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines if request_id in line and line.startswith("{")]


def _lines_with(cell: Cell, *ids: str) -> list[str]:
    """Return the lines of standard output once each id is in one.

    A record is written when its app is done, which may be after that of the next request.
    """
    return cell.server.wait_stdout(lambda lines: all(any(one in line for line in lines) for one in ids))


def test_a_request_leaves_one_record(cell: Cell) -> None:
    """One JSON line on standard output per request, with the id, and without the query."""
    given = uuid.uuid4().hex
    _ask(
        cell,
        "GET",
        "/items/7?token=SECRETQUERY",
        headers={"x-request-id": given, "authorization": "SECRETTOKEN"},
    )
    last = uuid.uuid4().hex
    _ask(cell, "GET", "/ok", headers={"x-request-id": last})
    lines = _lines_with(cell, given, last)
    (record,) = _records(lines, given)
    assert (record["method"], record["path"], record["status"]) == ("GET", "/items/7", 200)
    assert record["request_id"] == given
    assert record["level"] == "info"
    if cell.framework != "raw":
        assert record["route"].startswith("/items/")
        assert "item_id" in record["route"]
    everything = "\n".join([*lines, *cell.server.stderr()])
    assert "SECRET" not in everything
    # No second access line, the server's own, for the same request.
    assert sum("/items/7" in line for line in everything.splitlines()) == 1


def test_a_failure_leaves_one_record_with_its_stack(cell: Cell) -> None:
    """A 500 is one record at error with the stack inside, whichever part hides the exception."""
    given = uuid.uuid4().hex
    before = len([line for line in cell.server.stdout() + cell.server.stderr() if CANARY in line])
    _ask(cell, "GET", "/fail", headers={"x-request-id": given})
    last = uuid.uuid4().hex
    _ask(cell, "GET", "/ok", headers={"x-request-id": last})
    lines = _lines_with(cell, given, last)
    (record,) = _records(lines, given)
    assert (record["level"], record["status"]) == ("error", 500)
    assert CANARY in json.dumps(record["exception"])
    assert "raise RuntimeError(CANARY)" in json.dumps(record["exception"])
    after = len([line for line in lines + cell.server.stderr() if CANARY in line])
    assert after - before == 1


def test_a_websocket_echoes(cell: Cell) -> None:
    """A WebSocket of the own origin is passed to the app."""
    if cell.framework == "django":
        pytest.skip("Django has no WebSockets")
    here = f"127.0.0.1:{cell.server.port}"
    with connect(f"ws://{here}/ws", origin=Origin(f"http://{here}")) as ws:
        ws.send("hello")
        assert ws.recv(timeout=DEADLINE) == "hello"


def test_a_websocket_of_another_origin_is_refused(cell: Cell) -> None:
    """A handshake from another site is refused before the app sees it."""
    if cell.framework == "django":
        pytest.skip("Django has no WebSockets")
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{cell.server.port}/ws", origin=Origin("https://bad.example")).close()
    assert refused.value.response.status_code == 403


def test_a_broken_stream_does_not_look_whole(cell: Cell) -> None:
    """A stream that fails in the middle ends without its last chunk, so that the client can tell."""
    if cell.framework != "fastapi":
        pytest.skip("one framework is enough: the layer ends the response, not the framework")
    with socket.create_connection(("127.0.0.1", cell.server.port), timeout=DEADLINE) as connection:
        connection.sendall(b"GET /broken-stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = b""
        while chunk := connection.recv(4096):
            seen += chunk
    assert TEXT_CHUNKS[0].encode() in seen
    assert not seen.endswith(b"0\r\n\r\n")
    assert CANARY.encode() not in seen


def _status(server_port: int, path: str) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{server_port}{path}", timeout=2).status_code
    except httpx.TransportError:
        return None


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


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("framework", APPS)
def test_sigterm_drains(framework: str, kind: ServerKind, tmp_path: Any) -> None:
    """After SIGTERM streams are told, and the process leaves in time (spring-boot#20995, dropwizard#4770).

    Under uvicorn readiness turns to 503 first while new connections are still served. granian and hypercorn
    listen for the signal on the event loop, so their listener closes at once; hypercorn tells nobody before
    it has waited for its connections, so there the stream is cut.
    """
    if (kind, framework) == ("hypercorn", "raw") and sys.version_info >= (3, 12):
        pytest.skip("hypercorn waits without end for a stream whose app never asks for its client")
    settings = {**SETTINGS, "ROADWORTHY_DRAIN_DELAY": "2"}
    with serving(kind, APPS[framework], tmp_path, settings, "/livez") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as connection:
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            seen = b""
            while EVENTS[-1].encode() not in seen:
                seen += connection.recv(4096)
            assert _status(server.port, "/readyz") == 200
            server.terminate()
            while kind != "hypercorn" and b"data: draining" not in seen:
                chunk = connection.recv(4096)
                assert chunk, "the stream ended without being told"
                seen += chunk
            if kind == "uvicorn":
                assert _status(server.port, "/readyz") == 503
                assert _status(server.port, "/ok") == 200
            # From Python 3.12 on hypercorn waits for a stream as long as its client does.
            while kind != "hypercorn" and connection.recv(4096):
                pass
        assert server.wait_exit() in (0, -15)
