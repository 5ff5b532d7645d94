"""What several lines of one field mean to the layer, for every field that is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import roadworthy
from roadworthy import RequestInfo, RouteRule, current_request_id
from roadworthy import roadworthy as around
from roadworthy.layer.request_fields import FIELDS, Repeats
from roadworthy.layer.tracing import trace_headers
from roadworthy.types import Receive, Scope, Send
from tests.asgi_driver import Call, ask, http_scope

pytestmark = pytest.mark.anyio

SOURCE = Path(roadworthy.__file__).parent

# Names by which the code calls the fields of a request, and never those of a response.
_REQUEST = {"headers", "fields", "raw", "names"}
_RESPONSE = {
    "retry-after",
    "vary",
    "etag",
    "access-control-allow-origin",
    "cache-control",
    "expires",
    "pragma",
    "content-security-policy",
}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.AST) -> str | None:
    return node.value.decode() if isinstance(node, ast.Constant) and isinstance(node.value, bytes) else None


def _read(tree: ast.AST) -> Iterator[str]:
    """Yield the fields that a module reads: ``fields.get(b"…")``, ``fields[b"…"]``, ``b"…" in fields``, and
    comparisons of a name with a field's."""
    for node in ast.walk(tree):
        found: str | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            if _name(node.func.value) in _REQUEST and node.args:
                found = _text(node.args[0])
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            found = _text(node.slice) if _name(node.value) in _REQUEST else None
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            found = _text(node.left) if _name(node.comparators[0]) in _REQUEST else None
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
            found = _text(node.comparators[0]) if _name(node.left) == "name" else None
        if found:
            yield found


def test_every_field_that_is_read_has_a_rule() -> None:
    """Whoever reads a further field of the request decides what several lines of it mean."""
    read = {
        field
        for room in ("layer", "server", "patterns")
        for file in (SOURCE / room).rglob("*.py")
        if file.name not in ("security_headers.py", "fields.py", "response_head.py", "selftest.py")
        for field in _read(ast.parse(file.read_text()))
    }
    assert {"host", "transfer-encoding", "origin", "x-forwarded-proto"} <= read
    ruled = {name.decode() for name in FIELDS}
    assert read - _RESPONSE - ruled == set()


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


VALUES: dict[bytes, tuple[bytes, bytes]] = {
    b"host": (b"localhost", b"example.com"),
    b":authority": (b"localhost", b"example.com"),
    b"content-length": (b"0", b"1"),
    b"content-type": (b"application/json", b"text/plain"),
    b"origin": (b"https://a.example", b"https://b.example"),
}
CELLS = [(name, equal) for name in FIELDS for equal in (True, False)]


@pytest.mark.parametrize(("name", "equal"), CELLS)
async def test_repeated_lines(name: bytes, equal: bool) -> None:
    """By the table: refused with 400, one value, or a list; and what the service is told of them."""
    told: list[Mapping[bytes, bytes]] = []

    def user_key(request: RequestInfo) -> str | None:
        told.append({key.encode(): value.encode() for key, value in request.headers.items()})
        return None

    app = around(_app, routes={"/": RouteRule(rate_limit="9/hour", rate_key="user")}, user_key=user_key)
    first, other = VALUES.get(name, (b"a", b"b"))
    second = first if equal else other
    rule = FIELDS[name]
    answered = await ask(app, headers=[(name, first), (b"x-other", b"1"), (name, second)])
    if rule is Repeats.NEVER or (rule is Repeats.EQUAL and not equal):
        assert answered.status == 400
        assert not told
        return
    assert answered.status == 200
    separator = {Repeats.EQUAL: b"", Repeats.PAIRS: b"; ", Repeats.LIST: b", "}[rule]
    assert told[0][name] == (first if rule is Repeats.EQUAL else first + separator + second)


@pytest.mark.parametrize(
    ("name", "equal"),
    [cell for cell in CELLS if FIELDS[cell[0]] in (Repeats.NEVER, Repeats.EQUAL)],
)
async def test_a_handshake_is_judged_alike(name: bytes, equal: bool) -> None:
    """A WebSocket whose handshake has such lines is refused."""
    first, other = VALUES.get(name, (b"a", b"b"))
    fields = [(b"host", b"a.example")] if name != b"host" else []
    fields += [(name, first), (name, first if equal else other)]
    scope = http_scope(headers=fields, type="websocket")
    del scope["method"]
    call = Call(around(_app, cors_origins="https://a.example"), scope)
    call._inbox.put_nowait({"type": "websocket.connect"})
    sent = await call.until_sent(1)
    refused = FIELDS[name] is Repeats.NEVER or not equal
    assert (sent[0]["type"] == "websocket.accept") is not refused
    await call.task


@pytest.mark.parametrize(
    ("field", "given"),
    [
        (b"x-request-id", b"a" * 32),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        (b"traceparent", b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ],
)
async def test_an_id_in_two_lines_is_no_id(field: bytes, given: bytes) -> None:
    """Nobody can tell which of two ids is meant, so both are passed over."""
    seen: list[tuple[str, dict[str, str]]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((current_request_id(), trace_headers()))
        await _app(scope, receive, send)

    layer = around(app)
    await ask(layer, headers=[(field, given)])
    await ask(layer, headers=[(field, given), (field, given)])
    kept, passed_over = seen
    if field == b"x-request-id":
        assert kept[0] == given.decode() != passed_over[0]
    else:
        assert given[3:35].decode() in kept[1]["traceparent"]
        assert passed_over[1] == {}


async def test_connect_is_not_implemented() -> None:
    """No 2xx makes the connection a tunnel, and the connection ends (RFC 9110 §9.3.6)."""
    for path in ("/", "/livez", "/x"):
        answered = await ask(around(_app), "CONNECT", path)
        assert answered.status in (405, 501)
    assert answered.headers["connection"] == "close"
