"""Who the client is, and what limits count it by."""

import logging
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import roadworthy
from roadworthy.layer.client import Client
from roadworthy.settings import Settings
from roadworthy.types import Message, Receive, Scope, Send
from tests.asgi_driver import ask, websocket_scope

from .conftest import MakeExchange, make_exchange

PROXY = "10.0.0.1"
_CLIENT = "203.0.113.7"


def _client(**settings: Any) -> Client:
    return Client(Settings(**settings))


def _seen(client: Client, *fields: tuple[bytes, bytes], peer: str = PROXY) -> tuple[str, str, str]:
    exchange = make_exchange(peer=peer, headers=fields)
    client.admit(exchange)
    return exchange.client, exchange.client_key, exchange.scheme


@pytest.mark.parametrize(
    ("peer", "client", "key"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:0001:0002::1", "2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("::1", "::1", "::/64"),
        ("testclient", "testclient", "testclient"),
        ("unix", "unix", "unix"),
        ("", "", "unknown"),
    ],
)
def test_peer_alone(peer: str, client: str, key: str) -> None:
    """Without forwarding fields the peer is the client, counted by address or /64 prefix."""
    assert _seen(_client(), peer=peer) == (client, key, "http")


EMBEDDED = [
    # IPv4-mapped (RFC 4291 §2.5.5.2)
    ("::ffff:198.51.100.7", "198.51.100.7"),
    ("::ffff:c633:6407", "198.51.100.7"),
    # NAT64, well-known prefix (RFC 6052 §2.1), and its neighbours
    ("64:ff9b::198.51.100.7", "198.51.100.7"),
    ("64:ff9b::c633:6407", "198.51.100.7"),
    ("0064:FF9B:0:0:0:0:C633:6407", "198.51.100.7"),
    ("64:ff9b::203.0.113.9", "203.0.113.9"),
    ("64:ff9b::1:c633:6407", "64:ff9b::/64"),
    ("64:ff9b:0:1::c633:6407", "64:ff9b:0:1::/64"),
    # NAT64, local-use prefix (RFC 8215): where the address stands is the operator's secret
    ("64:ff9b:1::198.51.100.7", "64:ff9b:1::/64"),
    ("64:ff9b:1:fffe::198.51.100.7", "64:ff9b:1:fffe::/64"),
    # 6to4 (RFC 3056 §2): one site, whichever of its 65,536 networks
    ("2002:c633:6407::1", "198.51.100.7"),
    ("2002:c633:6407:ffff:1:2:3:4", "198.51.100.7"),
    # Teredo (RFC 4380 §4): 198.51.100.7 with inverted bits behind the server 192.0.2.45
    ("2001:0:c000:22d:8000:63bf:39cc:9bf8", "198.51.100.7"),
    ("2001:0:c000:22d:0:eeee:39cc:9bf8", "198.51.100.7"),
    ("2001:1::1", "2001:1::/64"),
    # retired (RFC 4291 §2.5.5.1, RFC 2765 §2.1) and site-local (RFC 5214 §6.1) forms
    ("::198.51.100.7", "::/64"),
    ("::ffff:0:198.51.100.7", "::/64"),
    ("2001:db8:1:2:0:5efe:198.51.100.7", "2001:db8:1:2::/64"),
]


@pytest.mark.parametrize(("address", "key"), EMBEDDED)
def test_an_embedded_ipv4_address_counts_where_answers_go_to_it(address: str, key: str) -> None:
    """Clients of a translator have a limit each, and a 6to4 site has one; directly or through a proxy."""
    assert _seen(_client(), peer=address)[1] == key
    for field in (b"x-forwarded-for", b"forwarded"):
        client = _client(trusted_proxies=["10.0.0.0/8"], forwarded_header=field.decode())
        value = f'for="[{address}]"' if field == b"forwarded" else address
        assert _seen(client, (field, value.encode()))[1] == key


