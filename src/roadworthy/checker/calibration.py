"""Measures this machine before judging another program on it: requests against a server built in here."""

from __future__ import annotations

import asyncio
import os
import resource
import statistics

from .events import Calibration
from .http.request import Address
from .http.wire import exchange

__all__ = ("calibrate",)

_REQUESTS = 60
# Median of a request over a new connection on a quiet core of 2020's hardware is well below this.
_QUIET_SECONDS = 0.005
# A machine ten times slower than that gives deadlines that nobody wants to wait for.
_SLOWEST = 5.0
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def calibrate() -> Calibration:
    """Return how long a request to a server takes that does nothing."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        address = Address("127.0.0.1", int(server.sockets[0].getsockname()[1]))
        taken = sorted([(await exchange(address, "GET", "/")).seconds for _ in range(_REQUESTS)])
    median = statistics.median(taken)
    cores = len(os.sched_getaffinity(0))
    # Other work on the machine takes its share of the service as well as of the checker.
    load = os.getloadavg()[0] / cores
    return Calibration(
        p50=round(median * 1000, 3),
        p99=round(taken[-1] * 1000, 3),
        slowness=round(min(max(median / _QUIET_SECONDS, load, 1.0), _SLOWEST), 2),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        cores=cores,
    )


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
