"""Clients that are slow or many, and requests that cost the server more than the client."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import select
import socket
import time
from collections.abc import Awaitable
from functools import partial

from ..server.load import Outcome
from ..server.slow import SlowClients, allow_descriptors, ask_steadily
from .bench import Bench
from .case import Case, Seen, Setup, Subject, holds_if
from .wire import exchange

__all__ = ("CASES",)

_DEADLINE = 2.0
_DEADLINES = {"header_timeout": "2s", "body_timeout": "2s", "stream_idle_timeout": "3s", "log_level": "error"}
_FLAGS: dict[Subject, tuple[str, ...]] = {"granian": ("--http1-header-read-timeout", "2000")}
_HEAD = b"GET /pid HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
_BODY = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nab"
_DESCRIPTORS = 1024
_QUICK = Setup(ours=_DEADLINES, flags=_FLAGS)


def _besieged(first: bytes, full: int, bench: Bench) -> Seen:
    """Ask honestly while slow clients hold more connections than there are descriptors."""
    count = bench.many(full, 200)
    # A server has some twenty open before anybody comes.
    descriptors = max(128, round(_DESCRIPTORS * count / full))
    setup = Setup(ours=_DEADLINES, flags=_FLAGS, descriptors=descriptors)
    with allow_descriptors(count + 1000), bench.started(setup) as service:
        besiegers = SlowClients(service.port, count, first, _DEADLINE / 5)
        try:
            time.sleep(_DEADLINE + 1)
            honest = asyncio.run(_within(ask_steadily(service.port, 6.0), 40))
        finally:
            besiegers.stop()
    good = sum(one.kind == "ok" and one.status == 200 for one in honest)
    return Seen(
        bool(honest) and good >= 0.99 * len(honest), f"{good} of {len(honest)} honest requests answered"
    )


async def _within(work: Awaitable[list[Outcome]], seconds: float) -> list[Outcome]:
    async with asyncio.timeout(seconds):
        return await work


def _stalled_body(bench: Bench) -> Seen:
    service = bench.shared(_QUICK)
    lines = [
        socket.create_connection(("127.0.0.1", service.port), timeout=10) for _ in range(bench.many(50, 5))
    ]
    try:
        for line in lines:
            line.sendall(_BODY)
        ended, statuses = _ends(lines, _DEADLINE + 3)
    finally:
        for line in lines:
            line.close()
    right = sum(status == 408 for status in statuses)
    return Seen(
        right == len(lines), f"{ended} of {len(lines)} ended within {_DEADLINE + 3:.0f} s, {right} with 408"
    )


def _ends(lines: list[socket.socket], seconds: float) -> tuple[int, list[int]]:
    """Wait until the server has closed; return how many it closed, and their statuses."""
    open_, statuses, received = set(lines), list[int](), dict[socket.socket, bytes]()
    end = time.monotonic() + seconds
    while open_ and (left := end - time.monotonic()) > 0:
        readable, _, _ = select.select(list(open_), [], [], left) if len(open_) < 900 else ([], [], [])
        for line in readable:
            try:
                data = line.recv(1 << 16)
            except OSError:
                data = b""
            received[line] = received.get(line, b"") + data
            if not data:
                open_.discard(line)
                answer = received[line]
                statuses.append(int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0)
    return len(lines) - len(open_), statuses


def _dripped_body(bench: Bench) -> Seen:
    service = bench.shared(_QUICK)
    with socket.create_connection(("127.0.0.1", service.port), timeout=1) as line:
        line.sendall(_BODY)
        began = time.monotonic()
        while time.monotonic() - began < 12:
            readable, _, _ = select.select([line], [], [], 0.3)
            if readable:
                seconds = time.monotonic() - began
                return Seen(seconds <= _DEADLINE + 3, f"ended after {seconds:.1f} s")
            with contextlib.suppress(OSError):
                line.send(b"a")
    return Seen(False, "still taken after 12 s")


def _slow_readers(bench: Bench) -> Seen:
    count = bench.many(60, 6)
    with bench.started(_QUICK) as service:
        service.ask("/big")
        before = service.memory_mb()
        lines: list[socket.socket] = []
        for _ in range(count):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", service.port))
            line.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            lines.append(line)
        time.sleep(2)
        grown = service.memory_mb() - before
        began, cut = time.monotonic(), 0
        while cut < count and time.monotonic() - began < 40:
            for line in lines:
                with contextlib.suppress(OSError):
                    line.recv(1)
            cut = count - _established(service.port)
            time.sleep(1)
        seconds = time.monotonic() - began
        for line in lines:
            line.close()
    faults = [] if cut >= count else [f"{count - cut} of {count} still open after 40 s"]
    if grown > count * 0.26 + 5:
        faults.append(f"{grown:.0f} MB more")
    return holds_if(faults, f"{grown:.0f} MB more, all cut after {seconds:.0f} s")


def _established(port: int) -> int:
    """Count the server's connections that are up (state 01 of /proc/net/tcp)."""
    ends = f":{port:04X}"
    count = 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            words = line.split()
            count += words[1].endswith(ends) and words[3] == "01"
    return count


