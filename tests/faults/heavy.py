"""Requests that are meant to cost the server more than they cost the client."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
import threading
from collections.abc import Callable, Iterator

from .bench import Bench, Service
from .case import Case, Seen, holds_if
from .wire import ask

__all__ = ("CASES",)

_LIMIT = 1 << 20
# urllib's unquote, which Starlette reads forms with, takes 70 MB for the 300,000 escapes of 900 KB.
_FORM_MB = 100


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


def _forms() -> Iterator[tuple[str, bytes, bytes]]:
    parts = b"multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n'
    end, words = b"--b--\r\n", b"application/x-www-form-urlencoded"
    yield "18,000 parts", parts, (part + b"\r\n1\r\n") * 18_000 + end
    yield "100,000 parts", parts, b"--b\r\n\r\n\r\n" * 100_000 + end
    yield "100,000 fields in a part", parts, part + b"a: 1\r\n" * 100_000 + b"\r\n1\r\n" + end
    yield "one field of 900 KB in a part", parts, part + b"a: " + b"1" * 900_000 + b"\r\n\r\n1\r\n" + end
    yield "a boundary of 10 MB", parts + b"b" * 10_000_000, end
    yield "a boundary that almost comes", parts, part + b"\r\n" + b"\r\n--" * 200_000 + end
    yield "64 MB before the first part", parts, b" " * (64 << 20) + part + b"\r\n1\r\n" + end
    yield "no end", parts, part + b"\r\n" + b"1" * 900_000
    yield "500,000 names", words, b"a&" * 500_000
    yield "500,000 semicolons", words, b"a;" * 500_000
    yield "300,000 escapes", words, b"a=" + b"%41" * 300_000


def _hostile_forms(bench: Bench) -> Seen:
    service, faults, statuses = bench.shared(), list[str](), list[str]()
    ask(
        service.port,
        "/form",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        method="POST",
        body=b"a=1",
    )
    for name, media_type, body in _forms():

        def send(media_type: bytes = media_type, body: bytes = body) -> int:
            fields = b"Content-Type: " + media_type + b"\r\n"
            return ask(service.port, "/form", fields, method="POST", body=body).status

        status, cpu, grown = _cost(service, send)
        statuses.append(f"{name}: {status or 'closed'}")
        if status >= 500 or cpu > 0.2 or grown > _FORM_MB:
            faults.append(f"{name}: {status}, {cpu:.2f} s of CPU, {grown:.0f} MB")
    if not service.works():
        faults.append("the process did not survive")
    return holds_if(faults, "; ".join(statuses))


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


CASES: tuple[Case, ...] = (
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
        "X8", "slow",
        "forms: many parts, many and long fields in a part, a boundary of 10 MB or almost one, 64 MB first, "
        "no end, many names, semicolons and escapes; the framework reads them",
        "no 5xx; at most 200 ms of CPU and 100 MB each",
        _hostile_forms,
    ),
    Case(
        "X10", "slow",
        "heads at the limit: thousands of ranges, weights, cookies, commas, tags, words to redact",
        "at most 20 ms of CPU each more than the plain request",
        _heads,
    ),
)  # fmt: skip
