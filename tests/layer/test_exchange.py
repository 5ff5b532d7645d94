"""The record of an exchange: where it may come from, and the one way to add a field to its response."""

from __future__ import annotations

from math import inf

import pytest

from roadworthy.layer.exchange import Exchange
from roadworthy.types import Scope

_FIELDS = [(b"host", b"example.com"), (b"accept", b"text/html"), (b"accept", b"*/*")]


def _scope(**changes: object) -> Scope:
    return {
        "path": "/rooms/1",
        "root_path": "/api",
        "query_string": b"a=1",
        "http_version": "1.1",
        "headers": _FIELDS,
        "client": ("192.0.2.7", 4711),
        **changes,
    }


def test_a_request_is_read_from_its_scope() -> None:
    """Everything that items know of a request comes from its scope, repeated fields joined by their rule."""
    made = Exchange.of_http(_scope(method="POST", scheme="https"))
    assert (made.method, made.path, made.root, made.query) == ("POST", "/rooms/1", "/api", b"a=1")
    assert (made.scheme, made.http_version, made.websocket) == ("https", "1.1", False)
    assert made.peer == made.client == made.client_key == "192.0.2.7"
    assert made.raw_headers is _FIELDS
    assert made.headers == {b"host": b"example.com", b"accept": b"text/html, */*"}
    assert (made.repeat, made.status, made.deadline) == (None, 0, inf)


@pytest.mark.parametrize(("scheme", "seen"), [("ws", "http"), ("wss", "https")])
def test_a_websocket_is_the_request_that_its_handshake_is(scheme: str, seen: str) -> None:
    """A WebSocket's scope has no method and a scheme of its own; the record has those of the handshake."""
    made = Exchange.of_websocket(_scope(scheme=scheme))
    assert (made.method, made.scheme, made.websocket) == ("GET", seen, True)
    assert made.describe() == "WebSocket /rooms/1"


def test_of_a_refused_request_only_the_sender_is_known() -> None:
    """A request that the server could not read has no method and no path, so that none is recorded."""
    made = Exchange.of_refusal("192.0.2.7")
    assert (made.method, made.path, made.peer) == ("", "", "192.0.2.7")
    assert made.headers == {}
    assert made.known_route() is None


def test_lines_are_used_only_where_the_response_takes_them() -> None:
    """The caller of ``add`` does not see how the response travels; each field leaves once either way."""
    made = Exchange.of_refusal("")
    made.response_headers = []
    made.add(((b"a", b"1"),), b"a: 1\r\n")
    assert (made.response_headers, made.lines) == ([(b"a", b"1")], None)
    made.lines = []
    made.add(((b"b", b"2"),), b"b: 2\r\n")
    made.add(((b"connection", b"close"),))
    assert made.response_headers == [(b"a", b"1"), (b"connection", b"close")]
    assert made.lines == [b"b: 2\r\n"]


def test_nobody_carries_an_exchange_that_is_over() -> None:
    """What works on after the response cannot hold it back any more, nor have a rule looked up."""
    made = Exchange.of_refusal("")

    async def settle(status: int) -> None:
        raise AssertionError(status)

    assert not made.hold_for(settle)
    assert not made.is_served_here()
    assert made.enter(("/late", 0)) is None