def test_an_embedded_address_is_trusted_as_it_came() -> None:
    """An address inside of another makes nobody a trusted proxy, except for IPv4-mapped ones."""
    client = _client(trusted_proxies=["10.0.0.0/8"])
    forged = (b"x-forwarded-for", b"6.6.6.6")
    for peer in ("64:ff9b::a00:1", "2002:a00:1::1", "2001:0:c000:22d:8000:63bf:f5ff:fffe"):
        assert _seen(client, forged, peer=peer)[:2] == (peer, "10.0.0.1")
    assert _seen(client, forged, peer="::ffff:10.0.0.1")[0] == "6.6.6.6"


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (b"198.51.100.4", "198.51.100.4"),
        (b"6.6.6.6, 198.51.100.4", "198.51.100.4"),
        (b"6.6.6.6, 198.51.100.4, 10.0.0.2", "198.51.100.4"),
        (b"6.6.6.6,198.51.100.4,10.0.0.2,10.9.9.9", "198.51.100.4"),
        (b"10.0.0.2, 10.0.0.3", "10.0.0.2"),
        (b"198.51.100.4:8080", "198.51.100.4"),
        (b"198.51.100.4, 10.0.0.2:443", "198.51.100.4"),
        (b"2001:db8::5", "2001:db8::5"),
        (b"[2001:db8::5]", "2001:db8::5"),
        (b"[2001:db8::5]:8080", "2001:db8::5"),
        (b"fe80::5%eth0", "fe80::5"),
        (b"::ffff:198.51.100.4", "198.51.100.4"),
        (b"198.51.100.4, ::ffff:10.0.0.2", "198.51.100.4"),
        (b"  198.51.100.4\t ,\t10.0.0.2  ", "198.51.100.4"),
        (b"198.51.100.4, , 10.0.0.2,", "198.51.100.4"),
        (b"", PROXY),
        (b" , ,", PROXY),
        (b"unknown", PROXY),
        (b"198.51.100.4, unknown", PROXY),
        (b"198.51.100.4, _hidden, 10.0.0.2", "10.0.0.2"),
        (b"198.51.100.4, 10.0.0.2:port", PROXY),
        (b"198.51.100.4, 999.0.0.1", PROXY),
        (b"198.51.100.4, 10.0.0.02", PROXY),
        (b"198.51.100.4, [10.0.0.2]", PROXY),
        (b"198.51.100.4, [2001:db8::5", PROXY),
        (b"198.51.100.4, 0x0a000002", PROXY),
        (b"198.51.100.4, 167772162", PROXY),
        (b"198.51.100.4, \xb2.1.1.1", PROXY),
        (b"198.51.100.4, 10.0.0.2%eth0", PROXY),
        (b"<script>, 198.51.100.4", "198.51.100.4"),
        (b'"198.51.100.4"', PROXY),
    ],
)
def test_x_forwarded_for(chain: bytes, client: str) -> None:
    """The first untrusted address from the right, up to a malformed one, is the client (slowapi#255)."""
    trusting = _client(trusted_proxies="10.0.0.0/8")
    assert _seen(trusting, (b"x-forwarded-for", chain))[0] == client


@pytest.mark.parametrize("trusted", [3, 15, 16, 40])
def test_sixteen_entries_are_read(trusted: int) -> None:
    """From the right: what stands before sixteen trusted proxies is not looked at."""
    item = Client(Settings(trusted_proxies=("10.0.0.0/8",)))
    chain = b"198.51.100.7, " + b", ".join(b"10.0.0.%d" % n for n in range(trusted))
    exchange = make_exchange("GET", "/", [(b"x-forwarded-for", chain)], peer="10.9.9.9")
    item.admit(exchange)
    assert exchange.client == ("198.51.100.7" if trusted < 16 else f"10.0.0.{trusted - 16}")


def test_repeated_fields_are_one_list() -> None:
    """Several X-Forwarded-For fields count as one list, in order."""
    trusting = _client(trusted_proxies="10.0.0.0/8")
    fields = [(b"x-forwarded-for", b"6.6.6.6, 198.51.100.4"), (b"x-forwarded-for", b"10.0.0.2")]
    assert _seen(trusting, *fields)[0] == "198.51.100.4"


def test_trusted_ipv6_proxy_and_a_single_address() -> None:
    """A proxy may be trusted by a single address and by an IPv6 network."""
    trusting = _client(trusted_proxies="10.0.0.1, 2001:db8:ffff::/48")
    chain = (b"x-forwarded-for", b"198.51.100.4, 2001:db8:ffff::9")
    assert _seen(trusting, chain)[0] == "198.51.100.4"
    assert _seen(trusting, chain, peer="2001:db8:ffff::1")[0] == "198.51.100.4"
    assert _seen(trusting, chain, peer="10.0.0.2")[0] == "10.0.0.2"


