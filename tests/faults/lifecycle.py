"""SIGTERM in every situation: under load, with streams, threads, and during the start."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from ..server.load import Load, ask
from .bench import Bench, Service
from .case import Case, Seen, Setup, holds_if
from .wire import exchange

__all__ = ("CASES", "CLIENTS", "GONE_SECONDS", "TWO_WORKERS", "in_words", "under_load")

TWO_WORKERS = Setup(workers=2)
_GRACE = 5.0
"""Seconds that the setups allow requests in flight; the delay before and streams after take 1 each."""
CLIENTS = 16
GONE_SECONDS = 15.0


def under_load(service: Service, act: Callable[[], None]) -> tuple[dict[str, int], int]:
    """Load a service, act, and wait; return the failures by kind and the number of requests."""
    over = threading.Event()

    async def run() -> Load:
        load = Load(service.port, CLIENTS, over.is_set, path="/pid", timeout=8.0)
        await asyncio.sleep(0.7)
        await asyncio.to_thread(act)
        over.set()
        await load.done()
        return load

    load = asyncio.run(run())
    failed = {kind: count for kind, count in load.counts().items() if kind not in ("ok", "refused")}
    wrong = sum(one.kind == "ok" and one.status >= 500 for one in load.outcomes)
    return ({**failed, "5xx": wrong} if wrong else failed), len(load.outcomes)


def in_words(failed: dict[str, int]) -> str:
    """Name the failures by kind."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failed.items())) or "none"


def _terminate_under_load(bench: Bench) -> Seen:
    total, requests = dict[str, int](), 0
    cycles = bench.many(8)
    for _ in range(cycles):
        with bench.started(TWO_WORKERS) as service:

            def act(service: Service = service) -> None:
                service.server.terminate()
                service.ended(GONE_SECONDS)

            failed, count = under_load(service, act)
        requests += count
        for kind, number in failed.items():
            total[kind] = total.get(kind, 0) + number
    return Seen(not total, f"{cycles} times, {requests} requests; failed: {in_words(total)}")


def _in_flight(bench: Bench) -> Seen:
    faults: list[str] = []
    with bench.started() as service:

        async def run() -> list[bytes]:
            async def one() -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
                writer.write(b"GET /slow?seconds=3 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                try:
                    async with asyncio.timeout(10):
                        head = await reader.readuntil(b"\r\n\r\n")
                        return head + await reader.readuntil(b"}")
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    return b""
                finally:
                    writer.close()

            asked = [asyncio.create_task(one()) for _ in range(50)]
            await asyncio.to_thread(
                service.until,
                lambda: sum("/slow" in line for line in service.journal()) >= 50,
                15,
                "they arrive",
            )
            service.server.terminate()
            signalled.append(time.monotonic())
            return await asyncio.gather(*asked)

        signalled: list[float] = []
        answers = asyncio.run(run())
        complete = sum(answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"}") for answer in answers)
        closing = sum(b"connection: close" in answer.lower() for answer in answers)
        if not service.ended(_GRACE):
            faults.append("still there 5 s after the last answer")
        seconds = time.monotonic() - signalled[0]
        code = service.server.process.poll()
    if complete < 50:
        faults.append(f"{50 - complete} of 50 not answered")
    if closing < complete:
        faults.append(f"{complete - closing} of 50 without `Connection: close`")
    return holds_if(faults, f"50 of 50, exit {code} after {seconds:.1f} s")


def _open_streams(bench: Bench) -> Seen:
    ended: dict[str, str] = {"stream": "nothing", "websocket": "nothing"}
    with bench.started() as service:

        async def stream(begun: asyncio.Event) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            tail = b""
            try:
                while data := await reader.read(1 << 16):
                    tail = (tail + data)[-16:]
                    begun.set()
                ended["stream"] = "whole" if tail.endswith(b"0\r\n\r\n") else "cut"
            except OSError:
                ended["stream"] = "reset"
            finally:
                writer.close()

        async def talk(begun: asyncio.Event) -> None:
            try:
                async with connect(f"ws://127.0.0.1:{service.port}/ws") as line:
                    await line.send("a")
                    await line.recv()
                    begun.set()
                    await line.recv()
            except ConnectionClosed as closed:
                ended["websocket"] = str(closed.rcvd.code) if closed.rcvd else "cut"
            except (OSError, InvalidHandshake):
                ended["websocket"] = "refused"
                begun.set()

        async def run() -> None:
            events = asyncio.Event(), asyncio.Event()
            tasks = [asyncio.create_task(stream(events[0])), asyncio.create_task(talk(events[1]))]
            async with asyncio.timeout(20):
                await asyncio.gather(*(event.wait() for event in events))
            service.server.terminate()
            _, open_ = await asyncio.wait(tasks, timeout=GONE_SECONDS)
            ended["open"] = str(len(open_))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        began = time.monotonic()
        asyncio.run(run())
        gone = service.ended(max(0.1, GONE_SECONDS - (time.monotonic() - began)))
        seconds = time.monotonic() - began
        code = service.server.process.poll()
    if not gone:
        return Seen(False, f"still there after {GONE_SECONDS:.0f} s")
    seen = (
        f"gone after {seconds:.1f} s, exit {code}, stream {ended['stream']}, WebSocket {ended['websocket']}"
    )
    right = seconds <= 2 * _GRACE and ended["stream"] == "whole" and ended["websocket"] in ("1001", "1012")
    return Seen(right and code == 0, seen)


