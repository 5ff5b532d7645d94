"""Who the client is: its address, what limits count it by, and the scheme it used.

Only a peer inside ``trusted_proxies`` is asked for the address behind it, and only in the one field that
``forwarded_header`` names. A proxy appends to the field it knows and passes the other one through as the
client sent it, so a layer that reads both lets the client pick its address in one of them; which one a proxy
writes is known to its operator alone.

The addresses are walked from the right, where the nearest proxy wrote, for at most 16 entries. The first one
that is not a trusted proxy is the client; an entry that is not an address (``unknown``, ``_hidden``, anything
broken) ends the walk at the proxy that reported it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from ..settings import Settings
from .exchange import Exchange

__all__ = ("Client",)

# Distinct addresses (and field values from trusted proxies) remembered before the memory starts afresh: about
# 300 bytes each, so 3 MB at most, however many addresses an attacker has.
_REMEMBERED = 8_192

# Members that are looked at, from the right: more proxies than stand in any row, each of them trusted.
# Further left is only what clients wrote (RFC 9110 §5.6.1.2: a reasonable number of empty members is read).
_MEMBERS = 16
_LONGEST_ELEMENT = 512
_PAIRS = 16
# Longest text of an address, with brackets, zone and port.
_LONGEST_ADDRESS = 64

_SCHEMES = {b"http": "http", b"https": "https"}
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}", re.ASCII)
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?", re.ASCII)

_NAT64 = IPv6Network("64:ff9b::/96")

# RFC 7239 §4: forwarded-pair = token "=" ( token / quoted-string ). Unquoted addresses with a port or
# brackets are outside the grammar and common, so anything but separators is taken; the address is judged
# afterwards.
_PAIR = re.compile(rb"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"([^"\\]*)"|([^\s",;]+))[ \t]*(?:;|$)""")


class _Node(NamedTuple):
    client: str
    key: str
    trusted: bool


class _Route(NamedTuple):
    client: str
    key: str
    scheme: str | None


