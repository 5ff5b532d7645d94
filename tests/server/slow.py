"""Many clients that never finish what they begin, against a process with few descriptors; and honest ones."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.patience import until

from .drain import APP, ROOT
from .load import Outcome, ask
from .service import free_port, running

__all__ = ("BODY", "HEAD", "LIMITED", "Siege", "SlowClients", "allow_descriptors", "ask_steadily", "besiege")

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
"""Begins a header section that goes on, byte by byte."""
BODY = b"POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nab"
"""Begins a body that goes on, byte by byte."""

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
sys.argv[1:2] = []
from roadworthy.cli import main
main()
"""


@dataclass(frozen=True, slots=True)
class Siege:
    """What honest clients got once the first slow ones had met their deadline.

    Parameters:
        honest: requests that honest clients sent, each on a connection of its own.
        answered: how many of them got 200.
        failures: how the others ended.
        slowest: seconds of the slowest that was answered.
        slow: connections that the slow clients had begun by the end.
    """

    honest: int
    answered: int
    failures: dict[str, int]
    slowest: float
    slow: int


class SlowClients:
    """Keeps connections that send a byte now and then; one that the server closes is made anew."""

    def __init__(self, port: int, count: int, first: bytes, pause: float) -> None:
        self.begun = 0
        self._address = ("127.0.0.1", port)
        self._first = first
        self._pause = pause
        self._sockets = [self._connect() for _ in range(count)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _connect(self) -> socket.socket:
        self.begun += 1
        made = socket.socket()
        made.setblocking(False)
        with suppress(BlockingIOError):
            made.connect(self._address)
        return made

    def _run(self) -> None:
        said = dict.fromkeys(self._sockets, False)
        while not self._over.wait(self._pause):
            for one in list(said):
                try:
                    one.send(b"a" if said[one] else self._first)
                    said[one] = True
                except BlockingIOError:
                    continue
                except OSError:
                    one.close()
                    del said[one]
                    said[self._connect()] = False
        for one in said:
            one.close()

    def stop(self) -> None:
        """Leave."""
        self._over.set()
        self._thread.join(30)


@contextmanager
def allow_descriptors(count: int) -> Iterator[None]:
    """Allow this process that many; as they were afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def besiege(
    folder: Path, first: bytes, *, slow: int, descriptors: int, deadline: float, rounds: int
) -> Siege:
    """Serve with few descriptors, besiege the service, and ask honestly for some deadlines' time.

    Parameters:
        first: what each slow connection begins with.
        slow: how many there are at any time.
        descriptors: how many the service may have.
        deadline: header and body timeout, in seconds.
        rounds: how many deadlines long honest clients ask.
    """
    env = {
        "PYTHONPATH": str(ROOT), "ROADWORTHY_RATE_LIMIT": "off", "ROADWORTHY_LOG_LEVEL": "error",
        "ROADWORTHY_HEADER_TIMEOUT": f"{deadline}s", "ROADWORTHY_BODY_TIMEOUT": f"{deadline}s",
    }  # fmt: skip
    flags = ("--port", str(free_port()), "--ops-port", "off")
    with (
        allow_descriptors(slow + 500),
        running("run", APP, *flags, cwd=folder, env=env, program=["-c", LIMITED, str(descriptors)]),
    ):
        port = int(flags[1])
        until(lambda: asyncio.run(ask(port)).kind == "ok", "the service answers")
        besiegers = SlowClients(port, slow, first, deadline / 5)
        try:
            time.sleep(deadline)
            honest = asyncio.run(ask_steadily(port, deadline * rounds))
            slow_begun = besiegers.begun
        finally:
            besiegers.stop()
    failed = Counter(f"{one.kind} {one.status}" for one in honest if (one.kind, one.status) != ("ok", 200))
    return Siege(
        len(honest),
        len(honest) - failed.total(),
        dict(failed),
        max((one.seconds for one in honest if one.kind == "ok"), default=0.0),
        slow_begun,
    )


async def ask_steadily(port: int, seconds: float) -> list[Outcome]:
    """Ask fifty times a second, whether or not the answers come."""
    asked: list[asyncio.Task[Outcome]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        asked.append(asyncio.create_task(ask(port)))
        await asyncio.sleep(0.02)
    return await asyncio.gather(*asked)