@pytest.mark.parametrize("peer", ["", "unix", "testclient"])
def test_a_peer_without_an_address_is_never_a_proxy(peer: str) -> None:
    """A peer without an address cannot lie in a trusted network, so its fields are ignored."""
    trusting = _client(trusted_proxies="0.0.0.0/1, 128.0.0.0/1, ::/1")
    assert _seen(trusting, (b"x-forwarded-for", b"6.6.6.6"), peer=peer)[0] == peer


@pytest.mark.parametrize(
    ("element", "client", "scheme"),
    [
        (b"for=198.51.100.4", "198.51.100.4", "http"),
        (b"For=198.51.100.4;Proto=HTTPS", "198.51.100.4", "https"),
        (b"for=198.51.100.4;proto=http;by=10.0.0.1", "198.51.100.4", "http"),
        (b'for="[2001:db8::5]:4711";proto=https', "2001:db8::5", "https"),
        (b'for="198.51.100.4:80"', "198.51.100.4", "http"),
        (b"for=198.51.100.4:80", "198.51.100.4", "http"),
        (b"for=6.6.6.6, for=198.51.100.4 ; proto=https", "198.51.100.4", "https"),
        (b"for=198.51.100.4;proto=https, for=10.0.0.2;proto=http", "198.51.100.4", "https"),
        (b'for=198.51.100.4, for="10.0.0.2";host="a,b;c"', "198.51.100.4", "http"),
        (b'for=6.6.6.6, for=198.51.100.4;host="a,b"', "198.51.100.4", "http"),
        (b"for=unknown;proto=https", PROXY, "https"),
        (b"for=_secret, for=10.0.0.2", "10.0.0.2", "http"),
        (b"for=198.51.100.4;for=6.6.6.6", PROXY, "http"),
        (b"proto=https", PROXY, "https"),
        (b"for=198.51.100.4;proto=javascript", "198.51.100.4", "http"),
        (b"198.51.100.4", PROXY, "http"),
        (b'for="198.51.100.4', PROXY, "http"),
        (b'for="x, for=198.51.100.4', "198.51.100.4", "http"),
        (b'for=", for="[2001:db8::5]"', "2001:db8::5", "http"),
        (b"for=198.51.100.4;;proto=https", PROXY, "http"),
        (b"", PROXY, "http"),
    ],
)
def test_forwarded(element: bytes, client: str, scheme: str) -> None:
    """Forwarded (RFC 7239) is walked like X-Forwarded-For and carries the scheme of each hop."""
    trusting = _client(trusted_proxies="10.0.0.0/8", forwarded_header="forwarded")
    seen = _seen(trusting, (b"forwarded", element))
    assert (seen[0], seen[2]) == (client, scheme)


@pytest.mark.parametrize("read", ["x-forwarded-for", "forwarded"])
def test_only_the_configured_field_is_read(read: str) -> None:
    """Where both fields arrive, the one that the proxy does not write changes nothing."""
    trusting = _client(trusted_proxies="10.0.0.0/8", forwarded_header=read)
    fields = {"x-forwarded-for": b"198.51.100.4", "forwarded": b"for=198.51.100.5"}
    seen = _seen(trusting, *((name.encode(), value) for name, value in fields.items()))
    assert seen[0] == ("198.51.100.4" if read == "x-forwarded-for" else "198.51.100.5")


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [
        (b"https", "https"),
        (b"HTTPS", "https"),
        (b"http", "http"),
        (b"wss", "http"),
        (b"javascript:", "http"),
        (b"", "http"),
        (b"http, https", "https"),
        (b"https, http", "http"),
    ],
)
def test_scheme(proto: bytes, scheme: str) -> None:
    """X-Forwarded-Proto is http or https, and of several values the nearest proxy's counts."""
    trusting = _client(trusted_proxies="10.0.0.0/8")
    fields = [(b"x-forwarded-for", b"198.51.100.4"), (b"x-forwarded-proto", proto)]
    assert _seen(trusting, *fields)[2] == scheme


