"""Requests and aborted connections in numbers, and what is left of them in the process that served them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patience import DEADLINE, until

from .drain import ROOT
from .service import free_port, get, running
from .wire import Client

__all__ = ("PHASES", "Left", "abort", "hammer", "left", "probed", "settled")

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
_CONNECTIONS = 8
_BATCH = 50

PHASES: dict[str, tuple[bytes, bytes]] = {
    "before the head": (b"", b""),
    "within the head": (GET[:20], b""),
    "within the body": (POST + b"abc", b""),
    "within chunks": (
        POST.replace(b"Content-Length: 100000", b"Transfer-Encoding: chunked") + b"5\r\nab",
        b"",
    ),
    "within the response": (GET.replace(b" / ", b" /stream "), b"\r\n\r\n"),
    "within a response of an app that never asks": (GET.replace(b" / ", b" /deaf "), b"\r\n\r\n"),
    "idle": (GET, b"ok"),
    "with requests that wait": (GET.replace(b" / ", b" /stream ") + GET * 20, b"\r\n\r\n"),
}
"""What is sent before the reset, and what is waited for."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a process has of everything.

    Parameters:
        counts: tasks, descriptors, and objects of the kinds that a request or a connection is made of.
        megabytes: resident memory.
    """

    counts: dict[str, int]
    megabytes: float


@contextmanager
def probed(folder: Path) -> Iterator[int]:
    """Serve the probe app with `roadworthy run`; gives the port."""
    env = {"PYTHONPATH": str(ROOT), "ROADWORTHY_RATE_LIMIT": "off", "ROADWORTHY_LOG_LEVEL": "warning"}
    flags = ("--port", str(free_port()), "--ops-port", "off", "--drain-delay", "0")
    with running("run", "tests.apps.probe:app", *flags, cwd=folder, env=env) as process:
        until(lambda: _answers(int(flags[1])), "the service answers")
        yield int(flags[1])
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0


def _answers(port: int) -> bool:
    try:
        return get(f"http://127.0.0.1:{port}")[0] == 200
    except OSError:
        return False


def left(port: int) -> Left:
    """Ask the process what it has."""
    found: dict[str, Any] = json.loads(get(f"http://127.0.0.1:{port}", "/probe")[1])
    counts = {**found["kinds"], "tasks": found["tasks"], "descriptors": found["descriptors"]}
    return Left(counts, found["megabytes"])


def settled(port: int, before: Left) -> Left:
    """Wait until the process has no more of anything than before; return what it has."""
    end = time.monotonic() + DEADLINE
    while True:
        now = left(port)
        more = {name: (before.counts[name], count) for name, count in now.counts.items()
                if count > before.counts[name]}  # fmt: skip
        if not more:
            return now
        assert time.monotonic() < end, f"left over (before, now): {more}"
        time.sleep(0.05)


def hammer(port: int, count: int) -> None:
    """Send requests over some connections, pipelined, and check that each is answered with 200."""
    clients = [Client(port) for _ in range(_CONNECTIONS)]
    try:
        while count > 0:
            batch = min(_BATCH, -(-count // _CONNECTIONS))
            for client in clients:
                client.send(GET * batch)
            for client in clients:
                for _ in range(batch):
                    assert client.read_until(b"\r\n\r\nok").startswith(b"HTTP/1.1 200 ")
            count -= batch * _CONNECTIONS
    finally:
        for client in clients:
            client.socket.close()


def abort(port: int, count: int) -> None:
    """Open connections and reset each in one of the phases."""
    kinds = list(PHASES.values())
    for number in range(count):
        client = Client(port)
        sent, awaited = kinds[number % len(kinds)]
        client.send(sent)
        if awaited:
            client.read_until(awaited)
        client.reset()
