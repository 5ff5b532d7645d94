"""The limit as clients see it: a real server with four workers, requests over fifty connections."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import DEADLINE

from ..redis_server import RedisServer

pytestmark = pytest.mark.proof

_ROOT = Path(__file__).parents[2]
_REQUESTS = 1000
_CONNECTIONS = 50


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _service(folder: Path, workers: int, **environment: str) -> Iterator[int]:
    """Serve the limited app with uvicorn; give its port once all workers are ready."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--workers", str(workers), "--port", str(port)]
    output = folder / f"{port}.log"
    with output.open("wb") as sink:
        server = subprocess.Popen(
            [*command, "tests.apps.limited:app"],
            cwd=_ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        deadline = time.monotonic() + DEADLINE
        while output.read_text().count("Application startup complete") < workers:
            assert server.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


async def _ask(port: int, left: Iterator[int]) -> list[int]:
    """Ask over one connection until nothing is left; return the statuses."""
    statuses: list[int] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in left:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        statuses.append(int(head.split(b" ", 2)[1]))
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
    await writer.wait_closed()
    return statuses


async def _all(ports: list[int]) -> list[int]:
    left = iter(range(_REQUESTS))
    asked = [_ask(ports[place % len(ports)], left) for place in range(_CONNECTIONS)]
    async with asyncio.timeout(DEADLINE):
        return [status for statuses in await asyncio.gather(*asked) for status in statuses]


@pytest.mark.parametrize("run", range(20))
def test_four_workers_admit_exactly_the_limit(tmp_path: Path, run: int) -> None:
    """Of 1,000 requests over 50 connections to four uvicorn workers exactly 100 are not 429."""
    with _service(tmp_path, 4) as port:
        statuses = asyncio.run(_all([port]))
    assert len(statuses) == _REQUESTS
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == 100


@pytest.mark.parametrize("run", range(3))
def test_two_services_with_one_redis_admit_exactly_the_limit(tmp_path: Path, run: int) -> None:
    """Two separate services that share a Redis admit exactly 100 of 1,000 requests between them."""
    with (
        RedisServer() as server,
        _service(tmp_path, 1, ROADWORTHY_REDIS_URL=server.url) as first,
        _service(tmp_path, 1, ROADWORTHY_REDIS_URL=server.url) as second,
    ):
        statuses = asyncio.run(_all([first, second]))
    assert statuses.count(200) == 100
    assert statuses.count(429) == _REQUESTS - 100