def _stubborn_thread(bench: Bench) -> Seen:
    with bench.started() as service:
        line = socket.create_connection(("127.0.0.1", service.port), timeout=5)
        with line:
            line.sendall(b"GET /stubborn?seconds=40 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            service.until(lambda: any("/stubborn" in one for one in service.journal()), 10, "it arrives")
            began = time.monotonic()
            service.server.terminate()
            gone = service.ended(GONE_SECONDS)
        seconds = time.monotonic() - began
        named = any("/stubborn" in one or "stubborn" in one for one in service.log() if "saw" not in one)
    if not gone:
        return Seen(False, f"still there after {GONE_SECONDS:.0f} s")
    return Seen(
        seconds <= _GRACE + 4 and named,
        f"gone after {seconds:.1f} s, " + ("the log names it" if named else "the log does not name it"),
    )


def _readiness_first(bench: Bench) -> Seen:
    setup = Setup(ours={"drain_delay": "2s"})
    with bench.started(setup) as service:
        service.server.terminate()
        began = time.monotonic()
        said_no, served, failures, alive = 0.0, 0.0, 0, 0
        while service.server.process.poll() is None and time.monotonic() < began + GONE_SECONDS:
            at = time.monotonic() - began
            try:
                ready = exchange(
                    service.port, b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                )
                live = exchange(service.port, b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                new = exchange(service.port, b"GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            except OSError:
                break
            if not said_no and ready.statuses == (503,):
                said_no = at
            alive += live.statuses == (200,)
            if new.statuses == (200,):
                served = time.monotonic() - began
            else:
                failures += 1
            time.sleep(0.02)
    seen = (
        f"not ready after {said_no:.2f} s" if said_no else "readiness never said no"
    ) + f"; new requests served for {served:.1f} s"
    return Seen(0 < said_no <= 1.0 and served >= 1.8 and alive > 0, seen)


def _during_the_start(bench: Bench) -> Seen:
    slowest, codes = 0.0, set[int | None]()
    for number in range(bench.many(4, 2)):
        with bench.started(Setup(env={"FAULTS_SLOW_START": "2"}), ready=False) as service:
            time.sleep(0.5 + 0.7 * number)
            began = time.monotonic()
            service.server.terminate()
            if not service.ended(GONE_SECONDS):
                return Seen(False, f"still there after {GONE_SECONDS:.0f} s")
            slowest = max(slowest, time.monotonic() - began)
            codes.add(service.server.process.poll())
    return Seen(slowest <= _GRACE + 4, f"gone after {slowest:.1f} s at most, exit {sorted(codes, key=str)}")


def _two_terms(bench: Bench) -> Seen:
    with bench.started() as service:

        async def run() -> str:
            asked = asyncio.create_task(ask(service.port, "/slow?seconds=3"))
            await asyncio.sleep(0.7)
            service.server.terminate()
            await asyncio.sleep(0.1)
            service.server.terminate()
            return (await asked).kind

        kind = asyncio.run(run())
        gone = service.ended(GONE_SECONDS)
    if not gone:
        return Seen(False, f"still there after {GONE_SECONDS:.0f} s")
    return Seen(kind == "ok", "answered" if kind == "ok" else f"the request in flight: {kind}")


CASES: tuple[Case, ...] = (
    Case(
        "S1", "lifecycle",
        "SIGTERM under load, eight times: two workers, 16 clients that keep their connections",
        "no request fails but those refused after the listener has closed",
        _terminate_under_load, seconds=300,
    ),
    Case(
        "S2", "lifecycle",
        "SIGTERM while 50 requests of 3 s are in flight",
        "50 are answered, each with `Connection: close`; the process is gone 5 s after them at the latest",
        _in_flight, smoke=True,
    ),
    Case(
        "S3", "lifecycle",
        "SIGTERM while an endless event stream and a WebSocket are open",
        "the stream ends as a whole response, the WebSocket with 1001 or 1012, the process within 10 s",
        _open_streams,
    ),
    Case(
        "S4", "lifecycle",
        "SIGTERM while a handler is in a thread for 40 s",
        "the process is gone within 9 s, of which 5 are grace, and the log names the request or the thread",
        _stubborn_thread,
    ),
    Case(
        "S5", "lifecycle",
        "SIGTERM while readiness is polled; a drain delay of 2 s where there is such a setting",
        "readiness says no within 1 s, liveness yes; new requests are served for 1.8 s more",
        _readiness_first,
    ),
    Case(
        "S11 start", "lifecycle",
        "SIGTERM at four moments of a start that takes 2 s",
        "the process is gone within 9 s",
        _during_the_start, seconds=120,
    ),
    Case(
        "S11 twice", "lifecycle",
        "two SIGTERMs 100 ms apart while a request is in flight",
        "the request is answered and the process ends within 15 s",
        _two_terms,
    ),
)  # fmt: skip
