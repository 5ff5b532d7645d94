"""Metrics, logs and ids under attack: they stay small, whole and true."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from pathlib import Path

from .bench import Bench, Service, scrape_status
from .case import Case, Seen, Setup, holds_if
from .wire import exchange, side_by_side

__all__ = ("CASES",)


def _series(text: str) -> int:
    return sum(bool(line) and not line.startswith("#") for line in text.splitlines())


def _cardinality(bench: Bench) -> Seen:
    with bench.started() as service:
        for path in ("/echo", "/nowhere", "/pid"):
            service.ask(path)
        exchange(service.port, b"MKCOL /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
        before = _series(service.metrics())
        count = bench.many(2000, 100)

        def one(number: int) -> None:
            method = "GET" if number % 2 else f"M{number}"
            service.ask(f"/nowhere/{number}", method=method, host=f"h{number}.example")

        with contextlib.suppress(OSError):
            side_by_side(one, range(count))
        began = time.monotonic()
        text = service.metrics()
        seconds = time.monotonic() - began
    more = _series(text) - before
    faults = [f"{more} further series"] if more > 60 else []
    if len(text) > 100_000:
        faults.append(f"{len(text) // 1000} KB a scrape")
    if seconds > 0.5:
        faults.append(f"{seconds:.2f} s a scrape")
    return holds_if(faults, f"{more} further series, {len(text) // 1000} KB, {1000 * seconds:.0f} ms")


def _total(text: str) -> float:
    """Sum what counts requests to ``/pid``."""
    lines = re.findall(r"^\w*requests?_total\{[^}]*\"/pid\"[^}]*\} (\S+)$", text, re.MULTILINE)
    return sum(map(float, lines))


def _counts_of_killed_workers(bench: Bench) -> Seen:
    with bench.folder() as folder:
        setup = Setup(env={} if bench.ours else {"PROMETHEUS_MULTIPROC_DIR": str(folder)}, workers=2)
        with bench.started(setup) as service:
            for _ in range(40):
                service.ask("/pid")
            last, faults = _scrape(service, list[str](), 0.0)
            for number in range(bench.many(4, 2)):
                victim = min(service.pids())
                os.kill(victim, signal.SIGKILL)
                for _ in range(10):
                    last, faults = _scrape(service, faults, last)
                with contextlib.suppress(TimeoutError):
                    service.until(lambda: len(service.pids()) == 2, 30, "two workers")
                if service.server.process.poll() is not None:
                    return Seen(False, "the whole service ended")
                if number == 0:
                    _plant(bench, folder, service)
                last, faults = _scrape(service, faults, last)
    return holds_if(sorted(set(faults)), "every scrape 200, no counter went back")


def _scrape(service: Service, faults: list[str], last: float) -> tuple[float, list[str]]:
    status = scrape_status(service.metrics_url)
    if status != 200:
        # A worker that dies may take the connection with it; a scraper tries again.
        time.sleep(0.2)
        status = scrape_status(service.metrics_url)
    if status != 200:
        return last, [*faults, f"a scrape was {status or 'not answered'}"]
    try:
        now = _total(service.metrics())
    except OSError:
        return last, faults
    return max(now, last), faults if now >= last else [
        *faults,
        f"a counter went from {last:.0f} to {now:.0f}",
    ]


def _plant(bench: Bench, folder: Path, service: Service) -> None:
    """Leave an empty file where the workers' counts are, as a kill at the wrong moment does."""
    if not bench.ours:
        (folder / "counter_999999.db").touch()
        return
    for place in Path("/dev/shm").glob(f"roadworthy*/*{service.server.pid}*"):
        if place.is_dir():
            for known in list(place.iterdir())[:1]:
                (place / f"{known.name}-999999").touch()


def _public_metrics(bench: Bench) -> Seen:
    service = bench.shared()
    faults = [
        f"{path}: 200"
        for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics")
        if service.ask(path).status == 200
    ]
    health = service.ask("/readyz")
    words = (os.uname().nodename.encode(), b"postgres", b"sqlite", b"redis", b"version", b"python")
    faults += [f"health shows {word.decode()}" for word in words if word and word in health.body.lower()]
    return holds_if(faults, "not among the public routes")


