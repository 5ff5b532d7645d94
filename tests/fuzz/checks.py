"""Targets for the checker's readers: a service under a check may send anything, and is judged by it."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import quote, quote_plus

import brotli  # type: ignore[import-untyped]
import h11
import zstandard
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from roadworthy.checker.http.codings import CODINGS, Undecodable, codings_of, decode, decoder
from roadworthy.checker.http.response import ResponseParser
from roadworthy.checker.read.exposition import Sample, read_exposition
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.read.openapi import METHODS, OpenApi
from roadworthy.checker.read.records import parse_record
from roadworthy.checker.service.process import Line

from .target import Pieces, Target

__all__ = ("TARGETS",)

_METHODS = ("GET", "HEAD", "POST")


def _read(method: str, parts: Sequence[bytes]) -> tuple[ResponseParser, bool]:
    parser = ResponseParser(method)
    for part in parts:
        parser.feed(part)
    return parser, parser.end()


def response(data: bytes) -> None:
    """A response is the same however it is cut, and where h11 reads one, it is the one that h11 reads."""
    pieces = Pieces(data)
    method = _METHODS[pieces.number(3)]
    at = pieces.number(256)
    stream = pieces.rest()
    whole, complete = _read(method, [stream])
    for parts in ([stream[:at], stream[at:]], [stream[at : at + 1] for at in range(len(stream))]):
        other, other_complete = _read(method, parts)
        assert other_complete == complete
        assert (other.head, other.interim, other.malformed) == (whole.head, whole.interim, whole.malformed)
        assert (other.body, other.trailers, other.framing) == (whole.body, whole.trailers, whole.framing)
    _constructed(stream, at + 1)
    reference = _by_h11(method, stream)
    if complete and not whole.malformed and reference is not None:
        assert whole.head is not None
        assert (whole.head.status, bytes(whole.body)) == reference


def _constructed(body: bytes, size: int) -> None:
    """Read a response that is made of these bytes, whole and in chunks of a size."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    coded = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nX: y\r\n\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    for tail in (length + body, b"Transfer-Encoding: chunked\r\n\r\n" + coded):
        sent = b"HTTP/1.1 200 OK\r\n" + tail
        parser, complete = _read("GET", [sent[at : at + 7] for at in range(0, len(sent), 7)])
        assert complete
        assert (parser.malformed, bytes(parser.body), parser.rest) == (None, body, b"")
        assert parser.body_bytes == len(tail) - tail.index(b"\r\n\r\n") - 4


