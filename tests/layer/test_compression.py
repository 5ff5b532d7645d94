"""Compression, judged by real decoders."""

import random
import re
import threading
import zlib
from collections.abc import Callable
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.layer.codings import Brotli, Gzip, Zstandard, choose
from roadworthy.layer.compression import OFF_LOOP_SIZE, Coder, Compression
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.routes import RouteRule
from roadworthy.settings import Settings

from .conftest import make_exchange

_JSON = (b"content-type", b"application/json")
_ALL = b"gzip, deflate, br, zstd"
_TEXT = b'{"name": "Ada Lovelace", "email": "ada@example.com"}, ' * 100


class _Decoder:
    """A decoder that gives what can be decoded so far."""

    def __init__(self, coding: bytes) -> None:
        self.feed: Callable[[bytes], bytes]
        if coding == b"gzip":
            self.feed = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
        elif coding == b"br":
            self.feed = brotli.Decompressor().process
        else:
            self.feed = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj().decompress


_CODERS: list[type[Coder]] = [Zstandard, Brotli, Gzip]
coders = pytest.mark.parametrize("coder", _CODERS, ids=lambda coder: coder.name.decode())


def _decided(
    *response: tuple[bytes, bytes],
    accept: bytes | None = _ALL,
    length: int | None = len(_TEXT),
    request: tuple[tuple[bytes, bytes], ...] = (),
    item: Compression | None = None,
    status: int = 200,
    **slots: Any,
) -> Exchange:
    headers = [*request] if accept is None else [*request, (b"accept-encoding", accept)]
    made = make_exchange(headers=headers, status=status, response_headers=response or [_JSON], **slots)
    (item or Compression(Settings())).decide_for_length(made, length)
    names = [name.lower() for name, _ in made.response_headers]
    assert len(names) == len(set(names)), "a field stands twice"
    assert dict(zip(names, (value for _, value in made.response_headers), strict=True)) == made.response_names
    coding = made.response_names.get(b"content-encoding")
    assert made.encoding is None or isinstance(made.encoding, Coder)
    if made.encoding is not None:
        assert coding == made.encoding.name
    return made


def _coding(made: Exchange) -> bytes | None:
    return made.encoding.name if isinstance(made.encoding, Coder) else None


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"gzip", b"gzip"),
        (b"br", b"br"),
        (b"zstd", b"zstd"),
        (b"GZip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"gzip, deflate", b"gzip"),
        (b"gzip, deflate, br", b"br"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"zstd, br, gzip", b"zstd"),
        (b"gzip;q=1.0, br;q=0.5", b"gzip"),
        (b"gzip;q=0.1, br;q=1", b"br"),
        (b"gzip;q=0.8, br;q=0.8, zstd;q=0.7", b"br"),
        (b"gzip ; q=0.8 , br ; q=0.9", b"br"),
        (b"gzip;Q=0.8", b"gzip"),
        (b"gzip;q=0.001", b"gzip"),
        (b"gzip;q=.5", b"gzip"),
        (b"br;q=1.000", b"br"),
        (b"*", b"zstd"),
        (b"*;q=0.5", b"zstd"),
        (b"*;q=0.5, gzip", b"gzip"),
        (b"*, zstd;q=0", b"br"),
        (b"*, zstd;q=0, br;q=0", b"gzip"),
        (b"identity, gzip", b"gzip"),
        (b"identity;q=0.5, gzip;q=1", b"gzip"),
        (b"identity;q=0, gzip", b"gzip"),
        (b"deflate, gzip;q=1.0, *;q=0.5", b"gzip"),
        (b"\tgzip\t", b"gzip"),
        (b",, gzip ,", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.0", None),
        (b"gzip;q=0.000", None),
        (b"GZIP;Q=0", None),
        (b"gzip ; q=0", None),
        (b"x-gzip;q=0, gzip", None),
        (b"gzip, gzip;q=0", None),
        (b"*;q=0", None),
        (b"*;q=0, identity", None),
        (b"br;q=0, gzip;q=0, zstd;q=0, *", None),
        (b"identity", None),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"identity;q=1, *;q=0", None),
        (b"identity;q=0", None),
        (b"gzip;q=0.2, br;q=0.2, zstd;q=0.2, *;q=0.9", None),
        (b"", None),
        (b"deflate", None),
        (b"compress", None),
        (b"xgzipx", None),
        (b"gzipped", None),
        (b"gzip;q=2", None),
        (b"gzip;q=-1", None),
        (b"gzip;q=x", None),
        (b"gzip;q=", None),
        (b"gzip;q=nan", None),
        (b"gzip;level=9", None),
        (b"gzip br", None),
        (b"\xff\x00", None),
        (b"foo", None),
        (None, None),
    ],
)
def test_negotiation(accept: bytes | None, coding: bytes | None) -> None:
    """The weights of Accept-Encoding decide, 0 forbids, and our own order settles ties (RFC 9110 §12.5.3)."""
    item = Compression(Settings())
    for _ in range(2):
        assert _coding(_decided(accept=accept, item=item)) == coding


