"""Looks at a graceful stop with a client of its own: a second witness beside the checker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from roadworthy.checker.custody import Custody
from roadworthy.checker.manifest.model import Manifest
from roadworthy.checker.read.masking import Masker
from roadworthy.checker.service.process import Service
from roadworthy.checker.service.target import Launch, Target, launch
from tests.patience import eventually

__all__ = ("Observed", "observe_stop")

# Closing a listener takes a moment, and what a connection meets in that moment is chance. The request in
# flight takes two seconds, so that there is time left to look.
_FIRST_LOOK = 0.5
_ANSWER_SECONDS = 1.0
_LONGEST_STOP = 12.0
_GRADES = ("refused", "closed", "served", "silent")


@dataclass(frozen=True, slots=True)
class Observed:
    """What one request in flight, one idle connection and new connections met after SIGTERM.

    Parameters:
        in_flight: ``complete`` or ``dropped``.
        new: the worst that a new connection met: ``refused``, ``closed`` (accepted, then closed without an
            answer), ``served``, or ``silent`` (accepted and not answered within a second).
        idle: ``closed``, ``served`` or ``silent``, when the connection was used again; ``none`` where the
            server keeps none.
        exit: the status of the started process, negative for a signal.
        left: whether something still listened when the started process had ended.
    """

    in_flight: str
    new: str
    idle: str
    exit: int
    left: bool


class _Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.keeps = True
        self.port: int = writer.get_extra_info("sockname")[1]

    @classmethod
    async def open(cls, port: int) -> _Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, path: str) -> None:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    async def answer(self, seconds: float) -> str:
        """Return ``served``, ``closed`` or ``silent``."""
        try:
            async with asyncio.timeout(seconds):
                head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
                self.keeps = b"connection: close" not in head
                if b"content-length:" in head:
                    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                    await self._reader.readexactly(length)
                else:
                    await self._reader.readuntil(b"0\r\n\r\n")
        except TimeoutError:
            return "silent"
        except (OSError, asyncio.IncompleteReadError):
            return "closed"
        return "served"

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _was_read(server: int, client: int) -> bool:
    # The server's end of the connection is in the kernel's table with an empty receive queue.
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            ports = [int(address.rpartition(":")[2], 16) for address in fields[1:3]]
            if ports == [server, client]:
                return fields[3] == "01" and int(fields[4].partition(":")[2], 16) == 0
    return False


async def observe_stop(manifest: Manifest, folder: Path) -> Observed:
    """Start the target, send SIGTERM to the started process during a request, and tell what happened."""
    target = await launch(manifest, Launch(), folder, Masker(), Custody(manifest, folder, "0"))
    try:
        return await _observe(target, target.process)
    finally:
        await target.close()


async def _observe(target: Target, service: Service) -> Observed:
    port = target.address.port
    idle = await _Client.open(port)
    idle.send("/")
    assert await idle.answer(5) == "served"
    keeps = idle.keeps
    busy = await _Client.open(port)
    busy.send("/slow")
    await eventually(lambda: _was_read(port, busy.port), "the server reads the request")
    in_flight = asyncio.create_task(busy.answer(_LONGEST_STOP))
    told = service.signal()
    new, reused = "refused", ""
    while time.monotonic() - told < _LONGEST_STOP and not (service.ended and in_flight.done()):
        await asyncio.sleep(0.1)
        if time.monotonic() - told < _FIRST_LOOK:
            continue
        new = max(new, await _new(port), key=_GRADES.index)
        if not reused:
            idle.send("/")
            reused = await idle.answer(_ANSWER_SECONDS)
    if not reused:
        idle.send("/")
        reused = await idle.answer(_ANSWER_SECONDS)
    end = await service.wait_end(_LONGEST_STOP)
    assert end is not None, "it does not stop"
    left = await _new(port) != "refused"
    outcome = "complete" if await in_flight == "served" else "dropped"
    await idle.close()
    await busy.close()
    code = end.status if end.status is not None else -(end.signal or 0)
    return Observed(outcome, new, reused if keeps else "none", code, left)


async def _new(port: int) -> str:
    try:
        client = await _Client.open(port)
    except OSError:
        return "refused"
    client.send("/")
    result = await client.answer(_ANSWER_SECONDS)
    await client.close()
    return result