def test_scheme_behind_two_proxies() -> None:
    """With one scheme per hop the client's own counts, and a single one counts for the whole chain."""
    trusting = _client(trusted_proxies="10.0.0.0/8")
    chain = (b"x-forwarded-for", b"198.51.100.4, 10.0.0.2")
    assert _seen(trusting, chain, (b"x-forwarded-proto", b"https, http"))[2] == "https"
    assert _seen(trusting, chain, (b"x-forwarded-proto", b"https"))[2] == "https"
    assert _seen(trusting, chain, (b"x-forwarded-proto", b"https, http, http"))[2] == "http"


def test_scheme_of_an_untrusted_peer(exchange: MakeExchange) -> None:
    """The scheme of the connection stands when an untrusted peer claims another one (Kludex/uvicorn#1068)."""
    made = exchange(scheme="https", headers=[(b"x-forwarded-proto", b"http")])
    _client().admit(made)
    assert made.scheme == "https"


def test_untrusted_forwarding_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Ignored forwarding fields give one warning that names the setting, and no value that was sent."""
    client = _client()
    with caplog.at_level(logging.WARNING, "roadworthy.client"):
        _seen(client, peer=_CLIENT)
        assert not caplog.records
        for forged in (b"6.6.6.6", b"7.7.7.7", b"8.8.8.8"):
            assert _seen(client, (b"x-forwarded-for", forged), peer=_CLIENT)[0] == _CLIENT
    assert len(caplog.records) == 1
    assert "ROADWORTHY_TRUSTED_PROXIES" in caplog.text
    assert _CLIENT in caplog.text
    assert "6.6.6.6" not in caplog.text


def test_the_warning_names_what_else_depends_on_it(caplog: pytest.LogCaptureFixture) -> None:
    """URLs and redirects keep http; a proxy on this machine is one that uvicorn trusts without a setting."""
    with caplog.at_level(logging.WARNING, "roadworthy.client"):
        for peer, loopback in ((_CLIENT, False), ("127.0.0.1", True), ("::1", True), ("", False)):
            caplog.clear()
            _seen(_client(), (b"x-forwarded-proto", b"https"), peer=peer)
            (record,) = caplog.records
            assert "URLs and redirects that it makes (request.url_for" in record.getMessage()
            assert ("uvicorn trusts it by default" in record.getMessage()) == loopback


def test_a_proxy_that_writes_the_other_field_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A trusted proxy that sends only the field which is not read gives one warning naming the setting."""
    client = _client(trusted_proxies="10.0.0.0/8")
    with caplog.at_level(logging.WARNING, "roadworthy.client"):
        for _ in range(2):
            assert _seen(client, (b"forwarded", b"for=198.51.100.4"))[0] == PROXY
    assert len(caplog.records) == 1
    assert "ROADWORTHY_FORWARDED_HEADER=forwarded" in caplog.text


_NAMES = st.sampled_from(
    [
        b"x-forwarded-for",
        b"forwarded",
        b"x-real-ip",
        b"x_forwarded_for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"client-ip",
        b"x-client-ip",
        b"via",
    ]
)
_VALUES = st.one_of(
    st.ip_addresses().map(lambda address: str(address).encode()),
    st.ip_addresses().map(lambda address: f"for={address}".encode()),
    st.ip_addresses(v=6).map(lambda address: f"[{address}%eth0]:80".encode()),
    st.binary(max_size=40),
    st.text(alphabet='for=;," 0123456789.:[]', max_size=40).map(str.encode),
)
_FORGED = st.lists(st.tuples(_NAMES, _VALUES), max_size=6)
_UNTRUSTING = _client()
_TRUSTING = _client(trusted_proxies="10.0.0.0/8")
_TRUSTING_STANDARD = _client(trusted_proxies="10.0.0.0/8", forwarded_header="forwarded")


@given(_FORGED)
def test_forged_fields_never_change_the_key(forged: list[tuple[bytes, bytes]]) -> None:
    """Whatever an untrusted peer sends, it is counted as itself (long2ice/fastapi-limiter#9)."""
    assert _seen(_UNTRUSTING, *forged, peer=_CLIENT) == (_CLIENT, _CLIENT, "http")