@given(st.binary(max_size=80))
def test_negotiation_takes_anything(accept: bytes) -> None:
    """Whatever is sent, a coding is chosen only if its name stands there with a weight above 0, or a *."""
    chosen = choose(accept)
    if chosen is not None:
        assert chosen.name in accept.lower() or b"*" in accept


@coders
def test_whole_body_decodes_to_the_same_bytes(coder: type[Coder]) -> None:
    """A real decoder gives back the very bytes, for bodies on and off the loop."""
    for body in (_TEXT, _TEXT * 30, b"", b"\x00"):
        coded = coder().compress_all(body)
        assert _Decoder(coder.name).feed(coded) == body
        if len(body) > 1000:
            assert len(coded) < 0.8 * len(body)
    assert len(_TEXT * 30) > OFF_LOOP_SIZE > len(_TEXT)


@coders
@given(body=st.binary(max_size=3000), repeat=st.integers(1, 40))
def test_any_body_round_trips(coder: type[Coder], body: bytes, repeat: int) -> None:
    """Any body, repetitive or not, comes back byte by byte."""
    assert _Decoder(coder.name).feed(coder().compress_all(body * repeat)) == body * repeat


@coders
@given(chunks=st.lists(st.binary(max_size=200), max_size=20), last=st.binary(max_size=50))
def test_each_chunk_can_be_decoded_at_once(coder: type[Coder], chunks: list[bytes], last: bytes) -> None:
    """A client can decode all of a chunk before the next one is sent (tower-rs/tower-http#419)."""
    made, decoder = coder(), _Decoder(coder.name)
    for chunk in chunks:
        coded = made.chunk(chunk)
        assert bool(coded) is bool(chunk)
        assert (decoder.feed(coded) if coded else b"") == chunk
    assert decoder.feed(made.end(last)) == last


@coders
def test_a_stream_shares_its_window(coder: type[Coder]) -> None:
    """The chunks of a stream are one body: what an earlier one said is not coded again."""
    made = coder()
    first = made.chunk(_TEXT[:500])
    assert len(made.chunk(_TEXT[:500])) < len(first) / 2


