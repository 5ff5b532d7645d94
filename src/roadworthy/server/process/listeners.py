"""Binding the process's addresses before anything else starts, with messages that say what to do."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import MutableMapping, Sequence

__all__ = (
    "BACKLOG",
    "ServeError",
    "activated",
    "bind",
    "bind_path",
    "busy",
    "close",
    "listen",
    "refuse_new",
    "url_of",
)

BACKLOG = 2048
"""Connections that may wait to be accepted: uvicorn's own default."""
_FIRST_PASSED = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_SO_ATTACH_FILTER = 26
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
"""Classic BPF over the TCP header: load the byte of flags, drop the segment where SYN is set, else keep."""


class ServeError(Exception):
    """Raised when the process cannot serve as configured; ``str()`` says why and what to do."""


def bind(
    host: str, port: int, setting: str, host_setting: str = "--host, ROADWORTHY_HOST or HOST"
) -> list[socket.socket]:
    """Bind every address of ``host``, without listening yet: a client is refused until the service is ready.

    Parameters:
        host: an address, or a name that resolves to some.
        port: TCP port; 0 takes any free one, the same for every address.
        setting: the flag and variables that choose the port, for messages.
        host_setting: those that choose the host.

    Raises:
        ServeError: no address could be bound.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a name"
        raise ServeError(f"{host_setting}: is not an address and does not resolve ({why})") from None
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
                raise _explained(error, host, chosen, setting, host_setting) from None
            failure = error
    if not sockets:
        raise _explained(failure or OSError(errno.EADDRNOTAVAIL, ""), host, port, setting, host_setting)
    return sockets


def bind_path(path: str) -> list[socket.socket]:
    """Bind a Unix socket; one that a process left behind is replaced.

    Raises:
        ServeError: something else is at the path, or another process listens there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise ServeError(f"{path} is there and no socket; choose another with --uds")
            if _answers(path):
                raise ServeError(f"another process listens on {path}; stop it, or choose another with --uds")
            os.unlink(path)
        made.bind(path)
        # As other servers have it: the proxy runs as another user, and the folder's mode is the lock.
        os.chmod(path, 0o666)  # noqa: S103
    except OSError as error:
        made.close()
        # Of a path that is too long only the text says so.
        raise ServeError(
            f"a socket cannot be made at {path} ({error.strerror or error}); choose another path with "
            "--uds or ROADWORTHY_UDS"
        ) from None
    except ServeError:
        made.close()
        raise
    made.setblocking(False)
    return [made]


def activated(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Take the sockets that systemd opened for this process (sd_listen_fds(3)), if any.

    Raises:
        ServeError: a descriptor that ``LISTEN_FDS`` announces is not open, or no socket.
    """
    count, pid = environment.get("LISTEN_FDS", ""), environment.get("LISTEN_PID", "")
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    sockets: list[socket.socket] = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            one = socket.socket(fileno=descriptor)
        except OSError as error:
            close(sockets)
            raise ServeError(
                f"LISTEN_FDS announces {count} sockets, and descriptor {descriptor} cannot be served "
                f"({error.strerror}). Whoever sets LISTEN_FDS has to pass the sockets open from descriptor "
                f"{_FIRST_PASSED} on; without the variable the service opens its own."
            ) from None
        one.setblocking(False)
        sockets.append(one)
    return sockets


def listen(sockets: Sequence[socket.socket]) -> None:
    """Listen on every socket.

    Raises:
        OSError: another process listens on the address; uvloop 0.23 would not say so.
    """
    for one in sockets:
        one.listen(BACKLOG)


def refuse_new(one: socket.socket) -> bool:
    """Refuse new connections and keep those there are; return whether that could be done.

    Closing a listener resets the connections that wait to be accepted, and between the last accept and the
    close there is always room for one more. So the kernel drops further requests to connect (SYN) first: a
    client sends its SYN again after a second (RFC 6298 §2.1), when the listener is closed and refuses it.
    """
    if one.family == socket.AF_UNIX:
        try:
            os.unlink(one.getsockname())
        except OSError:
            return False
        return True
    if sys.platform != "linux":
        return False
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


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


def url_of(sockets: Sequence[socket.socket], host: str, scheme: str = "http") -> str:
    """Return the URL under which the sockets are reached; the host as it was given."""
    if sockets[0].family == socket.AF_UNIX:
        return f"unix:{sockets[0].getsockname()}"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{sockets[0].getsockname()[1]}"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


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


def _explained(error: OSError, host: str, port: int, setting: str, host_setting: str) -> ServeError:
    if error.errno == errno.EADDRINUSE:
        return busy(host, port, setting)
    if error.errno == errno.EACCES:
        return ServeError(
            f"port {port} needs privileges that this process lacks. Choose one above 1023 with {setting}."
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return ServeError(
            f"{host_setting}: is not an address of this machine; 127.0.0.1, 0.0.0.0, ::1 and :: usually are."
        )
    if error.errno == errno.EINVAL:
        return ServeError(f"{host_setting}: is not an address that can be bound ({error.strerror})")
    return ServeError(
        f"port {port} on {host} cannot be bound ({error.strerror}). Choose another with {setting}."
    )