@given(_FORGED)
def test_forged_fields_through_a_proxy_never_change_the_key(forged: list[tuple[bytes, bytes]]) -> None:
    """What a client sends before its proxy's part changes nothing (go-chi/chi#711, GHSA-3fxj-6jh8-hvhx)."""
    appended = (b"x-forwarded-for", b"198.51.100.4")
    assert _seen(_TRUSTING, *forged, appended)[:2] == ("198.51.100.4", "198.51.100.4")
    standard = (b"forwarded", b'for="198.51.100.4:80";proto=https')
    assert _seen(_TRUSTING_STANDARD, *forged, standard) == ("198.51.100.4", "198.51.100.4", "https")


def _holds_ipv4(address: Any) -> bool:
    nat64 = int(address) >> 32 == 0x0064FF9B << 64
    return nat64 or address.ipv4_mapped is not None or address.teredo is not None


@given(st.ip_addresses(v=4), st.integers(0, 2**80 - 1))
def test_one_ipv4_address_is_one_key_in_every_form(address: Any, other: int) -> None:
    """Whatever stands around it, an IPv4 address that gets the answers is the key (RFC 6052, 3056, 4380)."""
    bits, inverted = int(address), int(address) ^ 0xFFFF_FFFF
    forms = (
        0xFFFF << 32 | bits,
        0x0064FF9B << 96 | bits,
        0x2002 << 112 | bits << 80 | other,
        0x20010000 << 96 | (other & 2**64 - 1) << 32 | inverted,
    )
    assert {_seen(_UNTRUSTING, peer=str(IPv6Address(form)))[1] for form in forms} == {str(address)}


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_one_subscriber_is_one_key(address: Any, other: int) -> None:
    """All addresses of one IPv6 /64 have one key (express-rate-limit/express-rate-limit#363)."""
    sibling = type(address)(int(address) >> 64 << 64 | other)
    if not any(_holds_ipv4(one) for one in (address, sibling)):
        assert _seen(_UNTRUSTING, peer=str(address))[1] == _seen(_UNTRUSTING, peer=str(sibling))[1]


def test_memory_is_bounded() -> None:
    """Any number of peers and chains leaves a bounded memory, and identities stay right."""
    client = _client(trusted_proxies="10.0.0.0/8")
    for number in range(20_000):
        address = f"198.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert _seen(client, (b"x-forwarded-for", address.encode()))[0] == address
        assert _seen(client, peer=address)[0] == address
    remembered = [len(memo) for memo in vars(client).values() if isinstance(memo, dict)]
    assert remembered
    assert max(remembered) <= 8_192


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("trusted", "fields", "client", "scheme"),
    [
        ("127.0.0.0/8", {"x-forwarded-for": "203.0.113.5"}, ("203.0.113.5", 0), "plain"),
        (
            "127.0.0.0/8",
            {"x-forwarded-for": "6.6.6.6, 203.0.113.5", "x-forwarded-proto": "https"},
            ("203.0.113.5", 0),
            "secure",
        ),
        ("127.0.0.0/8", {}, ("127.0.0.1", 50000), "plain"),
        ("127.0.0.0/8", {"x-forwarded-for": "unknown"}, ("127.0.0.1", 50000), "plain"),
        (
            "",
            {"x-forwarded-for": "203.0.113.5", "x-forwarded-proto": "https"},
            ("127.0.0.1", 50000),
            "plain",
        ),
    ],
)
async def test_the_app_sees_the_client_that_a_trusted_proxy_reports(
    kind: str, trusted: str, fields: dict[str, str], client: tuple[str, int], scheme: str
) -> None:
    """`request.client` and the scheme of URLs are those that limits count by, never a stranger's claim."""
    seen: list[tuple[Any, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["client"], scope["scheme"]))
        if kind == "websocket":
            await send({"type": "websocket.close"})
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    service = roadworthy(app, trusted_proxies=trusted, drain_delay=0)
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    if kind == "http":
        await ask(service, headers=headers)
    else:

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            assert message["type"] in ("websocket.close", "websocket.http.response.start")

        scope = websocket_scope(headers=headers)
        await service(scope, receive, send)
    names = {"http": {"plain": "http", "secure": "https"}, "websocket": {"plain": "ws", "secure": "wss"}}
    assert seen == [(client, names[kind][scheme])]