_IDS: dict[str, bytes] = {
    "10 KB": b"a" * 10_000,
    "unicode": "é中".encode(),
    "an escape": b"a\x1b[31m",
    "a quote": b'a"}{"level":"FAKE"',
    "spaces": b"a b",
    "a tab": b"a\tb",
    "a script": b"<script>alert(1)</script>",
    "an id of another": b"0" * 32,
    "empty": b"",
}


def _ids(bench: Bench) -> Seen:
    service, faults = bench.shared(), list[str]()
    for name, value in _IDS.items():
        for field in (b"X-Request-Id: ", b"traceparent: 00-", b"X-Correlation-Id: "):
            got = exchange(
                service.port,
                b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + field + value + b"\r\n\r\n",
            )
            if got.statuses == (400,) or got.statuses == (431,):
                continue
            found = re.search(rb"(?i)\r\nx-request-id: ([^\r]*)\r\n", got.raw)
            if found is None:
                faults.append(f"{name}: no id")
            elif not re.fullmatch(rb"[\x21-\x7e]{1,128}", found[1]) or any(one in found[1] for one in b'"<>'):
                faults.append(f"{name}: {ascii(found[1][:20])[1:]} is taken")
    return holds_if(faults, f"{len(_IDS)} of {len(_IDS)} replaced or sound")


def _stuck_output(bench: Bench) -> Seen:
    """Let nobody read standard output, and then close it; the service goes on."""
    faults, seen = list[str](), list[str]()
    for kind in ("full", "closed"):
        reader, writer = os.pipe()
        with bench.folder() as folder:
            drained, over = threading.Event(), threading.Event()

            def drain(reader: int = reader, over: threading.Event = over) -> None:
                while not over.is_set():
                    with contextlib.suppress(BlockingIOError):
                        os.read(reader, 1 << 16)
                    time.sleep(0.01)

            os.set_blocking(reader, False)
            service = Service(bench.subject, Setup(), folder, stdout=writer)
            os.close(writer)
            thread = threading.Thread(target=drain, daemon=True)
            thread.start()
            try:
                service.wait_ready()
                over.set()
                thread.join(5)
                if kind == "closed":
                    os.close(reader)
                # A pipe holds 64 KiB: some 300 records fill it.
                answered, slowest, count = 0, 0.0, bench.many(1500, 700)
                end = time.monotonic() + 20
                for _ in range(count):
                    if time.monotonic() > end or drained.is_set():
                        break
                    answer = service.ask("/echo/" + "a" * 200, seconds=3)
                    answered += answer.status == 200
                    slowest = max(slowest, answer.seconds)
                    if answer.status == 0:
                        break
                seen.append(
                    f"{kind}: {answered} of {count} answered, the slowest after {1000 * slowest:.0f} ms"
                )
                if answered < count:
                    faults.append(seen[-1])
            finally:
                over.set()
                service.server.stop()
                if kind == "full":
                    os.close(reader)
    return holds_if(faults, "; ".join(seen))


CASES: tuple[Case, ...] = (
    Case(
        "O1", "observability",
        "2,000 requests with as many paths and Host names, and 1,000 methods",
        "at most 60 further series; a scrape of at most 100 KB and 0.5 s",
        _cardinality, smoke=True,
    ),
    Case(
        "O2", "observability",
        "`kill -9` of one of two workers during scrapes, four times, and an empty file among the counts "
        "(the packages: with PROMETHEUS_MULTIPROC_DIR)",
        "every scrape is 200, no counter goes back",
        _counts_of_killed_workers, seconds=200,
    ),
    Case(
        "O3", "observability",
        "/metrics in four spellings and the health body, on the public listener",
        "no metrics without being asked to; the body names no host, version or dependency",
        _public_metrics, smoke=True,
    ),
    Case(
        "O4", "observability",
        f"{len(_IDS)} request ids of clients: 10 KB, escapes, markup, unicode; in three fields",
        "replaced, refused, or sound: at most 128 visible characters without quotes and angle brackets",
        _ids, smoke=True,
    ),
    Case(
        "O5", "observability",
        "standard output is a pipe that nobody reads, and one that is closed",
        "1,500 of 1,500 requests are answered, none waits for the log",
        _stuck_output, seconds=120,
    ),
)  # fmt: skip
