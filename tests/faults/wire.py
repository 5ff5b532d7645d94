"""Raw bytes to a server, and what came back, read leniently: servers are to be judged, not this reader."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

__all__ = ("Answer", "Exchange", "ask", "exchange", "side_by_side")

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_AT_ONCE = 8
_QUIET_SECONDS = 0.25
"""Without a byte for so long after the last, an open connection has nothing more to say."""
_PATIENCE = 2.0
"""Seconds within which something must come back, be it the end of the connection."""
Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back for some bytes.

    Parameters:
        statuses: of the final responses, in order.
        raw: all bytes.
        closed: the server closed the connection.
        hung: nothing came in time: no byte and no end.
    """

    statuses: tuple[int, ...]
    raw: bytes
    closed: bool
    hung: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, or status 0 when none came."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def field(self, name: str) -> str | None:
        """Return the first field of this name."""
        return next((value for known, value in self.fields if known == name), None)


def exchange(port: int, *pieces: bytes, patience: float = _PATIENCE) -> Exchange:
    """Send bytes, and read until the server closes or falls silent.

    Parameters:
        pieces: each is one write.
        patience: seconds in which something must come; half way the sender ends its side.
    """
    raw, closed, ended = b"", False, False
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            for piece in pieces:
                line.sendall(piece)
        while not closed:
            line.settimeout(_QUIET_SECONDS if raw else patience / 2)
            try:
                data = line.recv(1 << 16)
            except TimeoutError:
                if raw or ended:
                    break
                ended = True
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_WR)
                continue
            except OSError:
                data = b""
            closed = not data
            raw += data
    statuses = tuple(code for code in map(int, _STATUS.findall(raw)) if code >= 200 or code == 101)
    return Exchange(statuses, raw, closed, hung=not raw and not closed)


def ask(
    port: int, path: str = "/pid", fields: bytes = b"", *, method: str = "GET", body: bytes = b"",
    host: str = "localhost", seconds: float = 10.0,
) -> Answer:  # fmt: skip
    """Send one request on a connection of its own and read its whole response.

    Parameters:
        fields: further lines of the header section, each with its end.
    """
    length = b"Content-Length: %d\r\n" % len(body) if body or method in ("POST", "PUT", "PATCH") else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode("latin-1")
    began, raw = time.monotonic(), bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as line:
        with contextlib.suppress(OSError):
            line.sendall(head + length + fields + b"\r\n" + body)
        while True:
            left = began + seconds - time.monotonic()
            if left <= 0:
                break
            line.settimeout(left)
            try:
                data = line.recv(1 << 16)
            except OSError:
                break
            if not data:
                break
            raw += data
    first, _, content = bytes(raw).partition(b"\r\n\r\n")
    status, *lines = first.decode("latin-1").split("\r\n")
    found = re.match(r"HTTP/1\.[01] (\d{3})", status)
    given = tuple((name.lower(), value.strip()) for name, _, value in (one.partition(":") for one in lines))
    if dict(given).get("transfer-encoding", "").lower() == "chunked":
        content = _unchunked(content)
    return Answer(int(found[1]) if found else 0, given, content, time.monotonic() - began)


def _unchunked(data: bytes) -> bytes:
    whole = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        try:
            count = int(size, 16)
        except ValueError:
            return whole
        whole, data = whole + data[:count], data[count + 2 :]
        if not count:
            return whole


def side_by_side(work: Callable[[Input], Output], inputs: Iterable[Input]) -> list[Output]:
    """Do the work for several inputs at once; results in their order."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(work, inputs))
    finally:
        pool.shutdown(cancel_futures=True)
