"""Requests that are broken at random: whatever comes in, there is no 500, no hang, and no trace left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.server.http.limits import Limits
from roadworthy.types import Receive, Scope, Send

from ...request_body import request_body
from ..wire import Served, parse, serving

EXAMPLES = 600
REFUSALS = {200, 100, 400, 408, 414, 431, 501, 505}

_methods = st.sampled_from(
    [b"GET", b"POST", b"PUT"] * 10 + [b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"G\0T", b""]
)
_targets = st.sampled_from(
    [b"/", b"/a?b"] * 10 + [b"*", b"//", b"http://a/b?c#d", b"http://u@a", b"a:1", b"/%00", b"/%", b"/\xff",
     b"", b"/" + b"a" * 300, b"?", b"/ ", b"http://", b"https://[::1]:8/x"]
)  # fmt: skip
_versions = st.sampled_from(
    [b"HTTP/1.1"] * 40 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1", b""]
)
_ends = st.sampled_from([b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b""])
_fields = st.sampled_from(
    [b"X: y", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: keep-alive"] * 8
    + [b"Host: x", b"Host: y, z", b"Host", b"Content-Length: 0",
     b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked",
     b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked",
     b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked ", b"Connection: close",
     b"Connection: keep-alive, Upgrade", b"Upgrade: h2c", b"Upgrade: websocket", b"Expect: 100-continue",
     b"Expect: x", b"TE: trailers", b" folded", b": ", b"\0: \0", b"X: \x7f", b"X:",
     b"X: " + b"y" * 1500, b"Content-Type: a/b"]
)  # fmt: skip
_bodies = st.sampled_from(
    [b"", b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3\nabc\n0\n\n",
     b"3;x=\"\r\n\"\r\nabc\r\n0\r\n\r\n", b"0\r\nHost: y\r\n\r\n",
     b"0\r\nX: y\r\n\r\n", b"fffffffff\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"\0\0\0", b"\r\n"]
)  # fmt: skip


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """Draw a request by the grammar, most of its parts in order and some of them not."""
    parts = [
        draw(_methods),
        b" ",
        draw(_targets),
        b" ",
        draw(_versions),
        draw(_ends),
        b"Host: x",
        draw(_ends),
    ]
    for field in draw(st.lists(_fields, max_size=3)):
        parts += [field, draw(_ends)]
    return b"".join([*parts, draw(_ends), draw(_bodies)])


@st.composite
def _streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Draw the bytes of a connection: some requests, some bytes changed, and where they are cut."""
    data = bytearray(b"".join(draw(st.lists(_requests(), min_size=1, max_size=3))))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3)):
        if data:
            data[at % len(data)] = byte
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=4))
    return bytes(data), sorted(cuts)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer."""
    if scope["type"] != "http":
        return
    if await request_body(receive) is None:
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The app on our protocol, with small limits, and without WebSockets: those are uvicorn's."""
    with serving(_app, Limits(header_limit=1000, url_limit=200), ws="none") as one:
        yield one


def _statuses(served: Served, pieces: list[bytes], method: bytes) -> list[int]:
    with served.connect() as client:
        for piece in pieces:
            client.send_one_by_one(piece) if len(piece) < 4 else client.send_some(piece)
        client.finish()
        data = client.rest()
    if b"HEAD" in method:
        # Where a response to HEAD ends depends on the request; the lines are enough here.
        return [int(line[9:12]) for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return [one.status for one in parse(data)]


def _judged(statuses: list[int]) -> list[bool]:
    """Accepted or refused, each; of two mistakes in one head, the cut may decide which one is seen first."""
    return [status == 200 for status in statuses if status != 100]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(stream=_streams())
def test_broken_requests(served: Served, stream: tuple[bytes, list[int]]) -> None:
    """Every answer is one of a few, and is the same however the bytes are cut."""
    data, cuts = stream
    whole = _statuses(served, [data], data)
    assert set(whole) <= REFUSALS, data
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    cut = _statuses(served, [piece for piece in pieces if piece], data)
    assert _judged(cut) == _judged(whole), (data, cuts)
    assert served.problems == []


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=300))
def test_noise(served: Served, data: bytes) -> None:
    """Bytes without any grammar get 400 at most."""
    assert set(_statuses(served, [data], b"")) <= {400, 505}
