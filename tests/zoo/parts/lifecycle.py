"""From the start of the zoo's service to its exit status."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from ..service import Zoo, faulty, stop_signals
from ..workers import number_of_workers


async def live_and_die(zoo: Zoo, port: int) -> int:
    """Serve until a signal, drain, and return the exit status."""
    told, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, lambda: (again if told.is_set() else told).set())
    if faulty("shut-10-ignores-int"):
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for part in zoo.parts:
        await part.start(zoo)
    await zoo.server.listen("127.0.0.1", port, shared=number_of_workers() > 1)
    if faulty("shut-8-orphan"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # noqa: ASYNC220
    zoo.log("info", "serving", port=port)
    await told.wait()
    if not faulty("shut-10-silent"):
        zoo.log("info", "shutdown begins")
    if faulty("shut-1-drops"):
        return 0
    if faulty("shut-3-hangs"):
        await asyncio.sleep(60)
    await drain(zoo, again)
    for part in zoo.parts:
        await part.stop(zoo)
    if zoo.store is not None:
        await zoo.store.close()
    if not faulty("shut-10-silent"):
        zoo.log("info", "shutdown is complete")
    return 1 if faulty("shut-4-status-1") else 0


async def drain(zoo: Zoo, again: asyncio.Event) -> None:
    """Serve on with readiness negative, then close the listener and let what is in flight finish."""
    zoo.draining = True
    zoo.server.closing = True
    zoo.server.send_close = not faulty("shut-7-keeps-alive")
    if faulty("shut-5-silent"):
        assert zoo.server.listener is not None
        # Still listening, but nobody accepts any more: connections wait in the kernel's queue.
        for sock in zoo.server.listener.sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
    if not faulty("shut-7-keeps-alive"):
        zoo.server.hang_up()
    await asyncio.sleep(float(os.environ.get("DRAIN_DELAY", "0.3")))
    if not faulty("shut-5-silent"):
        zoo.server.deafen()
    if not faulty("shut-7-keeps-alive"):
        zoo.server.hang_up()
    quiet = asyncio.ensure_future(zoo.server.quiet.wait())
    waits = [quiet]
    if faulty("shut-10-second-term"):
        waits.append(asyncio.ensure_future(again.wait()))
    await asyncio.wait(waits, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    if faulty("shut-5-silent"):
        # Long enough for a client to notice that nothing comes.
        await asyncio.sleep(1.5)
