"""Clients that are slow or many, and requests that cost the server more than the client."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ..server.load import Outcome
from ..server.slow import SlowClients, allow_descriptors, ask_steadily
from .bench import Bench, Service
from .case import Case, Seen, Setup, Subject, holds_if
from .wire import ask, exchange

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


_LIMIT = 1 << 20


def _stream_of_zeros(service: Service, head: bytes, piece: bytes, total: int) -> tuple[int, int]:
    """Send up to ``total`` bytes of a body; return the status and the bytes that went out before it came."""
    sent = 0
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as line:
        line.sendall(head)
        while sent < total:
            readable, writable, _ = select.select([line], [line], [], 5)
            if readable or not writable:
                break
            try:
                sent += line.send(piece)
            except OSError:
                break
        answer = b""
        with contextlib.suppress(OSError):
            answer = line.recv(1 << 16)
    return (int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0), sent


def _oversized(bench: Bench) -> Seen:
    service, faults = bench.shared(), list[str]()
    total = bench.many(64, 16) << 20
    before, seen = service.memory_mb(), list[str]()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    fields = b"POST /any HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for name, head, piece in (
        ("a length of 1 GiB", fields + b"Content-Length: 1073741824\r\n\r\n", b"x" * 65536),
        ("endless chunks", fields + b"Transfer-Encoding: chunked\r\n\r\n", chunk),
    ):
        status, sent = _stream_of_zeros(service, head, piece, total)
        seen.append(f"{name}: {status or 'no answer'} after {sent / _LIMIT:.1f} MiB")
        if status != 413:
            faults.append(seen[-1])
    grown = service.memory_mb() - before
    if grown > 10:
        faults.append(f"{grown:.0f} MB more")
    return holds_if(faults, "; ".join(seen))


def _cost(service: Service, send: Callable[[], int]) -> tuple[int, float, float]:
    """Return the status, the CPU seconds and the further megabytes of one request."""
    memory, began = service.memory_mb(), service.cpu_seconds()
    peak, over = [memory], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], service.memory_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        status = send()
    finally:
        over.set()
        watcher.join(5)
    return status, service.cpu_seconds() - began, peak[0] - memory


def _bombs(bench: Bench) -> Seen:
    service = bench.shared()
    once = gzip.compress(b" " * 10_000_000)
    bodies = {"gzip": once, "gzip, gzip": gzip.compress(once), "br": b"\xcb" * 4096, "deflate": once}
    bodies["zstd"] = b"\x28\xb5\x2f\xfd" + b"\xff" * 99
    faults: list[str] = []
    for coding, body in bodies.items():
        fields = f"Content-Type: application/json\r\nContent-Encoding: {coding}\r\n".encode()

        def send(body: bytes = body, fields: bytes = fields) -> int:
            return ask(service.port, "/any", fields, method="POST", body=body).status

        status, cpu, grown = _cost(service, send)
        if not 400 <= status < 500:
            faults.append(f"{coding}: {status or 'no answer'}")
        if cpu > 0.2 or grown > 10:
            faults.append(f"{coding}: {cpu:.2f} s of CPU, {grown:.0f} MB")
    return holds_if(faults, f"{len(bodies)} of {len(bodies)} refused")


def _heavy_heads() -> Iterator[tuple[str, str, bytes]]:
    yield "10,000 ranges", "/file", b"Range: bytes=" + b",".join(b"%d-" % n for n in range(4000)) + b"\r\n"
    yield "If-None-Match", "/file", b"If-None-Match: " + b'"a",' * 7000 + b"\r\n"
    yield "Accept-Encoding", "/big", b"Accept-Encoding: " + b"," * 30_000 + b"\r\n"
    yield "Accept-Encoding with weights", "/big", b"Accept-Encoding: " + b"a;q=0.001," * 3000 + b"\r\n"
    yield "Accept", "/echo", b"Accept: " + b"a/b;q=0.1," * 3000 + b"\r\n"
    yield "Cookie", "/echo", b"Cookie: " + b"a=b; " * 6000 + b"\r\n"
    yield "Authorization", "/echo", b"Authorization: Basic " + b"=" * 30_000 + b"\r\n"
    yield "traceparent", "/echo", b"traceparent: " + b"0-" * 15_000 + b"\r\n"
    yield "X-Forwarded-For", "/echo", b"X-Forwarded-For: " + b"1.1.1.1," * 3900 + b"\r\n"
    yield "a path of one word", "/echo/" + "token" * 1600, b""
    yield "a query of one word", "/echo?" + "password=" * 880, b""
    yield "a query of escapes", "/echo?" + "%7B" * 2600, b""


def _heads(bench: Bench) -> Seen:
    service, faults, worst = bench.shared(), list[str](), ("", 0.0)
    rounds = bench.many(20, 5)
    service.ask("/file"), service.ask("/echo")
    for name, path, fields in _heavy_heads():
        plain = _cpu_of(
            service,
            path.partition("?")[0] if "?" in path else "/echo" if "word" in name else path,
            b"",
            rounds,
        )
        took = _cpu_of(service, path, fields, rounds)
        if (more := max(0.0, took - plain)) > worst[1]:
            worst = name, more
        if more > 0.02:
            faults.append(f"{name}: {1000 * more:.0f} ms of CPU")
    return holds_if(faults, f"the worst, {worst[0]}: {1000 * worst[1]:.1f} ms more than the plain request")


def _cpu_of(service: Service, path: str, fields: bytes, rounds: int) -> float:
    """Return the CPU seconds of a request, the least of some."""
    least = 99.0
    for _ in range(rounds):
        began = service.cpu_seconds()
        service.ask(path, fields)
        least = min(least, service.cpu_seconds() - began)
    return least


def _unfinished_messages(bench: Bench) -> Seen:
    """Send messages of a WebSocket that never end, and look at the memory."""
    with bench.started() as service:
        service.ask()
        before = service.memory_mb()
        lines: list[socket.socket] = []
        head = (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        frame = b"\x01\xfe\xff\xff\0\0\0\0" + b"a" * 65535  # the first of a fragmented text
        for _ in range(bench.many(12, 4)):
            line = socket.create_connection(("127.0.0.1", service.port), timeout=5)
            lines.append(line)
            line.sendall(head)
            with contextlib.suppress(OSError):
                line.recv(4096)
                for number in range(230):
                    line.sendall(frame if number == 0 else b"\x00" + frame[1:])
        time.sleep(0.5)
        grown, works = service.memory_mb() - before, service.works()
        for line in lines:
            line.close()
    faults = [] if works else ["nobody else is served"]
    if grown > 4.0 * len(lines) + 5:
        faults.append(f"{grown:.0f} MB more for {len(lines)} connections")
    return holds_if(faults, f"{grown:.0f} MB more for {len(lines)} connections")


def _flood_of_messages(bench: Bench) -> Seen:
    """Flood the service with tiny messages on some WebSockets, and ask for something else meanwhile."""
    slowest: list[float] = []
    with bench.started() as service:

        async def run() -> None:
            over = asyncio.Event()

            async def flood() -> None:
                with contextlib.suppress(OSError, WebSocketException):
                    async with connect(f"ws://127.0.0.1:{service.port}/ws", max_queue=None) as line:
                        line.transport.pause_reading()
                        tiny = b"\x81\x81\0\0\0\0a" * 8192
                        while not over.is_set():
                            line.transport.write(tiny)
                            await asyncio.sleep(0.01)
                            if line.transport.get_write_buffer_size() > 1 << 22:
                                await asyncio.sleep(0.1)
                        line.transport.abort()

            floods = [asyncio.create_task(flood()) for _ in range(4)]
            await asyncio.sleep(1)
            for _ in range(bench.many(20, 5)):
                answer = await asyncio.to_thread(ask, service.port, "/pid", seconds=10)
                slowest.append(answer.seconds if answer.status == 200 else 10.0)
            over.set()
            await asyncio.wait(floods, timeout=10)
            for one in floods:
                one.cancel()

        asyncio.run(run())
    return Seen(
        max(slowest) <= 1.0, f"the slowest of {len(slowest)} other requests took {max(slowest):.2f} s"
    )


def _reserve(bench: Bench) -> Seen:
    """Take every descriptor with WebSockets, and ask how the service is."""
    count = 300
    with allow_descriptors(count + 500), bench.started(Setup(descriptors=256)) as service:
        lines: list[socket.socket] = []
        head = (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        for _ in range(count):
            line = socket.socket()
            line.settimeout(1)
            lines.append(line)
            with contextlib.suppress(OSError):
                line.connect(("127.0.0.1", service.port))
                line.sendall(head)
        time.sleep(1)
        port = service.ops_port if bench.ours else service.port
        try:
            alive = ask(port, "/livez", seconds=3)
            new = ask(service.port, "/pid", seconds=3)
        except OSError:
            return Seen(False, "nobody can connect any more")
        finally:
            for line in lines:
                line.close()
    faults = [] if alive.status == 200 else [f"/livez: {alive.status or 'no answer'}"]
    if new.status not in (200, 503):
        faults.append(f"a new client: {new.status or 'no answer'}")
    return holds_if(faults, f"/livez 200, a new client {new.status}")


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
        partial(_besieged, _HEAD, 1500), smoke=True, seconds=120,
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
    Case(
        "X6", "slow",
        "bodies of 1 GiB, by Content-Length and by chunks, to a route that takes JSON",
        "413, and less than 10 MB more memory",
        _oversized, smoke=True,
    ),
    Case(
        "X7", "slow",
        "bodies with Content-Encoding: gzip (10 MB in 10 KB), gzip twice, br, zstd, deflate",
        "4xx, at most 200 ms of CPU and 10 MB each",
        _bombs, smoke=True,
    ),
    Case(
        "X10", "slow",
        "heads at the limit: thousands of ranges, weights, cookies, commas, tags, words to redact",
        "at most 20 ms of CPU each more than the plain request",
        _heads,
    ),
    Case(
        "X13 memory", "slow",
        "12 WebSockets, each with an unfinished message of 15 MB",
        "at most 4 MB more memory a connection; others are served",
        _unfinished_messages,
    ),
    Case(
        "X13 turns", "slow",
        "4 WebSockets that flood the service with messages of one byte",
        "other requests are answered within 1 s",
        _flood_of_messages,
    ),
    Case(
        "X13 reserve", "slow",
        "300 WebSockets under 256 descriptors",
        "liveness is answered (by the operations listener where there is one); a new client gets 200 or 503",
        _reserve,
    ),
)  # fmt: skip