@coders
def test_coding_in_several_threads(coder: type[Coder]) -> None:
    """Bodies coded in several threads at the same time do not disturb each other."""
    wrong: list[bytes] = []

    def work(seed: int) -> None:
        body = random.Random(seed).randbytes(10) * 3_000 + _TEXT
        decoded = (_Decoder(coder.name).feed(coder().compress_all(body)) for _ in range(300))
        wrong.extend(other for other in decoded if other != body)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("media_type", "coded"),
    [
        (b"application/json", True),
        (b"application/json; charset=utf-8", True),
        (b"Application/JSON", True),
        (b"application/problem+json", True),
        (b"application/vnd.api+json", True),
        (b"text/html; charset=utf-8", True),
        (b"text/css", True),
        (b"text/csv", True),
        (b"text/javascript", True),
        (b"application/javascript", True),
        (b"application/xml", True),
        (b"application/atom+xml", True),
        (b"image/svg+xml", True),
        (b"application/wasm", True),
        (b"application/x-ndjson", True),
        (b"application/openmetrics-text; version=1.0.0", True),
        (b"text/event-stream", False),
        (b"text/event-stream; charset=utf-8", False),
        (b"TEXT/EVENT-STREAM", False),
        (b"image/png", False),
        (b"image/jpeg", False),
        (b"image/webp", False),
        (b"video/mp4", False),
        (b"audio/mpeg", False),
        (b"font/woff2", False),
        (b"application/zip", False),
        (b"application/gzip", False),
        (b"application/pdf", False),
        (b"application/octet-stream", False),
        (b"application/grpc", False),
        (b"multipart/x-mixed-replace", False),
        (b"", False),
        (b"json", False),
    ],
)
def test_media_types(media_type: bytes, *, coded: bool) -> None:
    """Text is coded; event streams (Kludex/starlette#2753) and compressed types are left alone."""
    for length in (len(_TEXT), None):
        made = _decided((b"content-type", media_type), length=length)
        assert (made.encoding is not None) is coded
        assert (made.response_names.get(b"vary") == b"Accept-Encoding") is coded


def test_without_a_media_type() -> None:
    """A body of unknown type is left alone."""
    assert _decided((b"x-other", b"1")).encoding is None


@pytest.mark.parametrize("accept", [None, _ALL, b"identity", b"gzip;q=0"])
def test_vary_on_both_variants(accept: bytes | None) -> None:
    """Coded or not, a response that could have been coded says that it depends on Accept-Encoding, once."""
    assert _decided(accept=accept).response_names[b"vary"] == b"Accept-Encoding"
    merged = _decided(_JSON, (b"Vary", b"Cookie"), accept=accept)
    assert merged.response_names[b"vary"] == b"Cookie, Accept-Encoding"
    kept = _decided(_JSON, (b"vary", b"accept-encoding, Origin"), accept=accept)
    assert kept.response_names[b"vary"] == b"accept-encoding, Origin"


def test_small_bodies() -> None:
    """Below the minimum a body stays as it is, at it it is coded, and the setting moves the line."""
    assert _decided(length=1023).encoding is None
    assert b"vary" not in _decided(length=1023).response_names
    assert _decided(length=1024).encoding is not None
    item = Compression(Settings(compression_min_size=10))
    assert _decided(length=9, item=item).encoding is None
    assert _decided(length=10, item=item).encoding is not None


@pytest.mark.parametrize(
    ("declared", "coded"),
    [(b"1023", False), (b"1024", True), (None, True), (b"x", True), (b"9" * 5000, True), (b"\xb2", True)],
)
def test_declared_length(declared: bytes | None, *, coded: bool) -> None:
    """Of a stream the declared length decides; without a readable one it is taken to be long."""
    length = () if declared is None else ((b"content-length", declared),)
    made = make_exchange(headers=[(b"accept-encoding", _ALL)], status=200, response_headers=[_JSON, *length])
    Compression(Settings()).respond(made)
    assert (made.encoding is not None) is coded
    assert (b"content-length" in made.response_names) is (not coded)


def test_what_is_no_longer_true_goes() -> None:
    """The length and the byte ranges of the plain body are not promised for the coded one."""
    made = _decided(_JSON, (b"Content-Length", b"5400"), (b"Accept-Ranges", b"bytes"), (b"x-own", b"1"))
    assert set(made.response_names) == {b"content-type", b"x-own", b"vary", b"content-encoding"}
    plain = _decided(_JSON, (b"Content-Length", b"5400"), (b"Accept-Ranges", b"bytes"), accept=None)
    assert {b"content-length", b"accept-ranges"} <= set(plain.response_names)


@pytest.mark.parametrize(
    ("tag", "coded", "plain"),
    [(b'"v1"', b'W/"v1"', b'"v1"'), (b'W/"v1"', b'W/"v1"', b'W/"v1"')],
)
def test_entity_tags(tag: bytes, coded: bytes, plain: bytes) -> None:
    """A strong ETag is weak on the coded variant, for the same tag must not name two sets of bytes."""
    assert _decided(_JSON, (b"ETag", tag)).response_names[b"etag"] == coded
    assert _decided(_JSON, (b"ETag", tag), accept=None).response_names[b"etag"] == plain


