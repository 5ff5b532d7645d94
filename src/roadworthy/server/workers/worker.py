"""A worker: one process that serves its supervisor's sockets, and does what its channel asks."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import logging
import os
import pickle
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from ...layer import Layer
from ...settings import Settings, SettingsError
from ..process.operations import configuration_of
from ..process.uvicorn import PortTakenError, PublicServer, public_config, quiet
from ..process.watchdog import Watchdog
from .channel import Channel, Message

__all__ = ("Line", "check", "serve_worker")

_BEAT = 1.0
"""Seconds between two signs of life."""
_ORPHAN_GRACE = 2.0
"""Seconds for what is in flight when the supervisor is gone: nobody replaces this worker, or can stop it."""
_ORPHAN_END = 4.0
"""Seconds after which a worker without a supervisor is gone, whatever hangs."""
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger("roadworthy.server")


class Line:
    """The worker's end of the channel, read by a thread, so that it is heard while the app is imported.

    Until the worker serves, the thread gives the signs of life: an app may hold the loop while it starts, to
    load a model for example. After that the loop does, because a loop that hangs is what they are for.

    Parameters:
        channel: the worker's end.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        # Not select(2): the number of a descriptor may be above 1,023.
        self._readable = selectors.DefaultSelector()
        self._readable.register(channel, selectors.EVENT_READ)
        _wake_when_orphaned()
        self.errand = self._first()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving = False
        self._handle: Callable[[Message | None], None] = lambda message: None
        threading.Thread(target=self._read, name="roadworthy-channel", daemon=True).start()

    def attach(self, loop: asyncio.AbstractEventLoop, handle: Callable[[Message | None], None]) -> None:
        """Have messages handled on the loop from now on; None when the supervisor is gone."""
        self._handle = handle
        self._loop = loop

    def serving(self) -> None:
        """Leave the signs of life to the loop from now on."""
        self._serving = True

    def _first(self) -> Message:
        while True:
            self._readable.select()
            messages = self.channel.receive()
            if messages is None:
                os._exit(1)
            if messages:
                return messages[0]

    def _read(self) -> None:
        self.channel.send({"beat": {}})
        while True:
            readable = self._readable.select(_BEAT)
            if not self._serving and not readable:
                self.channel.send({"beat": {}})
            if not readable:
                continue
            messages = self.channel.receive()
            if messages is None:
                self._orphaned()
                return
            for message in messages:
                self._pass_on(message)

    def _pass_on(self, message: Message | None) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._handle, message)
            except RuntimeError:
                return  # the loop is closed: the process is about to end

    def _orphaned(self) -> None:
        if self._loop is None:
            os._exit(1)
        self._pass_on(None)
        threading.Event().wait(_ORPHAN_END)
        os._exit(1)


def _wake_when_orphaned() -> None:
    """Have the kernel wake this process when its supervisor ends (prctl(2), PR_SET_PDEATHSIG).

    A stopped process does not see that its channel has ended. To one that runs, SIGCONT does nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)


def check(app: Layer, line: Line) -> int:
    """Send the supervisor the app's settings, and do what is to be done once before any worker serves.

    Returns:
        The exit code.
    """
    values = {name: getattr(app.settings, name) for name in Settings.model_fields}
    encoded = base64.b64encode(pickle.dumps(values)).decode()

    async def prepare() -> int:
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[Message | None] = loop.create_future()
        line.attach(loop, lambda message: None if asked.done() else asked.set_result(message))
        line.channel.send({"settings": encoded, "configuration": configuration_of(app.settings)})
        if await asked is None:
            return 1
        app.hosting.configure_logging()
        try:
            await app.hosting.prepare()
        except (RuntimeError, SettingsError) as error:
            code = 2 if isinstance(error, SettingsError) else 1
            line.channel.send({"refused": str(error), "code": code})
            return code
        line.channel.send({"prepared": True})
        return 0

    return asyncio.run(prepare())


def serve_worker(app: Layer, line: Line) -> int:
    """Serve until the supervisor ends it.

    Returns:
        The exit code: 0 when the supervisor ended it, 1 when the app did not start.
    """
    settings = app.settings
    if settings.log_level != "debug":
        quiet()
    app.chain_sigterm = False
    # The supervisor had it done.
    app.hosting.assume_prepared()
    listeners = [socket.socket(fileno=number) for number in line.errand["listeners"]]
    worker = _Worker(app, line, listeners)
    try:
        worker.server.run(listeners)
    except PortTakenError:
        line.channel.send({"taken": True})
        return 1
    except SystemExit:
        return 1
    return 0


class _Server(PublicServer):
    """A public server that leaves signals to the supervisor.

    A service manager may send SIGTERM to every process at once. A worker that acted on it would close at a
    moment of its own; so it waits for the supervisor.
    """

    terminated: Callable[[], None]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM:
            return
        if self.started:
            self.terminated()
        else:
            super().handle_exit(sig, frame)


class _Worker:
    """Connects the channel with the server."""

    def __init__(self, app: Layer, line: Line, listeners: list[socket.socket]) -> None:
        self._hosting = hosting = app.hosting
        self._line = line
        self._loop: asyncio.AbstractEventLoop | None = None
        self.server = _Server(
            public_config(app, app.settings, listeners),
            app,
            Watchdog(hosting.flush),
            before=self._before,
            ready=self._ready,
            after=self._after,
            target=str(line.errand["target"]),
            last=False,
        )
        self.server.terminated = lambda: line.channel.send({"terminated": True})
        hosting.on_change(lambda state: self._report())
        self._does: dict[str, Callable[[Message], None]] = {
            "drain": lambda message: self.server.drain(),
            "close": self._close,
            "retire": lambda message: self.server.retire(float(message["delay"])),
            "level": lambda message: hosting.set_level(message["level"]),
            "health": self._health,
        }

    async def _before(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._line.attach(self._loop, self._on_message)

    async def _after(self) -> None:
        self._report()

    def _ready(self) -> None:
        files = {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
        libraries = (sys.prefix, sys.base_prefix)
        own = sorted(file for file in files if isinstance(file, str) and not file.startswith(libraries))
        self._beat()
        self._line.serving()
        self._line.channel.send({"ready": True, "files": own if self._line.errand.get("reload") else []})

    def _beat(self) -> None:
        self._report()
        if self._loop is not None:
            self._loop.call_later(_BEAT, self._beat)

    def _report(self) -> None:
        hosting = self._hosting
        self._line.channel.send({"beat": {"ready": hosting.ready(), "state": hosting.state}})

    def _on_message(self, message: Message | None) -> None:
        if message is None:
            _log.error("the supervisor is gone; closing")
            self.server.last = bool(self._line.errand["ours"])
            self.server.close(_ORPHAN_GRACE)
            return
        does = self._does.get(message.get("do", ""))
        if does is not None:
            does(message)

    def _close(self, message: Message) -> None:
        # The supervisor lets nobody new connect, and every worker takes what waits before it closes.
        self.server.last = bool(message.get("last"))
        self.server.close(message.get("grace"))

    def _health(self, message: Message) -> None:
        details: dict[str, Any] = self._hosting.details()
        self._line.channel.send({"answer": message["id"], "health": details})
