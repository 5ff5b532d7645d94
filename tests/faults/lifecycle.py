"""Signals, killed and stopped processes, starts and stops, under load."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from ..server.load import Load, ask
from .bench import Bench, Service
from .case import Case, Seen, Setup, holds_if
from .wire import exchange

__all__ = ("CASES",)

_TWO = Setup(workers=2)
_GRACE = 5.0
"""Seconds that the setups allow requests in flight; the delay before and streams after take 1 each."""
_CLIENTS = 16
_GONE_SECONDS = 15.0


def _under_load(service: Service, act: Callable[[], None]) -> tuple[dict[str, int], int]:
    """Load a service, act, and wait; return the failures by kind and the number of requests."""
    over = threading.Event()

    async def run() -> Load:
        load = Load(service.port, _CLIENTS, over.is_set, path="/pid", timeout=8.0)
        await asyncio.sleep(0.7)
        await asyncio.to_thread(act)
        over.set()
        await load.done()
        return load

    load = asyncio.run(run())
    failed = {kind: count for kind, count in load.counts().items() if kind not in ("ok", "refused")}
    wrong = sum(one.kind == "ok" and one.status >= 500 for one in load.outcomes)
    return ({**failed, "5xx": wrong} if wrong else failed), len(load.outcomes)


def _text(failed: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failed.items())) or "none"


def _terminate_under_load(bench: Bench) -> Seen:
    total, requests = dict[str, int](), 0
    cycles = bench.many(8)
    for _ in range(cycles):
        with bench.started(_TWO) as service:

            def act(service: Service = service) -> None:
                service.server.terminate()
                service.ended(_GONE_SECONDS)

            failed, count = _under_load(service, act)
        requests += count
        for kind, number in failed.items():
            total[kind] = total.get(kind, 0) + number
    return Seen(not total, f"{cycles} times, {requests} requests; failed: {_text(total)}")


def _in_flight(bench: Bench) -> Seen:
    faults: list[str] = []
    with bench.started() as service:

        async def run() -> list[bytes]:
            async def one() -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
                writer.write(b"GET /slow?seconds=3 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                try:
                    async with asyncio.timeout(10):
                        return await reader.read(1 << 16)
                except (OSError, TimeoutError):
                    return b""
                finally:
                    writer.close()

            asked = [asyncio.create_task(one()) for _ in range(50)]
            await asyncio.sleep(1.0)
            service.server.terminate()
            return await asyncio.gather(*asked)

        began = time.monotonic()
        answers = asyncio.run(run())
        complete = sum(answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"}") for answer in answers)
        closing = sum(b"connection: close" in answer.lower() for answer in answers)
        if not service.ended(_GRACE):
            faults.append("still there 5 s after the last answer")
        seconds = time.monotonic() - began - 1.0
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
            await asyncio.wait(tasks, timeout=_GONE_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        began = time.monotonic()
        asyncio.run(run())
        gone = service.ended(max(0.1, _GONE_SECONDS - (time.monotonic() - began)))
        seconds = time.monotonic() - began
        code = service.server.process.poll()
    if not gone:
        return Seen(False, f"still there after {_GONE_SECONDS:.0f} s")
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
            gone = service.ended(_GONE_SECONDS)
        seconds = time.monotonic() - began
        named = any("/stubborn" in one or "stubborn" in one for one in service.log() if "saw" not in one)
    if not gone:
        return Seen(False, f"still there after {_GONE_SECONDS:.0f} s")
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
        while service.server.process.poll() is None and time.monotonic() < began + _GONE_SECONDS:
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


def _reload(bench: Bench) -> Seen:
    setup = Setup(env={"FAULTS_SLOW_START": "2"}, workers=2)
    with bench.started(setup) as service:
        old = service.pids()

        def act() -> None:
            service.server.process.send_signal(signal.SIGHUP)
            with contextlib.suppress(TimeoutError):
                service.until(lambda: bool(now := service.pids()) and not now & old, 45, "new workers answer")
            time.sleep(0.5)

        failed, count = _under_load(service, act)
        replaced = bool(now := service.pids()) and not now & old
    faults = [] if replaced else ["the old workers serve on"]
    if failed:
        faults.append(f"failed: {_text(failed)}")
    return holds_if(faults, f"{count} requests, none failed")


def _killed_worker(bench: Bench) -> Seen:
    kills, slowest, worst = bench.many(5), 0.0, dict[str, int]()
    with bench.started(_TWO) as service:
        for _ in range(kills):
            victim = min(service.pids())

            def act(victim: int = victim) -> None:
                nonlocal slowest
                began = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                service.until(
                    lambda: len(found := service.pids()) == 2 and victim not in found,
                    20,
                    "two workers answer",
                )
                slowest = max(slowest, time.monotonic() - began)

            try:
                failed, _ = _under_load(service, act)
            except TimeoutError:
                if service.server.process.poll() is not None:
                    return Seen(False, "the whole service ended")
                return Seen(False, "not back to two workers after 20 s")
            if sum(failed.values()) >= sum(worst.values()):
                worst = failed
    faults = []
    if sum(worst.values()) > _CLIENTS:
        faults.append(f"failed: {_text(worst)}")
    if slowest > 5:
        faults.append(f"two workers again after {slowest:.1f} s")
    return holds_if(
        faults, f"{kills} kills, at most {_text(worst)} failed, two workers again after {slowest:.1f} s"
    )


def _stopped_worker(bench: Bench) -> Seen:
    with bench.started(_TWO) as service:
        victim = min(service.pids())
        began = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        try:
            service.until(lambda: not _runs(victim), 35, "it is ended")
            service.until(lambda: len(service.pids()) == 2, 20, "two workers answer")
        except TimeoutError:
            return Seen(False, "not noticed in 35 s")
        finally:
            if _runs(victim):
                os.kill(victim, signal.SIGCONT)
        seconds = time.monotonic() - began
    return Seen(seconds <= 30, f"replaced after {seconds:.1f} s")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _killed_parent(bench: Bench) -> Seen:
    left, slowest, busy = 0, 0.0, False
    for stopped in (False, True):
        with bench.started(_TWO) as service:
            found = service.pids()
            if stopped:
                os.kill(min(found), signal.SIGSTOP)
            began = time.monotonic()
            service.server.process.kill()
            with contextlib.suppress(TimeoutError):
                service.until(lambda found=found: not any(map(_runs, found)), 5, "they end")  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - began)
            left += sum(map(_runs, found))
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    again.bind(("127.0.0.1", service.port))
                    again.listen()
                except OSError:
                    busy = True
    faults = [f"{left} of 4 workers outlive it"] if left else []
    if busy:
        faults.append("the port stays taken")
    return holds_if(faults, f"all gone after {slowest:.1f} s")


def _during_the_start(bench: Bench) -> Seen:
    slowest, codes = 0.0, set[int | None]()
    for number in range(bench.many(4, 2)):
        with bench.started(Setup(env={"FAULTS_SLOW_START": "2"}), ready=False) as service:
            time.sleep(0.5 + 0.7 * number)
            began = time.monotonic()
            service.server.terminate()
            if not service.ended(_GONE_SECONDS):
                return Seen(False, f"still there after {_GONE_SECONDS:.0f} s")
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
        gone = service.ended(_GONE_SECONDS)
    if not gone:
        return Seen(False, f"still there after {_GONE_SECONDS:.0f} s")
    return Seen(kind == "ok", "answered" if kind == "ok" else f"the request in flight: {kind}")


def _starts_and_stops(bench: Bench) -> Seen:
    codes, left = set[int | None](), set[str]()
    count = bench.many(8, 2)
    for _ in range(count):
        with bench.started(_TWO) as service:
            family = service.family()
            service.server.terminate()
            if not service.ended(_GONE_SECONDS):
                return Seen(False, f"still there after {_GONE_SECONDS:.0f} s")
            codes.add(service.server.process.poll())
            if any(map(_runs, family)):
                return Seen(False, f"{sum(map(_runs, family))} processes left")
            left |= _named_after(family)
    faults = [f"left behind: {', '.join(sorted(left)[:3])}"] if left else []
    if codes - {0, -signal.SIGTERM}:
        faults.append(f"exit {codes}")
    return holds_if(faults, f"{count} times, nothing left, exit {sorted(codes, key=str)}")


def _named_after(pids: list[int]) -> set[str]:
    """Return files in memory and among the temporary ones that are named after one of these processes."""
    words = {f"{pid}" for pid in pids}
    found: set[str] = set()
    for pattern in ("/dev/shm/*", "/dev/shm/roadworthy*/*", f"{tempfile.gettempdir()}/*"):
        for path in glob.glob(pattern):
            if words & set(re.split(r"[^0-9]+", os.path.basename(path))):
                found.add(path)
    return found


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
        "S6", "lifecycle",
        "SIGHUP under load, two workers, an app that takes 2 s to start",
        "the workers are replaced and no request fails",
        _reload, seconds=120,
    ),
    Case(
        "S7", "lifecycle",
        "`kill -9` of one of two workers under load of 16 clients, five times",
        "at most 16 requests fail each time; two workers again within 5 s",
        _killed_worker, seconds=200,
    ),
    Case(
        "S8", "lifecycle",
        "SIGSTOP of one of two workers",
        "it is replaced within 30 s",
        _stopped_worker,
    ),
    Case(
        "S9", "lifecycle",
        "`kill -9` of the parent of two workers; once while one of them is stopped",
        "no worker is left after 5 s, and the port is free",
        _killed_parent,
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
    Case(
        "S12", "lifecycle",
        "eight starts and stops with two workers",
        "exit 0 or by the signal; no process, no file in /dev/shm or among the temporary ones is left",
        _starts_and_stops, seconds=240,
    ),
)  # fmt: skip
