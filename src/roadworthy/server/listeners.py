"""Binding the process's addresses before anything else starts, with messages that say what to do."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

__all__ = ("ServeError", "bind", "busy", "close", "url_of")


class ServeError(Exception):
    """Raised when the process cannot serve as it was told; ``str()`` says why and what to do."""


def bind(host: str, port: int, setting: str) -> list[socket.socket]:
    """Bind every address of ``host``, without listening yet: a client is refused until the service is ready.

    Parameters:
        host: an address, or a name that resolves to some.
        port: TCP port; 0 takes any free one, the same for every address.
        setting: the flag and variables that choose the port, for messages.

    Raises:
        ServeError: no address could be bound.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeError(f"{host} is not an address and does not resolve ({error.strerror})") from None
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            # A name such as localhost may resolve to a family that this machine has no address of.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                close(sockets)
                raise _explained(error, host, chosen, setting) from None
            failure = error
    if not sockets:
        raise _explained(failure or OSError(errno.EADDRNOTAVAIL, ""), host, port, setting)
    return sockets


def close(sockets: Sequence[socket.socket]) -> None:
    """Close every socket; one that is closed already stays so."""
    for one in sockets:
        one.close()


def busy(host: str, port: int, setting: str) -> ServeError:
    """Return the error for a port that another process listens on."""
    return ServeError(
        f"port {port} on {host} is in use by another process. Choose another with {setting}, or stop that "
        f"process (ss -ltnp 'sport = :{port}' shows which it is)."
    )


def url_of(sockets: Sequence[socket.socket], host: str) -> str:
    """Return the URL under which the sockets are reached; the host as it was given."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{sockets[0].getsockname()[1]}"


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it a restart fails for a minute while closed connections are in TIME_WAIT.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _explained(error: OSError, host: str, port: int, setting: str) -> ServeError:
    if error.errno == errno.EADDRINUSE:
        return busy(host, port, setting)
    if error.errno == errno.EACCES:
        return ServeError(
            f"port {port} needs privileges that this process lacks. Choose one above 1023 with {setting}."
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return ServeError(
            f"{host} is not an address of this machine; 127.0.0.1, 0.0.0.0, ::1 and :: usually are."
        )
    return ServeError(
        f"port {port} on {host} cannot be bound ({error.strerror}). Choose another with {setting}."
    )