class Client:
    """Sets ``client``, ``client_key`` and ``scheme`` of every exchange.

    ``client_key`` is the address for IPv4 and the /64 prefix for IPv6: one subscriber is commonly given a
    whole /64 (RFC 6177, RIPE-690), so a limit by full address is a limit for nobody. Where an IPv6 address
    holds the IPv4 address that its answers go to, that one is the key: in a /64 of a translator is everybody,
    and behind one IPv4 address of 6to4 are 65,536 of them. See :func:`_counted` for each form. Zones
    (``%eth0``) and ports are dropped. A peer that has no address (a Unix socket, a test client) is its own
    key and is never a trusted proxy.

    Forwarding fields from any other peer are ignored, with one warning for the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.trusted_proxies
        self._peers: dict[str, _Node] = {}
        self._routes: dict[tuple[str, bytes, bytes], _Route] = {}
        self._standard = settings.forwarded_header == "forwarded"
        self._field = settings.forwarded_header.encode("ascii")
        self._other = b"x-forwarded-for" if self._standard else b"forwarded"
        self._unwarned = True
        self._log = logging.getLogger("roadworthy.client")

    def admit(self, exchange: Exchange) -> None:
        """Identify the client of this exchange."""
        peer = exchange.peer
        node = self._peers.get(peer) or self._learn_peer(peer)
        exchange.client, exchange.client_key, trusted = node
        if trusted:
            self._through_proxy(exchange, node)
            return
        if self._unwarned:
            headers = exchange.headers
            if b"x-forwarded-for" in headers or b"forwarded" in headers or b"x-forwarded-proto" in headers:
                self._unwarned = False
                self._log.warning(
                    "Forwarding fields from %s were ignored, because it is not in "
                    "ROADWORTHY_TRUSTED_PROXIES. If it is your proxy, all of its clients now count as one "
                    "for rate limits, and the app takes https for http in the URLs and redirects that it "
                    "makes (request.url_for, redirected slashes): set ROADWORTHY_TRUSTED_PROXIES to its "
                    "network%s. If it is not, nothing is wrong. Said once.",
                    node.client or "a peer without an address",
                    _as_loopback(node.client),
                )

    def _through_proxy(self, exchange: Exchange, proxy: _Node) -> None:
        headers = exchange.headers
        chain = headers.get(self._field, b"")
        proto = b"" if self._standard else headers.get(b"x-forwarded-proto", b"")
        memo = (exchange.peer, chain, proto)
        route = self._routes.get(memo)
        if route is None:
            route = self._walk(proxy, chain, proto)
            if len(self._routes) >= _REMEMBERED:
                self._routes.clear()
            # A long chain is not worth keeping: it is walked again.
            if len(chain) + len(proto) <= 128:
                self._routes[memo] = route
        exchange.client = route.client
        exchange.client_key = route.key
        if route.scheme is not None:
            exchange.scheme = route.scheme
        if self._unwarned and not chain and self._other in headers:
            self._unwarned = False
            self._log.warning(
                "The trusted proxy %s sends %s, and ROADWORTHY_FORWARDED_HEADER says to read %s: its clients "
                "count as one. Set ROADWORTHY_FORWARDED_HEADER=%s if that proxy writes this field itself. "
                "Said once.",
                proxy.client,
                self._other.decode("ascii"),
                self._field.decode("ascii"),
                self._other.decode("ascii"),
            )

    def _walk(self, proxy: _Node, chain: bytes, proto: bytes) -> _Route:
        """Follow the entries from the nearest proxy outwards, as long as trusted addresses report them."""
        node, scheme, hops = proxy, None, 0
        entries = _elements(chain) if self._standard else ((entry, None) for entry in _from_the_right(chain))
        for address, its_scheme in entries:
            scheme = its_scheme or scheme
            found = None if address is None else self._learn(address.decode("latin-1"))
            if found is None:
                break
            node, hops = found, hops + 1
            if not node.trusted:
                break
        if proto:
            # One value was set by one proxy and passed on; several were appended, one by each hop.
            hops = max(hops, 1)
            values = proto.rsplit(b",", hops)
            value = values[-hops] if len(values) >= hops else values[0]
            scheme = _SCHEMES.get(value.strip(b" \t").lower())
        return _Route(node.client, node.key, scheme)

    def _learn_peer(self, peer: str) -> _Node:
        node = self._learn(peer) or _Node(peer, peer or "unknown", False)
        if len(self._peers) >= _REMEMBERED:
            self._peers.clear()
        self._peers[peer] = node
        return node

    def _learn(self, text: str) -> _Node | None:
        address = _address(text)
        if address is None:
            return None
        return _Node(str(address), _counted(address), any(address in network for network in self._networks))


def _as_loopback(client: str) -> str:
    """Return what is to be set for a proxy on this machine, which uvicorn trusts by default."""
    address = _address(client)
    return (
        f" ({address}; uvicorn trusts it by default)" if address is not None and address.is_loopback else ""
    )


def _counted(address: IPv4Address | IPv6Address) -> str:
    """Return what limits count ``address`` by.

    The embedded IPv4 address, for a client can only take part in a connection where it gets what is sent
    there:

    - IPv4-mapped, ``::ffff:0:0/96`` (RFC 4291 §2.5.5.2): :func:`_address` has taken it out already;
    - NAT64 by the well-known prefix, ``64:ff9b::/96`` (RFC 6052 §2.1);
    - 6to4, ``2002::/16`` (RFC 3056 §2): the site's router;
    - Teredo, ``2001::/32`` (RFC 4380 §4): the client's own NAT, in inverted bits.

    The /64 prefix, as for any other:

    - NAT64 by a local prefix, ``64:ff9b:1::/48`` (RFC 8215), or by a network's own (RFC 6052 §2.2): where the
      IPv4 address stands depends on a length that only the operator knows, and such addresses stay in the
      operator's network;
    - IPv4-compatible, ``::/96`` (RFC 4291 §2.5.5.1), and IPv4-translated, ``::ffff:0:0:0/96`` (RFC 2765
      §2.1): retired, and routed nowhere;
    - ISATAP (RFC 5214 §6.1): within one site, whose prefix is that of any other host there.
    """
    if isinstance(address, IPv4Address):
        return str(address)
    inner = address.sixtofour
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is not None:
        return str(inner)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80``, ``fe80::1%eth0``."""
    text = text.strip(" \t")
    if len(text) > _LONGEST_ADDRESS:
        return None
    bracketed = _BRACKETED.fullmatch(text)
    match = bracketed or _IPV4_WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match[1] if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return None if bracketed else address
    # Without its zone, which names an interface of the machine that wrote it.
    return address.ipv4_mapped or IPv6Address(int(address))


def _from_the_right(value: bytes) -> Iterator[bytes]:
    """Yield list members from the last to the first, without the empty ones (RFC 9110 §5.6.1.2)."""
    for member in reversed(_last_members(value)):
        stripped = member.strip(b" \t")
        if stripped:
            yield stripped


def _last_members(value: bytes) -> list[bytes]:
    members = value.rsplit(b",", _MEMBERS)
    # With more than that the first one is all the rest.
    return members[1:] if len(members) > _MEMBERS else members


def _elements(value: bytes) -> Iterator[tuple[bytes | None, str | None]]:
    """Yield address and scheme of each ``Forwarded`` element from the last to the first.

    The boundaries are found from the right as well: a quotation mark that a client left open further left
    must not swallow what a proxy appended.
    """
    pending = b""
    for part in reversed(_last_members(value)):
        member = part + pending
        if len(member) > _LONGEST_ELEMENT:
            yield None, None
            return
        if member.count(b'"') % 2:
            pending = b"," + member
            continue
        pending = b""
        if member.strip(b" \t"):
            yield _element(member)
    if pending:
        yield None, None


def _element(member: bytes) -> tuple[bytes | None, str | None]:
    pairs: dict[bytes, bytes] = {}
    at = 0
    while at < len(member):
        match = _PAIR.match(member, at)
        # A parameter must not occur twice in one element (RFC 7239 §4).
        if match is None or match[1].lower() in pairs or len(pairs) == _PAIRS:
            return None, None
        pairs[match[1].lower()] = match[3] if match[2] is None else match[2]
        at = match.end()
    return pairs.get(b"for"), _SCHEMES.get(pairs.get(b"proto", b"").lower())
