"""WebSockets in the hands of an attacker: endless messages, floods, and every descriptor taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ..server.slow import allow_descriptors
from .bench import Bench
from .case import Case, Seen, Setup, holds_if
from .wire import ask

__all__ = ("CASES",)


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
                if slowest[-1] > 3:
                    break
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


CASES: tuple[Case, ...] = (
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
