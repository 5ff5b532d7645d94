"""Targets for single fields of a request: what a client writes into them decides no more than it should."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from roadworthy.layer.client import Client
from roadworthy.layer.codings import choose
from roadworthy.layer.cors import Cors
from roadworthy.layer.exchange import current_exchange
from roadworthy.layer.request_id import RequestId
from roadworthy.layer.tracing import Tracing, trace_headers
from roadworthy.layer.trusted_host import TrustedHost
from roadworthy.settings import Settings, load_settings
from tests.layer.conftest import make_exchange

from .target import Pieces, Target

__all__ = ("TARGETS",)


def accept_encoding(data: bytes) -> None:
    """A coding is chosen only where it is named, whatever the order and the case; weight 0 forbids it."""
    chosen = choose(data)
    if len(data) > 200 or data.count(b",") > 12:
        # Nobody sends so much to get something coded, so it may be ignored.
        return
    assert choose(data.swapcase()) is chosen
    assert choose(b",".join(reversed(data.split(b",")))) is chosen
    assert choose(data + b", x-roadworthy;q=0.3") is chosen
    if chosen is not None:
        assert chosen.name in data.lower() or b"*" in data
        forbidden = choose(data + b"," + chosen.name + b";q=0")
        assert forbidden is not chosen


_PEER, _CLIENT, _INNER = "10.0.0.1", "198.51.100.7", "10.0.0.9"
_BEHIND = {
    "x-forwarded-for": (b"", b", 198.51.100.7", b",198.51.100.7, 10.0.0.9", b", 198.51.100.7:4711 ,10.0.0.9"),
    "forwarded": (
        b"",
        b", for=198.51.100.7",
        b',FOR="198.51.100.7:4711";proto=https, for=10.0.0.9',
        b", by=10.0.0.1;for=198.51.100.7",
    ),
}


_settings = {
    name: load_settings(_env_file=None, trusted_proxies="10.0.0.0/8", forwarded_header=name)
    for name in _BEHIND
}


def forwarded(data: bytes) -> None:
    """Left of what trusted proxies wrote, a client writes what it likes, and is who the proxies saw."""
    pieces = Pieces(data)
    name = ("x-forwarded-for", "forwarded")[pieces.number(2)]
    written = _BEHIND[name][pieces.number(4)]
    claimed = pieces.rest()
    proxied = Client(_settings[name])
    for peer in (_PEER, "203.0.113.9"):
        exchange = make_exchange(
            headers=[(name.encode(), claimed + written), (b"x-forwarded-proto", claimed)], peer=peer
        )
        proxied.admit(exchange)
        assert exchange.scheme in ("http", "https")
        if peer != _PEER:
            assert (exchange.client, exchange.client_key) == (peer, peer)
            continue
        address = ip_address(exchange.client)
        assert address in ip_network(exchange.client_key) or _is_within(exchange.client_key, address)
        if written:
            # A quote that the client left open may make what follows unreadable: then it is the proxy.
            assert exchange.client in (_CLIENT, _PEER, _INNER)
            if b'"' not in claimed and b"\\" not in claimed:
                assert exchange.client == _CLIENT


def _is_within(key: str, address: IPv4Address | IPv6Address) -> bool:
    """Return whether an IPv6 address holds the key: plain (NAT64, 6to4), or inverted (Teredo)."""
    inner = ip_address(key).packed
    return inner in address.packed or bytes(byte ^ 0xFF for byte in inner) in address.packed


_tracing = Tracing(Settings(_env_file=None))
_TRACE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]")
_GIVEN = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_context(data: bytes) -> None:
    """A trace is taken over as the standard writes it or not at all, and handed on in that form."""
    parent, _, state = data.partition(b"\n")
    exchange = make_exchange(headers=[(b"traceparent", parent), (b"tracestate", state)])
    _tracing.admit(exchange)
    given = _GIVEN.fullmatch(parent)
    if given is not None:
        assert exchange.trace_id == given[1].decode()
    token = current_exchange.set(exchange)
    try:
        handed_on = trace_headers()
    finally:
        current_exchange.reset(token)
    if not exchange.trace_id:
        assert handed_on == {}
        return
    assert parent[:55].lower() == parent[:55]
    assert not parent.startswith(b"ff")
    assert handed_on["traceparent"].split("-")[1] == parent[3:35].decode()
    assert _TRACE.fullmatch(handed_on["traceparent"])
    assert handed_on.get("tracestate", "").isascii()


_request_id = RequestId(Settings(_env_file=None))


def request_id(data: bytes) -> None:
    """An id is what the client gave, or made here, and can forge no record in either case."""
    exchange = make_exchange(headers=[(b"x-request-id", data)])
    _request_id.admit(exchange)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", exchange.request_id)
    if re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", data):
        assert exchange.request_id == data.decode()


_ORIGINS = ("https://app.example", "http://localhost:3000", "https://[2001:db8::1]:8443")
_cors = Cors(Settings(_env_file=None, cors_origins=_ORIGINS, cors_credentials=True))


def cors_origin(data: bytes) -> None:
    """No origin but the configured ones is granted anything, on answers, preflights and WebSockets."""
    mine = data.decode("latin-1") in _ORIGINS
    exchange = make_exchange(headers=[(b"origin", data)], response_headers=[(b"vary", b"Accept")])
    _cors.respond(exchange)
    granted = [value for name, value in exchange.response_headers if b"allow-origin" in name]
    assert granted == ([data] if mine else [])
    preflight = make_exchange(
        "OPTIONS", headers=[(b"origin", data), (b"access-control-request-method", b"PUT")]
    )
    reply = _cors.admit(preflight)
    assert reply is not None
    assert [value for name, value in reply.headers if b"allow-origin" in name] == ([data] if mine else [])
    if _cors.websocket_allowed(data, b"api.example") and not mine:
        # What stands before the authority decides nothing: who is no browser needs no origin at all.
        authority = data.decode("latin-1").lower().partition("://")[2]
        assert re.fullmatch(r"api\.example(:[0-9]+)?", authority)


_hosts = TrustedHost(Settings(_env_file=None, allowed_hosts="example.com,*.example.org,[2001:db8::1]"))


def host(data: bytes) -> None:
    """No host is let through but those that the service answers for, the second time as the first."""
    verdicts = [_hosts.admit(make_exchange(headers=[(b"host", data)])) for _ in range(2)]
    assert [verdict and verdict.status for verdict in verdicts[:1]] == [
        verdict and verdict.status for verdict in verdicts[1:]
    ]
    if verdicts[0] is not None:
        assert verdicts[0].status in (400, 421)
        assert data.lower() not in (b"example.com", b"a.example.org:8000", b"[2001:db8::1]")
        return
    name = (urlsplit("//" + data.decode("ascii")).hostname or "").removesuffix(".")
    assert name in ("example.com", "2001:db8::1") or name.endswith(".example.org")


TARGETS = (
    Target(
        "accept-encoding",
        accept_encoding,
        (b"gzip, deflate, br;q=0.5, zstd", b"*;q=0, identity", b"x-gzip;q=1.000"),
        (b"gzip", b"br", b"zstd", b"identity", b"x-gzip", b"*", b";q=", b"0.5", b"1.", b"0", b" , ", b"\t"),
    ),
    Target(
        "forwarded",
        forwarded,
        (
            b"\0\x011.2.3.4",
            b"\0\x03, ,[::1]:80,unknown",
            b'\x01\x02for="[2001:db8::1]:80";proto=http',
            b'\x01\x01for="a',
            b"\0\0fe80::1%eth0, 64:ff9b::102:304",
        ),
        (
            *(b"198.51.100.1", b"10.0.0.2", b"2001:db8::1", b"[::1]", b"::ffff:1.2.3.4", b":80", b", "),
            *(b"%eth0", b"for=", b"by=", b"proto=https", b";", b'"', b"\\", b"unknown", b"_hidden"),
        ),
    ),
    Target(
        "trace-context",
        trace_context,
        (
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\na=b",
            b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what\n\xff",
            b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        (b"00-", b"ff-", b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331", b"-01", b"0" * 16, b"-"),
    ),
    Target("request-id", request_id, (b"a.B_9-", b"x" * 128, b"\n", b"a\n")),
    Target(
        "cors-origin",
        cors_origin,
        (*(origin.encode() for origin in _ORIGINS), b"null", b"https://api.example", b"http://api.example:80"),
        (b"https://", b"http://", b"app.example", b"api.example", b":443", b":80", b".", b"@", b"/", b"#"),
    ),
    Target(
        "host",
        host,
        (b"example.com", b"a.example.org:8000", b"[2001:db8::1]", b"example.com.", b"example.com:99999"),
        (b"example.com", b".example.org", b"[2001:db8::1]", b":80", b".", b"@", b"/", b"%", b"_", b"-", b"x"),
    ),
)  # fmt: skip
