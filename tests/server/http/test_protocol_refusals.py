"""What is not HTTP/1.1 is refused: with an answer that can be read, in one piece or byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from roadworthy.errors import APIError
from roadworthy.layer.exchange import Reply
from roadworthy.server.http.limits import Limits
from roadworthy.types import Receive, Scope, Send

from ...request_body import request_body
from ..wire import Client, Served, expect_refusal, parse, serving

SMALL = Limits(header_limit=1000, header_count=20, url_limit=200)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer with what was understood."""
    body = await request_body(receive)
    if body is None:
        return
    told = f"{scope['method']} {scope['path']} {body!r}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told})


class Counting:
    """A refusal encoder that keeps what it was asked."""

    def __init__(self) -> None:
        self.refusals: list[tuple[int, str]] = []
        self.overrulings: list[int] = []

    def refused(self, error: APIError, peer: str) -> Reply:
        self.refusals.append((error.status, peer))
        return Reply(error.status, [(b"x-by", b"encoder"), (b"content-length", b"4")], b"told")

    def overruled(self, error: APIError, scope: Scope, exception: BaseException | None) -> Reply:
        self.overrulings.append(error.status)
        return Reply(error.status, [(b"x-by", b"encoder")], b"told")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The app, served with small limits."""
    with serving(_app, SMALL) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A connection to it."""
    with served.connect() as one:
        yield one