@pytest.mark.parametrize(
    ("asked", "tag"),
    [
        (b'W/"v1"', b'W/"v1"'),
        (b'"v0", W/"v1"', b'W/"v1"'),
        (b'"v1"', b'"v1"'),
        (b'W/"v2"', b'"v1"'),
        (b"*", b'"v1"'),
        (None, b'"v1"'),
    ],
)
def test_revalidation(asked: bytes | None, tag: bytes) -> None:
    """A 304 names the variant that the client holds, so that its cache can match it (RFC 9111 §4.3.4)."""
    request = () if asked is None else ((b"if-none-match", asked),)
    for length in (0, None):
        made = _decided((b"etag", b'"v1"'), status=304, length=length, request=request)
        assert made.encoding is None
        assert made.response_names[b"etag"] == tag


@pytest.mark.parametrize("status", [101, 204, 205, 206, 304])
def test_statuses_without_a_whole_body(status: int) -> None:
    """A response without body, or with a part of one, is never coded."""
    assert _decided(status=status, length=None).encoding is None
    assert _decided(status=status).encoding is None


@pytest.mark.parametrize("status", [200, 201, 400, 404, 422, 500])
def test_other_statuses(status: int) -> None:
    """Errors are coded like everything else."""
    assert _decided(status=status).encoding is not None


def test_head() -> None:
    """A HEAD response is not coded and says what a GET would depend on."""
    made = _decided(_JSON, (b"content-length", b"5400"), method="HEAD")
    assert made.encoding is None
    assert made.response_names[b"vary"] == b"Accept-Encoding"
    assert made.response_names[b"content-length"] == b"5400"


@pytest.mark.parametrize(
    "field",
    [
        (b"Content-Encoding", b"gzip"),
        (b"content-encoding", b"identity"),
        (b"Content-Range", b"bytes 0-99/5400"),
        (b"Repr-Digest", b"sha-256=:AAAA:"),
        (b"content-digest", b"sha-256=:AAAA:"),
        (b"cache-control", b"no-transform"),
        (b"Cache-Control", b"public, No-Transform, max-age=60"),
    ],
)
def test_bytes_the_app_has_fixed(field: tuple[bytes, bytes]) -> None:
    """A body that is coded already, partial, digested or not to be transformed is left as it is."""
    made = _decided(_JSON, field)
    assert made.encoding is None
    assert made.response_headers == [_JSON, field]


def test_cookies() -> None:
    """A response that sets a cookie is not coded (BREACH, CVE-2013-3587) unless the setting says so."""
    cookie = (b"Set-Cookie", b"session=1")
    assert _decided(_JSON, cookie).encoding is None
    allowing = Compression(Settings(compression_with_cookies=True))
    assert _decided(_JSON, cookie, item=allowing).encoding is not None


def test_a_route_may_opt_out() -> None:
    """A route with compress=False keeps its bodies; other rules change nothing."""
    assert _decided(rule=RouteRule(compress=False)).encoding is None
    assert _decided(rule=RouteRule()).encoding is not None


def test_memory_is_bounded() -> None:
    """Any number of different Accept-Encoding and Content-Type values leaves a bounded memory."""
    item = Compression(Settings())
    for number in range(2_000):
        accept = b"gzip, x-%d" % number + b" " * (number % 200)
        made = _decided((b"content-type", b"text/plain; x=%d" % number), accept=accept, item=item)
        assert _coding(made) == b"gzip"
    remembered = [memo for memo in vars(item).values() if isinstance(memo, dict)]
    assert remembered
    assert all(len(memo) <= 512 for memo in remembered)
    assert all(len(key) <= 256 for memo in remembered for key in memo)


def test_gzip_carries_no_time() -> None:
    """Equal bodies have equal coded bytes: there is no time stamp in them."""
    assert re.match(rb"\x1f\x8b\x08\x00\x00\x00\x00\x00", Gzip().compress_all(_TEXT))
