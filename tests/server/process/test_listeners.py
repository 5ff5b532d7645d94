"""Binding: what is bound, and what is said when it cannot be."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from roadworthy.server.process.listeners import ServeError, bind, close, url_of
from roadworthy.server.process.machine import address_problem
from tests.patience import DEADLINE


def test_any_free_port_is_the_same_on_every_address() -> None:
    """A name with several addresses gets one port, and nobody is accepted before the service listens."""
    sockets = bind("localhost", 0, "--port")
    try:
        ports = {one.getsockname()[1] for one in sockets}
        assert len(ports) == 1
        assert url_of(sockets, "localhost") == f"http://localhost:{ports.pop()}"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(sockets[0].getsockname()[:2], timeout=DEADLINE)
    finally:
        close(sockets)


def test_a_busy_port_is_named_with_the_way_out() -> None:
    """The message has the port, the address and what chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServeError, match=rf"^port {port} on 127\.0\.0\.1 is in use.*--port or PORT"):
            bind("127.0.0.1", port, "--port or PORT")


@pytest.mark.parametrize(
    ("host", "said"),
    [("192.0.2.1", "not an address of this machine"), ("no-such-host.invalid", "does not resolve")],
)
def test_a_wrong_host_is_named(host: str, said: str) -> None:
    """An address of another machine and a name of none are told apart."""
    with pytest.raises(ServeError, match=said):
        bind(host, 0, "--port")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("x86_64-conda-linux-gnu", "the name of a platform"),
        ("arm64-apple-darwin20.0.0", "the name of a platform"),
        ("fe80::1", "needs its interface"),
        ("::ffff:127.0.0.1", "without ::ffff:"),
        ("http://0.0.0.0", "without a scheme"),
        ("10.0.0.0/8", "a length of a network"),
        ("[::1]", "without brackets"),
        ("0.0.0.0:8000", "the port stands in"),
        ("192.0.2.1", "not an address of this machine"),
        ("2001:db8::1", "not an address of this machine"),
        ("no-such-host.invalid", "does not resolve"),
        ("a..b", "does not resolve"),
        ("x" * 64, "does not resolve"),
        ("224.0.0.1x", "does not resolve"),
    ],
)
def test_an_address_that_cannot_be_bound_has_its_cause(host: str, said: str) -> None:
    """Each host that cannot be served is explained, without repeating it or blaming the port."""
    message = address_problem(host)
    assert message is not None
    assert said in message
    assert "choose another with --port" not in message.lower()
    assert host not in message
    with pytest.raises(ServeError, match=r"^--host, ROADWORTHY_HOST or HOST: "):
        bind(host, 0, "--port")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "127.1.2.3"])
def test_an_address_that_can_be_bound_has_no_problem(host: str) -> None:
    """What serves is let through."""
    assert address_problem(host) is None


def test_an_ipv6_address_is_written_in_brackets() -> None:
    """A URL with an IPv6 address has brackets (RFC 3986 section 3.2.2)."""
    sockets = bind("127.0.0.1", 0, "--port")
    try:
        assert url_of(sockets, "::1").startswith("http://[::1]:")
    finally:
        close(sockets)


def test_sockets_that_were_announced_and_not_passed() -> None:
    """`LISTEN_FDS` with a descriptor that is not open is refused by its name, before anything is served."""
    program = (
        "import os; from roadworthy.server.process.listeners import ServeError, activated\n"
        "os.closerange(3, 10)\n"
        "try: activated({'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '2'})\n"
        "except ServeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("LISTEN_FDS announces 2 sockets, and descriptor 3 cannot be served")
