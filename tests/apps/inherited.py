"""An app that shows what its process, its offload worker and a handler's child have inherited."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from roadworthy import roadworthy
from roadworthy.patterns import OffloadPool, offload
from roadworthy.types import ASGIApp, Receive, Scope, Send

__all__ = ("app", "everywhere", "state_of")

_heard: list[str] = []


def state_of(status: str) -> dict[str, Any]:
    """Return the signals that are blocked and ignored according to a text of proc(5), ``status``."""
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found: dict[str, Any] = {}
    for field, name in (("SigBlk", "blocked"), ("SigIgn", "ignored")):
        mask = int(lines[field], 16)
        found[name] = sorted(one.name for one in signal.Signals if mask >> (one - 1) & 1)
    return found


def here() -> dict[str, Any]:
    """Return the state of this process."""
    print("what the work prints goes to its standard output")
    mask = os.umask(0o077)
    os.umask(mask)
    descriptors: dict[str, str] = {}
    for number in os.listdir("/proc/self/fd"):
        if Path(f"/proc/self/fd/{number}").is_symlink():
            descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
    return {
        **state_of(Path("/proc/self/status").read_text()),
        "pid": os.getpid(),
        "descriptors": descriptors,
        "umask": mask,
        "nice": os.nice(0),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "folder": os.environ.get("PWD"),
        "code": subprocess.run(["/bin/sh", "-c", "exit 6"], check=False).returncode,
    }


async def child() -> dict[str, Any]:
    """Return the state of a handler's child, and the exit codes of further ones."""
    done = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True)  # noqa: ASYNC221
    other = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 7")
    ended = await asyncio.create_subprocess_exec("/bin/sh", "-c", "kill -9 $$")
    return {**state_of(done.stdout), "codes": [await other.wait(), await ended.wait()]}


async def everywhere() -> dict[str, Any]:
    """Return the states of all three."""
    return {"process": here(), "child": await child(), "offload": await offload(here)}


async def orphans() -> dict[str, Any]:
    """Have a shell leave a process behind, which ends a moment later, as one of the offload worker's does."""
    shell = await asyncio.create_subprocess_shell("(sleep 0.1) & exit 5")
    return {"codes": [await shell.wait(), await offload(os.system, "(sleep 0.1) & exit 4")]}


async def slow() -> str:
    """Answer after a second; a record comes first."""
    print('{"message": "slow"}', flush=True)
    await asyncio.sleep(1)
    return "slow"


async def heard() -> list[str]:
    """Return the signals that have come, of those that mean nothing to the server."""
    return _heard


for _number in (
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGALRM,
    signal.SIGCONT,
    signal.SIGQUIT,
):
    if signal.getsignal(_number) != signal.SIG_IGN:
        signal.signal(_number, lambda number, frame: _heard.append(signal.Signals(number).name))

_ROUTES: dict[str, Callable[[], Awaitable[Any]]] = {
    "/": everywhere,
    "/orphans": orphans,
    "/heard": heard,
    "/slow": slow,
}


async def _inner(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = json.dumps(await _ROUTES[scope["path"]]()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _app() -> ASGIApp:
    return roadworthy(_inner, resources=[OffloadPool(workers=1)])


app = _app()
