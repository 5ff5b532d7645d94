"""Which hosts the service answers for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import APIError
from roadworthy.layer.trusted_host import TrustedHost
from roadworthy.settings import Settings

from .conftest import make_exchange


def _host(**settings: Any) -> TrustedHost:
    return TrustedHost(Settings(**settings))


def _status(item: TrustedHost, host: bytes | None, **slots: Any) -> int | None:
    headers = [] if host is None else [(b"host", host)]
    outcome = item.admit(make_exchange(headers=headers, **slots))
    return None if outcome is None else outcome.status


@pytest.mark.parametrize(
    "host",
    [
        b"example.com",
        b"EXAMPLE.com",
        b"example.com:8000",
        b"example.com.",
        b"localhost",
        b"127.0.0.1:8000",
        b"[::1]",
        b"[2001:db8::1]:443",
        b"my_service:8080",
        b"xn--bcher-kva.example",
        b"a.b.c.d.e",
    ],
)
def test_any_host_without_a_list(host: bytes) -> None:
    """Without a list every well-formed host passes, the second time as well."""
    item = _host()
    assert _status(item, host) is None
    assert _status(item, host) is None


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"example.com/path",
        b"example.com/",
        b"user@example.com",
        b"user:password@example.com",
        b"example.com?x",
        b"example.com#x",
        b"example.com\\evil",
        b"exam ple.com",
        b"example.com\r\nx: y",
        b"example.com\n",
        b"example.com\x00",
        b"example.com\x7f",
        b"ex\xc3\xa4mple.com",
        b".example.com",
        b"example..com",
        b"-example.com",
        b"example.com:",
        b"example.com:http",
        b"example.com:65536",
        b"example.com:123456",
        b"example.com:80:80",
        b"[::1",
        b"::1",
        b"[::1]evil",
        b"%65xample.com",
        b"http://example.com",
        b"*.example.com",
        b"<script>",
        b"a" * 256,
    ],
)
def test_malformed(host: bytes) -> None:
    """A host with anything but a name or address and a port is 400, with and without a list."""
    assert _status(_host(), host) == 400
    assert _status(_host(allowed_hosts="example.com"), host) == 400


def test_missing() -> None:
    """A request without Host is 400 in HTTP/1.1 and 2, and passes in HTTP/1.0, which has no such field."""
    assert _status(_host(), None) == 400
    assert _status(_host(), None, http_version="2") == 400
    assert _status(_host(allowed_hosts="example.com"), None, http_version="1.0") is None


def test_repeated() -> None:
    """Two Host fields are 400, even when both are good (RFC 9112 §3.2)."""
    headers = [(b"host", b"example.com"), (b"host", b"example.com")]
    outcome = _host().admit(make_exchange(headers=headers))
    assert isinstance(outcome, APIError)
    assert outcome.status == 400
    assert "more than one" in outcome.message


def test_authority_stands_for_host() -> None:
    """The :authority of HTTP/2 is judged where a server passes it on instead of Host."""
    item = _host(allowed_hosts="example.com")
    for authority, status in ((b"example.com", None), (b"evil.example", 421)):
        outcome = item.admit(make_exchange(headers=[(b":authority", authority)], http_version="2"))
        assert (outcome and outcome.status) == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"example.com", None),
        (b"example.com:8443", None),
        (b"Example.COM.", None),
        (b"www.example.org", None),
        (b"a.b.example.org:80", None),
        (b"[::1]:8000", None),
        (b"example.org", 421),
        (b"www.example.com", 421),
        (b"evil.com", 421),
        (b"evilexample.com", 421),
        (b"evilexample.org", 421),
        (b"example.com.evil.com", 421),
        (b"example.comevil", 421),
        (b"127.0.0.1", 421),
        (b"[::2]", 421),
    ],
)
def test_list(host: bytes, status: int | None) -> None:
    """Only listed names, and names below a listed pattern, are served; ports and case do not matter."""
    item = _host(allowed_hosts="example.com, *.Example.org, [::1]")
    for _ in range(2):
        assert _status(item, host) == status


def test_star_serves_every_host() -> None:
    """A lone * means every well-formed host."""
    item = _host(allowed_hosts="*")
    assert _status(item, b"anything.example") is None
    assert _status(item, b"any/thing") == 400


@pytest.mark.parametrize(
    "entry",
    ["https://example.com", "example.com:443", "example.com/", "*.*.example.com", "ex*mple.com", "a b"],
)
def test_bad_list(entry: str) -> None:
    """An entry that could never match stops the start, by the setting and the entry's place, not its text."""
    with pytest.raises(ValueError, match="ROADWORTHY_ALLOWED_HOSTS: entry 2 is not a host") as caught:
        _host(allowed_hosts=("good.example", entry))
    assert repr(entry) not in str(caught.value)


def test_refusal_repeats_nothing() -> None:
    """A refusal does not repeat the host that was sent."""
    for item in (_host(), _host(allowed_hosts="example.com")):
        outcome = item.admit(make_exchange(headers=[(b"host", b"secret<>"), (b"x", b"y")]))
        assert isinstance(outcome, APIError)
        assert "secret" not in outcome.message
        assert not outcome.details


@given(st.binary(max_size=300))
def test_arbitrary_bytes(host: bytes) -> None:
    """Whatever bytes come, what passes under a list is a listed name with an optional port."""
    item = _host(allowed_hosts="example.com")
    if _status(item, host) is None:
        name, _, port = host.lower().partition(b":")
        assert name.removesuffix(b".") == b"example.com"
        assert port.isdigit() or not port
