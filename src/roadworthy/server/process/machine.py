"""What settings ask of this machine and it cannot give: foreign addresses, unfit certificates."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import ssl

from ...settings import PREFIX, Problem, Settings, settings_sources
from .listeners import ServeError

__all__ = ("address_problem", "check_tls", "machine_problems")

_PLATFORM = re.compile(r"[a-z0-9_]+-(?:[a-z0-9_]+-)?(?:linux|darwin|windows|freebsd|w64)[a-z0-9_.-]*")
"""The target of a compiler, such as x86_64-conda-linux-gnu: conda's compilers export HOST so."""
_USUAL = "127.0.0.1, 0.0.0.0, ::1 and :: usually are"


def machine_problems(settings: Settings) -> list[Problem]:
    """Return what this machine cannot give, each by the variable that was set.

    A port that another process listens on is not looked for: that is for the moment of the start.
    """
    found: list[Problem] = []
    sources = settings_sources(settings)

    def note(field: str, message: str | None) -> None:
        if message is not None:
            source = sources[field]
            nameless = source in ("default", "argument", "secrets")
            found.append(Problem(PREFIX + field.upper() if nameless else source, message))

    note("tls_cert", _tls_problem(settings))
    # Sockets that systemd or a path give need no address.
    if settings.uds is None and "LISTEN_FDS" not in os.environ:
        note("host", address_problem(settings.host))
    if settings.ops_port != "off":
        note("ops_host", address_problem(settings.ops_host))
    return found


def check_tls(settings: Settings) -> None:
    """Refuse a certificate that cannot be served, before anything is opened.

    Raises:
        ServeError: a file is missing or unfit; the message names the setting.
    """
    problem = _tls_problem(settings)
    if problem is not None:
        raise ServeError(f"--tls-cert: {problem}")


def _tls_problem(settings: Settings) -> str | None:
    if settings.tls_cert is None:
        return None
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_cert, settings.tls_key, password=""
        )
    except ssl.SSLError as error:
        return (
            f"the certificate and the key cannot be used ({error.reason}); both are PEM, and the key has no "
            "passphrase"
        )
    except OSError as error:
        return f"the certificate, or the key in tls_key, cannot be read ({error.strerror})"
    return None


def address_problem(host: str) -> str | None:
    """Say why no listener can be bound to ``host`` on this machine, and what to write; None when one can.

    Parameters:
        host: an address, or a name that resolves to some.
    """
    shape = _misshapen(host)
    if shape is not None:
        return shape
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a name"
        return (
            f"is not an address and does not resolve ({why}). Some shells and conda export HOST with another "
            f"meaning; --host and {PREFIX}HOST outrank it"
        )
    failure: OSError | None = None
    for family, _, _, _, address in found:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
            except OSError as error:
                failure = error
            else:
                return None
    if failure is None or failure.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"is not an address of this machine; {_USUAL}"
    return f"cannot be bound ({failure.strerror}); {_USUAL} addresses of a machine"


def _misshapen(host: str) -> str | None:
    """Say what is wrong with the way an address is written; None when nothing is."""
    if _PLATFORM.fullmatch(host):
        return (
            "is the name of a platform, which conda's compilers export as HOST, and not an address; choose "
            f"one with --host or {PREFIX}HOST, which outrank it"
        )
    if "/" in host:
        return "is an address alone, without a scheme, a path or a length of a network"
    if host.startswith("["):
        return "is an address alone, without brackets and port"
    if host.count(":") == 1:
        return f"is an address alone; the port stands in --port, {PREFIX}PORT or PORT"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return "is an IPv4 address in the form of IPv6; write it as IPv4, without ::ffff:"
        if address.is_link_local and address.scope_id is None:
            return "is a link-local address, which needs its interface behind it, such as %eth0"
    return None
