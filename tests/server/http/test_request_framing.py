"""Tables of what a request's head may say about protocol, tunnel, coding and repeated fields: every cell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from roadworthy.layer.request_fields import FIELDS, Repeats
from roadworthy.server.http.limits import Limits
from roadworthy.types import Receive, Scope, Send

from ...request_body import request_body
from ..wire import Client, Served, expect_refusal, serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
HOST = b"\r\nHost: x\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer with what was understood."""
    body = await request_body(receive)
    if body is None:
        return
    told = f"{scope['method']} {scope['path']} {scope['http_version']} {body!r}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The app, served."""
    with serving(_app, Limits()) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A connection to it."""
    with served.connect() as one:
        yield one


def _refused_however_it_comes(served: Served, data: bytes, status: int) -> None:
    """Whole, byte by byte and behind a good request: one refusal, and nothing behind it is answered."""
    with served.connect() as whole:
        expect_refusal(whole, status, data)
    with served.connect() as slow:
        expect_refusal(slow, status, data, one_by_one=True)
    with served.connect() as behind:
        expect_refusal(behind, status, GET + data + GET, after=(b"GET / 1.1 b''",))


# -- protocol and version

PROTOCOLS = {
    **dict.fromkeys((b"RTSP/1.0", b"RTSP/1.1", b"RTSP/2.0", b"ICE/1.0", b"ICE/1.1", b"FTP/1.1"), 400),
    **dict.fromkeys((b"SIP/2.0", b"http/1.1", b"Http/1.1", b"HTTPS/1.1", b"HTTP/1", b"HTTP/11"), 400),
    **dict.fromkeys((b"HTTP/1.2", b"HTTP/1.10", b"HTTP/1.x", b"HTTP/3.0", b"HTTP/2", b"HTTP/1.1 "), 400),
    **dict.fromkeys((b"HTTP/0.9", b"HTTP/2.0"), 505),
}  # fmt: skip
METHODS = (b"GET", b"POST", b"OPTIONS", b"DESCRIBE", b"ANNOUNCE", b"SETUP", b"FLUSH", b"RECORD", b"SOURCE")


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=bytes.decode)
@pytest.mark.parametrize("method", METHODS, ids=bytes.decode)
def test_another_protocol_is_no_request(served: Served, method: bytes, protocol: bytes) -> None:
    """Only HTTP/1.1 and HTTP/1.0 are served (RFC 9112 §2.3): all else is 400, another version of HTTP 505."""
    status = PROTOCOLS[protocol]
    if method not in (b"GET", b"POST", b"OPTIONS", b"SOURCE"):
        status = 400  # no method of HTTP's: the parser refuses it first
    _refused_however_it_comes(served, method + b" /a?b=c " + protocol + HOST + b"\r\n", status)


def test_the_name_of_another_protocol_may_stand_elsewhere(client: Client) -> None:
    """It is the request line that counts: fields, targets and bodies may have such a text in them."""
    body = b"GET /a RTSP/1.0\r\n\r\n"
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nX-Note: GET /b RTSP/1.0\r\nUpgrade: RTSP/1.0\r\n"
    data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    client.send(data + b"GET /ICE/1.0?q=RTSP/1.0 HTTP/1.0\r\n\r\n")
    assert client.response().body == f"POST /a 1.1 {body!r}".encode()
    assert client.response().body == b"GET /ICE/1.0 1.0 b''"


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 33\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n21\r\n"]
)
def test_a_decoy_in_the_body_before_does_not_hide_another_protocol(client: Client, framed: bytes) -> None:
    """A body that begins like the request behind it is not taken for that request's line."""
    decoy = b"GET /a HTTP/1.1\r\nHost: x\r\nX: abcd"
    end = b"\r\n0\r\n\r\n" if b"chunked" in framed else b""
    assert len(decoy) == 33
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + framed)
    # So the server has read the head, and the decoy begins what it reads next.
    assert client.response().status == 100
    expect_refusal(
        client, 400, decoy + end + b"GET /a RTSP/1.0\r\nHost: x\r\n\r\n",
        after=(f"POST / 1.1 {decoy!r}".encode(),),
    )  # fmt: skip


@pytest.mark.parametrize("cut", range(1, 40))
def test_another_protocol_behind_a_split_head(client: Client, cut: int) -> None:
    """Wherever the piece ends in the head before, the request line behind it is seen."""
    first = b"GET /a HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n"
    client.send(first[:cut])
    client.send_some(first[cut:] + b"GET /a RTSP/1.0\r\nHost: x\r\n\r\n")
    expect_refusal(client, 400, after=(b"GET /a 1.1 b''",))


# -- CONNECT

CONNECTS = [
    b"CONNECT " + target + b" HTTP/1." + minor + HOST + framing
    for target in (b"x:443", b"/", b"/path", b"x", b"*", b"http://x/")
    for minor in (b"0", b"1")
    for framing in (
        b"\r\n" + SMUGGLED,
        b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        b"Content-Length: 0\r\n\r\n" + SMUGGLED,
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + SMUGGLED,
        *(
            [b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)]
            if minor == b"1"
            else []
        ),
    )
]


@pytest.mark.parametrize(
    "data", CONNECTS, ids=lambda data: repr(data[:40]) if isinstance(data, bytes) else ""
)
def test_connect_makes_no_tunnel(served: Served, data: bytes) -> None:
    """CONNECT is 501 whatever its target and body, and no byte behind it is a request (RFC 9110 §9.3.6)."""
    _refused_however_it_comes(served, data, 501)


# -- Transfer-Encoding