REFUSED = {
    "Content-Length with Transfer-Encoding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding with Content-Length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "a length above 64 bits": (POST + b"Content-Length: 18446744073709551617\r\n\r\nabc", 400),
    "no length": (POST + b"Content-Length:\r\n\r\nabc", 400),
    "a chunk size with a prefix": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size with a sign": (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size above 64 bits": (CHUNKED + b"10000000000000001\r\nabc\r\n0\r\n\r\n", 400),
    "an empty chunk size": (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk without its end": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "a chunk ended by a bare LF": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "a chunk size ended by a bare LF": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "a chunk extension with a bare CR": (CHUNKED + b"3;a=\rb\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk extension with a bare LF": (CHUNKED + b"3;a=\nb\r\nabc\r\n0\r\n\r\n", 400),
    "a trailer that frames": (CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n", 400),
    "a trailer that routes": (CHUNKED + b"0\r\nHost: y\r\n\r\n", 400),
    "obsolete folding": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "folding before the first field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    "two Hosts": (GET + b"Host: x\r\n\r\n", 400),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: a/admin?\r\n\r\n", 400),
    "a Host with user info": (b"GET / HTTP/1.1\r\nHost: user@x\r\n\r\n", 400),
    "two Content-Types": (POST + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
    "a field ended by a bare LF": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    "a request line ended by a bare LF": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "a head ended by a bare LF": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    "a bare CR in a value": (GET + b"X: a\rb\r\n\r\n", 400),
    "NUL in a value": (GET + b"X: a\0b\r\n\r\n", 400),
    "ESC in a value": (GET + b"X: a\x1b[0m\r\n\r\n", 400),
    "DEL in a value": (GET + b"X: a\x7f\r\n\r\n", 400),
    "white space before the colon": (GET + b"X : y\r\n\r\n", 400),
    "a name that is no token": (GET + b"X(y): z\r\n\r\n", 400),
    "an empty name": (GET + b": z\r\n\r\n", 400),
    "a field without a colon": (GET + b"X\r\n\r\n", 400),
    "a method that is no token": (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an authority as the target": (b"GET @google.com HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "authority form": (b"GET google.com:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a relative target": (b"GET a/b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "user info in the target": (b"GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another scheme": (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "asterisk form with GET": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a target outside of ASCII": (b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "chunked not last": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in two lines": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "chunked with a prefix": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked with a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "a coding that is not there": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "another protocol": (b"GET / FTP/1.0\r\nHost: x\r\n\r\n", 400),
    "a version of many digits": (b"GET / HTTP/1.11\r\nHost: x\r\n\r\n", 400),
    "two empty lines before": (b"\r\n\r\n" + GET + b"\r\n", 400),
    "a TLS handshake behind an empty line": (b"\r\n\x16\x03\x01\x02\0\r\n\r\n", 400),
    "a bare LF before": (b"\n" + GET + b"\r\n", 400),
    "a long target": (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long field": (GET + b"X: " + b"a" * 1100 + b"\r\n\r\n", 431),
    "a long name": (GET + b"X" * 1100 + b": a\r\n\r\n", 431),
    "long fields": (GET + b"".join(b"X: " + b"a" * 100 + b"\r\n" for _ in range(10)) + b"\r\n", 431),
    "many fields": (GET + b"X: a\r\n" * 20 + b"\r\n", 431),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(client: Client, name: str) -> None:
    """The answer is an error in the common shape, says that it closes, and closes."""
    data, status = REFUSED[name]
    expect_refusal(client, status, data)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_byte_by_byte(client: Client, name: str) -> None:
    """Where the bytes are cut changes nothing."""
    data, status = REFUSED[name]
    expect_refusal(client, status, data, one_by_one=True)


@pytest.mark.parametrize(
    "name", [name for name, (data, _) in REFUSED.items() if not data.startswith((b"\r", b"\n", b"PRI"))]
)
def test_refused_behind_a_good_one(client: Client, name: str) -> None:
    """The request before it is answered first; what comes behind is not looked at."""
    data, status = REFUSED[name]
    expect_refusal(client, status, GET + b"\r\n" + data + GET + b"\r\n", after=(b"GET / b''",))


ACCEPTED = {
    "an empty line before": b"\r\n" + GET + b"\r\n",
    "the most fields": GET + b"X: a\r\n" * 19 + b"\r\n",
    "the longest target": b"GET /" + b"a" * 199 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "the longest fields": GET + b"X: " + b"a" * (1000 - 9 - 5) + b"\r\n\r\n",
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "an IPv6 Host": b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
    "bytes above ASCII in a value": GET + b"X: caf\xe9\r\n\r\n",
    "chunked in upper case": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    "a chunk size with zeros": CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n",
    "chunk extensions": CHUNKED + b'3;a;b=c;d="e f"\r\nabc\r\n0\r\nX-T: y\r\n\r\n',
    "an h2c upgrade": GET
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    "an upgrade with a body": POST + b"Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 3\r\n\r\nabc",
    "a WebDAV method": b"PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body with GET": GET + b"Content-Length: 3\r\n\r\nabc",
    "an expectation that nobody knows": GET + b"Expect: tea\r\n\r\n",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_alike_however_it_is_cut(served: Served, name: str) -> None:
    """Two of them on one connection, in one write and byte by byte, get the same two answers."""
    data = ACCEPTED[name]
    answers: list[list[bytes]] = []
    for one_by_one in (False, True):
        with served.connect() as client:
            both = data + data.lstrip(b"\r\n")
            (client.send_one_by_one if one_by_one else client.send)(both)
            answers.append([client.response().body for _ in range(2)])
    assert answers[0] == answers[1]
    assert answers[0][0] == answers[0][1]
    body = b"b'abc'" if b"abc" in data else b"b''"
    assert answers[0][0].endswith(body)


def test_a_tls_handshake_is_closed_without_an_answer(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Clear text would be noise to that client; the record says what happened."""
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert client.is_closed()
    assert "TLS handshake" in caplog.text


@pytest.mark.parametrize("cut", [900, 1050])
def test_a_long_field_in_two_pieces_is_refused(client: Client, cut: int) -> None:
    """The limit holds for the whole head, not for what came last of it."""
    data = REFUSED["a long field"][0]
    expect_refusal(client, 431, data[:cut], data[cut:])


def test_a_head_that_never_ends_is_refused_early(client: Client) -> None:
    """One endless field value is cut off at the limits, long before 16 MiB are in memory (uvicorn#2019)."""
    expect_refusal(client, 431, GET + b"X: ", *[b"a" * 1000] * 20)


def test_chunks_that_are_mostly_framing_are_refused(client: Client) -> None:
    """Extensions are no way to send without end below the body limit (CVE-2023-39326)."""
    expect_refusal(client, 400, CHUNKED, *[b"1;" + b"a" * 4000 + b"\r\nx\r\n"] * 100)


@pytest.mark.parametrize("body", [b"z\r\n", b"3\r\nabcd"])
def test_a_body_that_breaks_after_its_response_ends_the_connection(served: Served, body: bytes) -> None:
    """There is nothing to be said any more: no second answer, and nothing behind it is understood."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"early"})

    with serving(app) as quick, quick.connect() as client:
        client.send(CHUNKED)
        assert client.response().body == b"early"
        client.send(body + GET + b"\r\n")
        assert client.is_closed()


def test_the_encoder_is_asked_for_every_refusal() -> None:
    """Who serves decides how it is told and counts it: once for each, with the address of the peer."""
    encoder = Counting()
    with serving(_app, SMALL, encoder) as place:
        for data, status in ((b"nonsense\r\n\r\n", 400), (REFUSED["a long target"][0], 414)):
            with place.connect() as client:
                client.send(data)
                [response] = client.all_responses()
                assert (response.status, response.body) == (status, b"told")
                assert response.headers["x-by"] == "encoder"
                assert response.closes
        with place.connect() as client:
            client.send(CHUNKED + b"z\r\n")
            assert client.response().body == b"told"
    assert encoder.refusals == [(400, "127.0.0.1"), (414, "127.0.0.1")]
    assert encoder.overrulings == [400]


def test_an_encoder_that_fails_does_not_keep_the_answer_back(caplog: pytest.LogCaptureFixture) -> None:
    """The status is still told, and the failure is on record."""

    class Broken(Counting):
        def refused(self, error: APIError, peer: str) -> Reply:
            raise RuntimeError("cannot")

    with serving(_app, SMALL, Broken()) as place, place.connect() as client:
        client.send(b"nonsense\r\n\r\n")
        [response] = parse(client.rest())
        assert (response.status, response.closes) == (400, True)
    assert "RuntimeError" in caplog.text