def _idle_connections(bench: Bench) -> Seen:
    count = bench.many(2000, 100)
    with allow_descriptors(count + 500):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        with bench.started(Setup(ours={"log_level": "error"}, descriptors=soft)) as service:
            lines: list[socket.socket] = []
            try:
                for _ in range(count):
                    line = socket.create_connection(("127.0.0.1", service.port), timeout=5)
                    lines.append(line)
                    line.sendall(b"GET /pid HTTP/1.1\r\nHost: localhost\r\n\r\n")
                for line in lines:
                    line.settimeout(10)
                    line.recv(1 << 16)
                answer = service.ask()
            except OSError as error:
                return Seen(False, f"after {len(lines)} connections: {error}")
            finally:
                for line in lines:
                    line.close()
    return Seen(answer.status == 200 and answer.seconds <= 1, f"{answer.status} after {answer.seconds:.2f} s")


def _half_open(bench: Bench) -> Seen:
    service = bench.shared(_QUICK)
    began = time.monotonic()
    got = exchange(service.port, b"GET /pid HTTP/1.1\r\nHost: localh", patience=2 * (_DEADLINE + 3))
    seconds = time.monotonic() - began
    closed = got.closed and seconds <= _DEADLINE + 2.5
    return Seen(closed, f"closed after {seconds:.1f} s" if got.closed else f"open after {seconds:.0f} s")


CASES: tuple[Case, ...] = (
    Case(
        "X1", "slow",
        "1,500 clients that send their head a byte at a time and come again; 1,024 descriptors; header "
        "deadline 2 s where there is one",
        "99 % of honest requests are answered 200 once the first deadline is over",
        partial(_besieged, _HEAD, 1500), seconds=120,
    ),
    Case(
        "X1 one", "slow",
        "one head that stops half way; header deadline 2 s where there is one",
        "the connection is closed within 4.5 s",
        _half_open, smoke=True,
    ),
    Case(
        "X2", "slow",
        "1,100 clients whose body stalls; 1,024 descriptors; body deadline 2 s where there is one",
        "99 % of honest requests are answered 200 once the first deadline is over",
        partial(_besieged, _BODY, 1100), seconds=120,
    ),
    Case(
        "X2 end", "slow",
        "50 bodies that stall; body deadline 2 s where there is one",
        "each ends within 5 s with 408",
        _stalled_body, smoke=True,
    ),
    Case(
        "X3", "slow",
        "a body of three bytes a second",
        "it ends within 5 s: the deadline is for the whole body",
        _dripped_body, smoke=True,
    ),
    Case(
        "X4", "slow",
        "60 clients that read a byte a second of ten megabytes",
        "memory grows by 256 KiB a client at most, and each is cut within 40 s",
        _slow_readers, seconds=120,
    ),
    Case(
        "X5", "slow",
        "2,000 idle connections",
        "a new client is served within 1 s",
        _idle_connections, smoke=True,
    ),
)  # fmt: skip
