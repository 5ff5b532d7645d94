"""One life of a service under load, ended by SIGTERM, and what its clients saw."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.patience import DEADLINE

from .load import Load, Outcome, ask
from .service import Running, running

__all__ = ("APP", "ROOT", "Cycle", "drain_cycle", "port_of")

ROOT = Path(__file__).parents[2]
APP = "tests.apps.lifecycle:app"
_DELAY = 1.2
_GRACE = 8.0


@dataclass
class Cycle:
    """What was seen.

    Parameters:
        heeding: outcomes of the clients that stop once readiness said no.
        stubborn: outcomes of those that go on until they are refused.
        served_while_not_ready: requests on fresh connections answered after the first 503 of readiness.
    """

    heeding: Counter[str] = field(default_factory=Counter[str])
    stubborn: Counter[str] = field(default_factory=Counter[str])
    in_flight: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    served_while_not_ready: int = 0
    seconds_to_503: float = 0.0
    seconds_to_exit: float = 0.0
    exit_code: int = -1
    stream_ended_cleanly: bool = False
    websocket_code: int = 0
    log: str = ""

    @property
    def lost_by_stubborn(self) -> int:
        """Requests of clients that never stop that failed otherwise than by being refused."""
        return sum(count for kind, count in self.stubborn.items() if kind not in ("ok", "refused"))

    def check(self) -> None:
        """Assert everything that a drain promises."""
        seen = f"{self}"
        assert {name: one.kind for name, one in self.in_flight.items()} == {"slow": "ok", "write": "ok"}, seen
        assert set(self.heeding) <= {"ok"}, seen
        assert self.lost_by_stubborn <= 1, seen
        assert self.served_while_not_ready > 0, seen
        assert self.stream_ended_cleanly, seen
        assert self.websocket_code == 1012, seen
        assert self.exit_code == 0, seen
        assert self.seconds_to_exit < _DELAY + _GRACE, seen


def port_of(process: Running) -> int:
    """Wait until the service listens and return its port."""
    return int(str(process.record("listening")["url"]).rpartition(":")[2])


async def _stream(port: int, begun: asyncio.Event) -> bool:
    """Read an event stream to its end; return whether the end was that of a whole response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    try:
        while data := await reader.read(1 << 16):
            received = (received + data)[-64:]
            begun.set()
    except OSError:
        return False
    finally:
        writer.close()
    return received.endswith(b"0\r\n\r\n")


async def _talk(port: int, begun: asyncio.Event) -> int:
    """Talk over a WebSocket until it is closed; return the code."""
    async with connect(f"ws://127.0.0.1:{port}/ws") as socket:
        try:
            while True:
                await socket.send("hello")
                await socket.recv()
                begun.set()
                await asyncio.sleep(0.02)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 0


async def _first_503(port: int) -> float:
    while True:
        if (await ask(port, "/readyz")).status == 503:
            return time.monotonic()
        await asyncio.sleep(0.02)


async def drain_cycle(folder: Path, workers: int, clients: int = 8) -> Cycle:
    """Start a service, load it, send SIGTERM, and return what its clients saw."""
    async with asyncio.timeout(2 * DEADLINE):
        return await _drain_cycle(folder, workers, clients)


async def _drain_cycle(folder: Path, workers: int, clients: int) -> Cycle:
    cycle = Cycle()
    flags = ["--port", "0", "--ops-port", "off", "--workers", str(workers)]
    flags += ["--drain-delay", str(_DELAY), "--grace", str(_GRACE)]
    env = {"PYTHONPATH": str(ROOT), "ROADWORTHY_RATE_LIMIT": "off", "ROADWORTHY_STREAM_GRACE": "1"}
    with running("run", APP, *flags, cwd=folder, env=env) as process:
        port = await asyncio.to_thread(port_of, process)
        not_ready_at = [float("inf")]
        heeding = Load(port, clients, lambda: time.monotonic() > not_ready_at[0] + 0.8)
        stubborn = Load(port, clients, lambda: False)
        streaming, talking = asyncio.Event(), asyncio.Event()
        stream = asyncio.create_task(_stream(port, streaming))
        talk = asyncio.create_task(_talk(port, talking))
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(streaming.wait(), talking.wait())
        slow = asyncio.create_task(ask(port, "/sleep?2"))
        await asyncio.sleep(0.1)
        write = asyncio.create_task(ask(port, "/write", "POST", b"x" * 50_000))
        await asyncio.sleep(0.05)
        signalled = time.monotonic()
        process.signal(signal.SIGTERM)
        not_ready_at[0] = await _first_503(port)
        cycle.seconds_to_503 = not_ready_at[0] - signalled
        cycle.heeding = await heeding.done()
        cycle.stubborn = await stubborn.done()
        cycle.in_flight = {"slow": await slow, "write": await write}
        cycle.stream_ended_cleanly = await stream
        cycle.websocket_code = await talk
        cycle.exit_code = await asyncio.to_thread(process.exit_code)
        cycle.seconds_to_exit = time.monotonic() - signalled
        cycle.served_while_not_ready = sum(
            one.kind == "ok" and one.fresh and one.began > not_ready_at[0] for one in heeding.outcomes
        )
        cycle.log = process.output[-3000:]
    return cycle
