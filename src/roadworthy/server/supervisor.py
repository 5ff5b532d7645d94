"""Several workers behind one set of sockets: started, watched, replaced, reloaded and drained together.

The supervisor imports no app. It opens the sockets, has the app checked and prepared by a child of its own,
starts the workers and serves the operations listener. What may happen in which state stands in one table,
``_TABLE``; what is not in it changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..layer._workers import ENVIRONMENT_VARIABLE, process_key, worker_group
from ..layer.logging import Level, configure
from ..layer.metrics import Metrics
from ..layer.operations import OperationsApp
from ..settings import Settings
from ._crew import Worker, variables
from ._files import Files
from ._rehearsal import Rehearsal, StoppedError
from ._service_health import ServiceHealth, details_of
from ._uvicorn import OperationsServer, operations_config, quiet
from .channel import Message
from .listeners import ServeError, close, refuse_new
from .notify import Notifier
from .operations import add_controls
from .run import (
    Addresses,
    addresses_of,
    bind_all,
    busy_public,
    check_tls,
    open_operations,
    record_start,
)

__all__ = ("Errand", "Supervisor")

_State = Literal["starting", "serving", "reloading", "draining", "closing"]
_Event = Literal["up", "settled", "hangup", "terminate", "interrupt", "due"]

_TICK = 0.1
_STEADY = 5.0
"""Seconds after which a worker that ends has not failed at its start."""
_ATTEMPTS = 5
"""Starts in a row that may fail before the service, or a reload, gives up."""
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_FAILING = 0.1, 1.0, 30.0
"""Back-off in seconds, doubled from the first: to 1 s for workers that came up, else to 30 s."""
_SPARE = 3.0
"""Seconds that workers get beyond their grace, to end by themselves, before they are killed."""
_LOOK = 0.5
"""Seconds between two looks at the source files."""

_TABLE: dict[tuple[_State, _Event], tuple[str, _State]] = {
    ("starting", "up"): ("announce", "serving"),
    ("starting", "hangup"): ("remember", "starting"),
    ("serving", "hangup"): ("reload", "reloading"),
    ("reloading", "hangup"): ("remember", "reloading"),
    ("reloading", "settled"): ("settle", "serving"),
    ("starting", "terminate"): ("close", "closing"),
    ("serving", "terminate"): ("drain", "draining"),
    ("reloading", "terminate"): ("drain", "draining"),
    ("starting", "interrupt"): ("close", "closing"),
    ("serving", "interrupt"): ("close", "closing"),
    ("reloading", "interrupt"): ("close", "closing"),
    ("draining", "interrupt"): ("close", "closing"),
    ("draining", "due"): ("close", "closing"),
    ("closing", "interrupt"): ("kill", "closing"),
    ("closing", "due"): ("cut", "closing"),
}

_log = logging.getLogger("roadworthy.server")


@dataclass(frozen=True, slots=True)
class Errand:
    """How a worker is started.

    Parameters:
        command: a program that connects a :class:`roadworthy.server.worker.Line` to the descriptor that is
            appended to the command, and does what the first message asks.
        target: ``module:attribute`` of the app.
        flags: settings that the command line gave.
        reload: for development: one worker, started again whenever a source file changes.
    """

    command: Sequence[str]
    target: str
    flags: Mapping[str, str]
    reload: bool = False


class Supervisor:
    """The parent of a service's workers.

    Parameters:
        errand: how a worker is started.
        announce: gets the settings and returns what is called once when all workers accept; for None a
            record says so.
    """

    def __init__(
        self, errand: Errand, announce: Callable[[Settings], Callable[[Addresses], None] | None]
    ) -> None:
        self._errand = errand
        self._announce = announce
        self._state: _State = "starting"
        self._crew: list[Worker] = []
        self._due: list[float] = []
        self._generation = 0
        self._failed_starts = 0
        self._restarts = 0
        self._code = 0
        self._pending_reload = False
        self._ever_up = False
        self._due_at = float("inf")
        self._level: Level | None = None
        self._over = asyncio.Event()
        self._notifier = Notifier()
        self._public: list[socket.socket] = []
        self._operations: list[socket.socket] | None = None
        self._ours = True
        self._reloading: asyncio.Task[None] | None = None
        self._asked: list[_Event] = []
        self._failure: ServeError | None = None
        self._watching = False

    # -- the whole of it

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            The exit code: 0 after a signal, 1 when the workers do not come up or had to be killed.

        Raises:
            ServeError: the service cannot be served as it was told.
        """
        # asyncio's own loop: uvloop keeps SIGCHLD for itself.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(self._run())

    async def _run(self) -> int:
        self._own_signals()
        group_is_ours = ENVIRONMENT_VARIABLE not in os.environ
        os.environ.setdefault(ENVIRONMENT_VARIABLE, process_key(os.getpid()))
        group = worker_group()
        assert group is not None
        prometheus = group.directory / "prometheus"
        prometheus.mkdir(mode=0o700, exist_ok=True)
        self._environment = variables(group.key, str(prometheus))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._environment["PROMETHEUS_MULTIPROC_DIR"]
        try:
            return await self._serve(group.directory)
        except StoppedError:
            return 0
        finally:
            for worker in self._crew:
                worker.kill()
                worker.process.wait()
                worker.gone()
            close([*self._public, *(self._operations or ())])
            if group_is_ours:
                shutil.rmtree(group.directory, ignore_errors=True)

    async def _serve(self, directory: Path) -> int:
        rehearsal = Rehearsal(
            lambda heard: self._child("check", heard),
            lambda: bool({"terminate", "interrupt"}.intersection(self._asked)),
        )
        try:
            self._settings, self._configuration = await rehearsal.settings(self._errand.target)
            return await self._serve_with(rehearsal, directory)
        finally:
            rehearsal.kill()

    async def _serve_with(self, rehearsal: Rehearsal, directory: Path) -> int:
        settings = self._settings
        check_tls(settings)
        self._logging = configure(settings)
        if settings.log_level != "debug":
            quiet()
        self._public, self._operations, self._ours = bind_all(settings)
        self._addresses = addresses_of(settings, self._public, self._operations)
        self._metrics = Metrics(settings, directory)
        self._metrics.watch(
            "roadworthy_worker_restarts_total", "Workers that were replaced.", lambda: self._restarts
        )
        pages = add_controls(OperationsApp(settings, ServiceHealth(self), self._metrics), self)
        operations = OperationsServer(operations_config(pages))
        await open_operations(operations, settings, self._operations)
        try:
            if not await rehearsal.prepare():
                return 1
            rehearsal.end()
            self._files = Files(Path.cwd()) if self._errand.reload else None
            for _ in range(self._wanted):
                self._start()
            self._watching = True
            await self._watch()
        finally:
            await operations.finish()
        if self._failure is not None:
            raise self._failure
        _log.info("ended", extra={"code": self._code})
        self._logging.writer.flush()
        return self._code

    @property
    def _wanted(self) -> int:
        return 1 if self._errand.reload else self._settings.workers

    def _own_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._signalled, "terminate")
        loop.add_signal_handler(signal.SIGINT, self._signalled, "interrupt")
        loop.add_signal_handler(signal.SIGHUP, self._signalled, "hangup")

    def _signalled(self, event: _Event) -> None:
        if self._watching:
            self._on(event)
        else:
            self._asked.append(event)

    def _child(self, do: str, heard: Callable[[Worker, Message], None]) -> Worker:
        errand: Message = {
            "do": do,
            "target": self._errand.target,
            "flags": dict(self._errand.flags),
            "reload": self._errand.reload,
            "ours": self._ours,
        }
        return Worker(
            self._errand.command,
            errand,
            self._public if do == "serve" else (),
            self._environment,
            heard,
            generation=self._generation,
            interactive=self._errand.reload,
        )

    # -- the life of the crew

    def _start(self) -> None:
        self._crew.append(self._child("serve", self._heard))

    def _heard(self, worker: Worker, message: Message) -> None:
        if message.get("ready") and worker.state == "starting":
            worker.state = "ready"
            worker.ready_at = time.monotonic()
            if self._level is not None:
                worker.tell(do="level", level=self._level)
            if self._files is not None:
                self._files.add(message["files"])
            _log.info("worker ready", extra={"worker": worker.pid})
        elif "refused" in message:
            _log.error("a worker refused to start: %s", message["refused"])
        elif message.get("terminated"):
            self._let_go(worker)
        elif message.get("taken"):
            self._failure = busy_public(self._settings, self._public)
            self._asked.append("interrupt")

    def _let_go(self, worker: Worker) -> None:
        """Replace a worker that somebody sent SIGTERM; when it was everybody, the drain is coming."""
        if self._state in ("serving", "reloading") and worker.state == "ready":
            self._restarts += 1
            self._dismissal(worker)
            if worker.generation == self._generation:
                self._start()

    async def _watch(self) -> None:
        last = time.monotonic()
        next_look = last + _LOOK
        next_sign = last
        while not self._over.is_set():
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if now - last > 2.0:
                # It was this process that stood still, so nobody could be heard.
                for worker in self._crew:
                    worker.heard_at += now - last
            last = now
            while self._asked:
                self._on(self._asked.pop(0))
            self._bury()
            self._check_on(now)
            if self._files is not None and now >= next_look:
                next_look = now + _LOOK
                self._restart_if_changed(await asyncio.to_thread(self._files.changed))
            if self._notifier.watchdog is not None and now >= next_sign and self._ever_up:
                next_sign = now + self._notifier.watchdog
                self._notifier.alive()
            if now >= self._due_at:
                self._on("due")
            if self._state == "starting" and self._all_ready():
                self._on("up")
            if self._state == "closing" and not self._crew:
                self._over.set()

    def _on(self, event: _Event) -> None:
        found = _TABLE.get((self._state, event))
        if found is not None:
            action, self._state = found
            getattr(self, f"_do_{action}")()

    def _current(self) -> list[Worker]:
        return [one for one in self._crew if one.generation == self._generation and one.state != "leaving"]

    def _all_ready(self) -> bool:
        return sum(one.state == "ready" for one in self._current()) >= self._wanted

    def _bury(self) -> None:
        for worker in [one for one in self._crew if one.gone()]:
            self._crew.remove(worker)
            fields = {"worker": worker.pid, "code": worker.process.returncode}
            if worker.state == "leaving" or self._state in ("draining", "closing"):
                _log.info("worker ended", extra=fields)
            else:
                _log.error("a worker ended by itself", extra=fields)
                self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        now = time.monotonic()
        if self._errand.reload:
            _log.info("waiting for a source file to change")
            return
        if worker.generation != self._generation:
            return  # the reload that is under way brings its successor
        if worker.ready_at is not None and now - worker.ready_at >= _STEADY:
            self._failed_starts = 0
            pause = 0.0
        else:
            self._failed_starts += 1
            longest = _LONGEST_FAILING if worker.ready_at is None else _LONGEST_PAUSE
            pause = min(_FIRST_PAUSE * 2.0 ** (self._failed_starts - 1), longest)
        if not self._ever_up and self._failed_starts >= _ATTEMPTS:
            _log.critical("not started: workers ended %d times before the first was ready", _ATTEMPTS)
            self._code = 1
            self._state = "closing"
            self._do_close()
            return
        self._restarts += 1
        self._due.append(now + pause)

    def _check_on(self, now: float) -> None:
        for worker in self._crew:
            silent = now - worker.heard_at
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                _log.error("worker killed: it did not end in time", extra={"worker": worker.pid})
                worker.kill()
            elif silent > self._settings.worker_timeout and worker.state != "leaving":
                _log.error(
                    "worker killed: its event loop gave no sign of life",
                    extra={"worker": worker.pid, "seconds": round(silent, 1)},
                )
                worker.heard_at = now
                worker.kill()
        for due in [one for one in self._due if one <= now]:
            self._due.remove(due)
            if self._state in ("starting", "serving", "reloading"):
                self._start()

    # -- what the table names

    def _do_announce(self) -> None:
        self._ever_up = True
        self._failed_starts = 0
        announce = self._announce(self._settings)
        if announce is not None:
            announce(self._addresses)
        else:
            record_start(self._addresses, workers=self._wanted)
        self._notifier.ready()
        if self._pending_reload:
            self._do_settle()

    def _do_remember(self) -> None:
        self._pending_reload = True

    def _do_reload(self) -> None:
        self._notifier.reloading()
        self._reloading = asyncio.create_task(self._reload())

    def _do_settle(self) -> None:
        self._notifier.ready()
        if self._pending_reload:
            self._pending_reload = False
            self._asked.append("hangup")

    def _do_drain(self) -> None:
        _log.info("draining", extra={"workers": len(self._crew), "seconds": self._settings.drain_delay})
        self._notifier.stopping()
        self._stop_reloading()
        self._due_at = time.monotonic() + self._settings.drain_delay
        for worker in self._crew:
            if worker.state == "starting":
                worker.end()
            else:
                worker.tell(do="drain")

    def _do_close(self) -> None:
        _log.info("closing", extra={"workers": len(self._crew)})
        self._notifier.stopping()
        self._stop_reloading()
        self._due.clear()
        grace = 1.0 if self._errand.reload else self._settings.grace
        self._due_at = time.monotonic() + grace + self._settings.stream_grace + _SPARE
        if self._ours:
            for one in self._public:
                refuse_new(one)
        for worker in self._crew:
            if worker.state == "starting":
                worker.end()
            else:
                worker.tell(do="close", grace=grace, last=self._ours)
        # Only now: what waits to be accepted is reset when the last process closes the socket.
        close(self._public)

    def _do_kill(self) -> None:
        for worker in self._crew:
            worker.kill()

    def _do_cut(self) -> None:
        self._due_at = float("inf")
        self._code = 1
        for worker in self._crew:
            _log.error("worker killed: it did not end in time", extra={"worker": worker.pid})
            worker.kill()

    # -- new code

    def _stop_reloading(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()

    async def _reload(self) -> None:
        """Start new workers beside the old ones, and end those once all new ones are ready."""
        _log.info("reloading", extra={"workers": self._wanted})
        before = self._generation
        old = self._current()
        self._due.clear()
        self._failed_starts = 0
        self._generation += 1
        for _ in range(self._wanted):
            self._start()
        while not self._all_ready():
            if self._failed_starts >= _ATTEMPTS:
                self._give_up(before)
                return
            await asyncio.sleep(_TICK)
        for worker in old:
            await self._retire(worker)
        _log.info("reloaded")
        self._on("settled")

    def _give_up(self, before: int) -> None:
        _log.error("not reloaded: the new workers do not come up; the old ones serve on")
        self._due.clear()
        for worker in self._current():
            worker.state = "leaving"
            worker.kill()
        self._generation = before
        self._failed_starts = 0
        for _ in range(self._wanted - len(self._current())):
            self._start()
        self._on("settled")

    async def _retire(self, worker: Worker) -> None:
        if worker not in self._crew:
            return
        self._dismissal(worker)
        while worker in self._crew:  # noqa: ASYNC110 - the crew changes in the watch, ten times a second
            await asyncio.sleep(_TICK)

    def _dismissal(self, worker: Worker) -> None:
        settings = self._settings
        worker.state = "leaving"
        worker.tell(do="retire", delay=settings.drain_delay)
        worker.kill_at = (
            time.monotonic() + settings.drain_delay + settings.grace + settings.stream_grace + _SPARE
        )

    def _restart_if_changed(self, files: list[str]) -> None:
        if not files or self._state not in ("starting", "serving"):
            return
        _log.info("source files changed", extra={"files": files[:10]})
        for worker in self._current():
            worker.state = "leaving"
            worker.kill_at = time.monotonic() + _SPARE
            if worker.ready_at is None:
                worker.kill()
            else:
                worker.tell(do="close", grace=1.0)
        self._start()

    # -- what the operations listener asks

    def configuration(self) -> dict[str, Any]:
        """Return the effective settings, masked, each with its source."""
        return self._configuration

    def set_level(self, level: Level) -> None:
        """Change the log level here and in every worker, those that come included."""
        self._level = level
        self._logging.set_level(level)
        for worker in self._crew:
            worker.tell(do="level", level=level)

    def drain(self) -> None:
        """Begin what SIGTERM begins."""
        self._asked.append("terminate")

    def started(self) -> bool:
        """Tell whether all workers have been ready once."""
        return self._ever_up

    def ready(self) -> bool:
        """Tell whether the service may get traffic: some worker may, and it is not about to end."""
        return self._state in ("serving", "reloading") and any(one.ready for one in self._crew)

    async def details(self) -> dict[str, Any]:
        """Return the state of the service and of each worker."""
        workers = await details_of(list(self._crew))
        whole = sum(one.ready for one in self._current()) >= self._wanted
        status: str = self._state
        if status in ("serving", "reloading"):
            status = "unavailable" if not self.ready() else "ready" if whole else "degraded"
        return {"status": status, "restarts": self._restarts, "workers": workers}