CODINGS: dict[tuple[bytes, ...], int] = {
    (b"gzip", b"chunked"): 501,
    (b"identity", b"chunked"): 501,
    (b"gzip", b"deflate, chunked"): 501,
    (b"chunked", b"gzip"): 400,
    (b"chunked", b"identity"): 400,
    (b"chunked", b"chunked"): 400,
    (b"chunked", b""): 400,
    (b"chunked, chunked",): 400,
    (b"gzip, chunked",): 501,
    (b"chunked, gzip", b"chunked"): 400,
    (b"gzip",): 400,
}


@pytest.mark.parametrize("lines", CODINGS, ids=lambda lines: " | ".join(one.decode() for one in lines))
def test_every_line_of_transfer_encoding_counts(served: Served, lines: tuple[bytes, ...]) -> None:
    """The lines are one list, and only ``chunked`` alone is implemented (RFC 9112 §6.1)."""
    fields = b"".join(b"Transfer-Encoding: " + line + b"\r\n" for line in lines)
    # With another field between them as well.
    for between in (b"", b"X: y\r\n"):
        head = b"POST / HTTP/1.1" + HOST + fields.replace(b"\r\nT", b"\r\n" + between + b"T") + b"\r\n"
        _refused_however_it_comes(served, head + b"0\r\n\r\n" + SMUGGLED, CODINGS[lines])


# -- Upgrade

UPGRADES = [
    method + b" /up HTTP/1.1" + HOST + fields + framed
    for method in (b"GET", b"POST", b"OPTIONS")
    for fields in (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        b"Connection: Upgrade\r\nConnection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Upgrade: h2c\r\n",
        b"Connection: upgrade\r\nUpgrade: TLS/1.0, h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: foo/2\r\n",
    )
    for framed in (
        b"\r\n",
        b"Content-Length: 3\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
]


@pytest.mark.parametrize(
    "data", UPGRADES, ids=lambda data: repr(data[-70:]) if isinstance(data, bytes) else ""
)
def test_an_upgrade_that_is_not_spoken_is_ignored(served: Served, data: bytes) -> None:
    """It is answered in HTTP/1.1 (RFC 9110 §7.8), and what is behind its body is the next request."""
    method = data.partition(b" ")[0].decode()
    body = b"abc" if b"abc" in data else b""
    expected = [f"{method} /up 1.1 {body!r}".encode(), b"GET / 1.1 b''"] * 2
    for one_by_one in (False, True):
        with served.connect() as client:
            (client.send_one_by_one if one_by_one else client.send)((data + GET) * 2)
            assert [client.response(to="GET").body for _ in expected] == expected


# -- repeated fields

# A value that the field can have, and another one.
VALUES: dict[bytes, tuple[bytes, bytes]] = {
    b"host": (b"x", b"y"),
    b"content-length": (b"0", b"00"),
    b"content-type": (b"text/plain", b"application/json"),
    b"authorization": (b"Bearer a", b"Bearer b"),
    b"origin": (b"https://a.example", b"https://b.example"),
    b"access-control-request-method": (b"GET", b"PUT"),
    b"sec-websocket-key": (b"dGhlIHNhbXBsZSBub25jZQ==", b"AAAAAAAAAAAAAAAAAAAAAA=="),
    b"sec-websocket-version": (b"13", b"8"),
}


@pytest.mark.parametrize("name", [name for name in FIELDS if name in VALUES], ids=bytes.decode)
@pytest.mark.parametrize("equal", [True, False], ids=["equal", "different"])
def test_a_field_of_one_value_that_is_repeated(served: Served, name: bytes, equal: bool) -> None:
    """Lines that differ are 400; equal ones too where the field names the host or frames the body."""
    first, second = VALUES[name]
    lines = b"".join(name + b": " + value + b"\r\n" for value in (first, first if equal else second))
    host = b"" if name == b"host" else b"Host: x\r\n"
    data = b"POST / HTTP/1.1\r\n" + host + lines + b"\r\n"
    if equal and FIELDS[name] is Repeats.EQUAL:
        with served.connect() as client:
            client.send(data + GET)
            assert [client.response().status for _ in range(2)] == [200, 200]
    else:
        _refused_however_it_comes(served, data, 400)


def test_every_field_of_one_value_is_in_the_table() -> None:
    """A rule that refuses has its row above."""
    refusing = {name for name, rule in FIELDS.items() if rule in (Repeats.NEVER, Repeats.EQUAL)}
    assert refusing - {b":authority"} == set(VALUES)


@pytest.mark.parametrize(
    "name", [n for n, rule in FIELDS.items() if rule not in (Repeats.NEVER, Repeats.EQUAL)]
)
def test_a_list_may_have_several_lines(served: Served, name: bytes) -> None:
    """A list field in two lines is the list of both, and is no reason to refuse."""
    values = {b"transfer-encoding": None, b"expect": (b"tea", b"100-continue"), b"upgrade": (b"a/1", b"b/1")}
    lines = values.get(name, (b"a", b"b"))
    if lines is None:
        return  # has a table of its own
    fields = b"".join(name + b": " + line + b"\r\n" for line in lines)
    with served.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + fields + b"\r\n")
        if name == b"expect":
            assert client.response().status == 100
        client.send(b"ab" + GET)
        assert [client.response().body for _ in range(2)] == [b"POST / 1.1 b'ab'", b"GET / 1.1 b''"]


@pytest.mark.parametrize("order", [(b"close", b"keep-alive"), (b"keep-alive", b"close"), (b"close", b"x")])
def test_connection_in_several_lines(client: Client, order: tuple[bytes, bytes]) -> None:
    """``close`` in any line of Connection closes (RFC 9112 §9.3)."""
    client.send(
        b"GET / HTTP/1.1" + HOST + b"".join(b"Connection: " + one + b"\r\n" for one in order) + b"\r\n"
    )
    response = client.response()
    assert (response.status, response.closes, client.is_closed()) == (200, True, True)