def _by_h11(method: str, data: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the response, None where h11 finds no whole one."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        connection.receive_data(data)
        if data:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


def exposition(data: bytes) -> None:
    """Any text is read line by line; what the official library wrote is valid and read back."""
    text = data.decode("utf-8", "replace")
    first, _, second = text.partition("\n")
    whole, before, after = (read_exposition(part.encode()).samples for part in (text, first, second))
    # By their texts: NaN differs from itself.
    assert repr(whole) == repr(before | after)
    registry = CollectorRegistry()
    gauge = Gauge("a_metric", "A number", ["first", "second"], registry=registry)
    labels = (first, second)
    gauge.labels(*labels).set(len(data) - 5)
    read = read_exposition(generate_latest(registry))
    sample = Sample("a_metric", (("first", labels[0]), ("second", labels[1])))
    assert (read.samples, read.problems) == ({sample: float(len(data) - 5)}, [])


def record(data: bytes) -> None:
    """Any line is a record or none; what a record is asked for can be asked of all."""
    text = data.decode("utf-8", "replace")
    for form in ("json", "logfmt"):
        found = parse_record(Line(0.0, "stdout", text), form)
        if found is None:
            continue
        assert found.rank in (0, 10, 20, 30, 40, 50)
        for name in (
            "time",
            "level",
            "message",
            "method",
            "path",
            "status",
            "duration",
            "request_id",
            "error",
        ):
            found.get(name)
        assert all(name == name.lower() for name in found.fields)
        if form == "json":
            # A name that no logger gives to a field may be passed over.
            given = {name.lower() for name in json.loads(text.strip()) if len(name) <= 100}
            assert given <= set(found.fields)


def openapi(data: bytes) -> None:
    """Any JSON is a document: what it does not say is empty, and nothing of it raises."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    found = OpenApi(value if isinstance(value, dict) else {"paths": value})
    for path in ("/users/1", "/users/{id}", *found.paths):
        assert found.methods(path) <= set(METHODS)
        for method in METHODS:
            assert isinstance(found.operation(method, path), dict)
            assert isinstance(found.body_schema(method, path), dict)


_brotli = cast("Any", brotli)
_CODERS = (
    lambda data: zlib.compress(data, 6, 16 + zlib.MAX_WBITS),
    lambda data: cast("bytes", _brotli.compress(data)),
    lambda data: zstandard.ZstdCompressor().compress(data),
    zlib.compress,
)


def coding(data: bytes) -> None:
    """Bytes are in a coding or are reported; coded data are read back, whole or cut, but not cut off."""
    pieces = Pieces(data)
    number, at = pieces.number(len(CODINGS)), pieces.number(256)
    name, plain = CODINGS[number], pieces.rest()
    for codings in ((name,), codings_of(plain.decode("latin-1"))):
        try:
            decode(codings, plain)
        except Undecodable:
            continue
    coded = _CODERS[number](plain)
    assert decode((name,), coded) == plain
    found = decoder(name)
    assert found is not None
    assert found.feed(coded[:at]) + (found.feed(coded[at:]) if coded[at:] else b"") == plain
    assert found.done
    try:
        decode((name,), coded[:-1])
    except Undecodable:
        return
    raise AssertionError("a stream that was cut off is read as whole")


_SECRET = "Zq7\"Xw9&Lm4/Kv2 Tn8<R\\'é"
_FORMS = (
    str,
    lambda text: quote(text, safe=""),
    quote_plus,
    lambda text: re.sub("%..", lambda escape: escape[0].lower(), quote(text, safe="")),
    lambda text: json.dumps(text)[1:-1],
    html.escape,
    lambda text: repr(text)[1:-1],
    lambda text: base64.b64encode(b"user:" + text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(b"a" + text.encode() + b"bc").decode(),
)


def masked(data: bytes) -> None:
    """A secret is masked in every form in which it may come back, whatever stands around it."""
    pieces = Pieces(data)
    form = _FORMS[pieces.number(len(_FORMS))](_SECRET)
    before, after = (part.decode("utf-8", "replace") for part in (pieces.until(b"\0"), pieces.rest()))
    masker = Masker()
    masker.add("password", _SECRET)
    text = before + form + after
    assert masker.find(text) == ["[secret: password]"]
    shown = masker.text(text)
    assert _SECRET not in shown
    assert form not in shown
    shown.encode()
    assert masker.mask({"a": (text, [text])}) == {"a": (shown, [shown])}


_HTTP = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.0 200\r\n",
        b"\r\n",
    ),
    *(
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: ",
        b"gzip, ",
        b"3\r\nabc\r\n",
    ),
    *(
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"X: y\r\n",
        b" folded\r\n",
        b"\n",
        b";a=b",
        b"9" * 60,
        b"f" * 16,
        b"+",
    ),
    *(
        b"HTTP/1.1 101 \r\n",
        b"HTTP/1.1 304 \r\n",
        b"Connection: close\r\n",
        b"3",
        b", ",
        b"Content-Length: 3\r\n",
    ),
)
_JSON = (
    *(
        b'{"',
        b'":',
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"1",
        b"null",
        b"true",
        b"NaN",
        b"9" * 80,
        b"\\ud800",
    ),
    *(b"level", b"severity", b"message", b"time", b"status", b"10", b"info", b'{"a":' * 40, b"[" * 60, b"."),
    *(
        b"paths",
        b"/users/{id}",
        b"get",
        b"post",
        b"$ref",
        b"#/paths",
        b"~1",
        b"~0",
        b"requestBody",
        b"content",
    ),
    *(b"application/json", b"schema", b"=", b" ", b"msg=", b'="', b"\\", b"}" * 40),
)
_METRICS = (
    *(
        b"# TYPE a gauge\n",
        b"a_total",
        b"{",
        b"}",
        b'b="',
        b'"',
        b"\\",
        b",",
        b" ",
        b"1",
        b"NaN",
        b"+Inf",
        b"\n",
    ),
    *(b"1e3", b"# {", b"\r", b"\t", b"#", b"le=", b"_bucket", b"\xe2\x80\xa8", b"\x1c", b"\x85", b"\xc2\xa0"),
)
_OPENAPI = b"""{"paths": {"/users/{id}": {"post": {"requestBody": {"content": {"application/json": {
    "schema": {"$ref": "#"}}}}}}}}"""
_INTERIM = b"HTTP/1.1 103 \r\nLink: x\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

TARGETS = (
    Target(
        "response",
        response,
        (
            b"\0\5HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1",
            b"\0\x21" + _INTERIM + _CHUNKED,
            b"\1\5HTTP/1.1 200\r\nContent-Length: 99\r\n\r\n",
            b"\0\5HTTP/1.0 200 OK\r\n\r\nuntil the end",
            b"\0\5HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * 4400),
        ),
        _HTTP,
        512,
    ),
    Target(
        "exposition",
        exposition,
        (b'a{b="c\\n"} 1 # {x="y"} 2', b'\\\n"', b"a 1\nb 2", b"\r\n"),
        _METRICS,
        256,
    ),
    Target(
        "record",
        record,
        (
            b'{"level": 30, "req": {"id": "a"}}',
            b'level=info msg="a \\" b" status=200',
            b'{"a":' * 900 + b"1" + b"}" * 900,
        ),
        _JSON,
    ),
    Target("openapi", openapi, (_OPENAPI, b"{}", b"[]"), _JSON),
    Target("coding", coding, (b"\0\5abc", b"\1\5" + b"abc" * 99, b"\2\5\0", b"\3\1x-gzip, br"), (), 512),
    Target("masked", masked, (b"\0a\0b", b"\7password=\0", b'\5"\0"'), (), 256),
)
