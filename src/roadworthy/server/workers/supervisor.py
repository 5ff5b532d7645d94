"""Several workers behind one set of sockets: started, watched, replaced, reloaded and drained together.

The supervisor imports no app. It opens the sockets, has the app checked and prepared by a child of its own,
starts the workers and serves the operations listener. What may happen in which state stands in one table,
:data:`roadworthy.server.workers.states.TABLE`; who carries it out is named in ``_serve_with``.
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
from typing import Any

from ...layer.local.group import ENVIRONMENT_VARIABLE, process_key
from ...layer.logging import Level, configure
from ...layer.metrics import Metrics
from ...layer.operations import OperationsApp
from ...settings import Settings, SettingsError, load_settings
from ..process.folder import Folder
from ..process.listeners import ServeError, close
from ..process.machine import check_tls
from ..process.operations import add_controls
from ..process.operations_listener import OperationsListener
from ..process.run import (
    Addresses,
    addresses_of,
    bind_all,
    busy_public,
    open_operations,
    record_start,
)
from ..process.systemd import Notifier
from ..process.uvicorn import quiet
from .channel import Message
from .child import Worker, variables
from .ending import Ending
from .files import Files, forget_compiled
from .health import ServiceHealth, details_of
from .pool import WorkerPool
from .rehearsal import Rehearsal, StoppedError
from .reload import Reload
from .shared_folder import check_room, make_group
from .states import TABLE, Action, Event, State

__all__ = ("Errand", "Supervisor")

_TICK = 0.1
_LOOK = 0.5
"""Seconds between two looks at the source files."""
_STANDSTILL = 2.0
"""Seconds between two ticks from which on it was this process that stood still."""

_log = logging.getLogger("roadworthy.server")


@dataclass(frozen=True, slots=True)
class Errand:
    """How a worker is started.

    Parameters:
        command: a program that connects a :class:`roadworthy.server.workers.worker.Line` to the descriptor
            appended to the command, and does what the first message asks.
        target: ``module:attribute`` of the app.
        flags: settings that the command line gave.
        folder: where the service was started; each worker enters it by its name.
        reload: for development: one worker, started again whenever a source file changes.
    """

    command: Sequence[str]
    target: str
    flags: Mapping[str, str]
    folder: Folder
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
        self._state: State = "starting"
        self._asked: list[Event] = []
        self._watching = False
        self._code = 0
        self._level: Level | None = None
        self._notifier = Notifier()
        self._public: list[socket.socket] = []
        self._operations: list[socket.socket] | None = None
        self._ours = True
        self._failure: ServeError | None = None
        self._pool: WorkerPool | None = None

    # -- the whole of it

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            The exit code: 0 after a signal, 1 when the workers do not come up or had to be killed, 2 when a
            setting keeps them from it.

        Raises:
            ServeError: the service cannot be served as configured.
        """
        # asyncio's own loop: uvloop keeps SIGCHLD for itself.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(self._run())

    async def _run(self) -> int:
        self._own_signals()
        group_is_ours = ENVIRONMENT_VARIABLE not in os.environ
        os.environ.setdefault(ENVIRONMENT_VARIABLE, process_key(os.getpid()))
        group = make_group(self._known_settings())
        prometheus = group.directory / "prometheus"
        self._environment = variables(group.key, str(prometheus))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._environment["PROMETHEUS_MULTIPROC_DIR"]
        try:
            return await self._serve(group.directory)
        except StoppedError:
            return 0
        finally:
            if self._pool is not None:
                self._pool.close()
            close([*self._public, *(self._operations or ())])
            if group_is_ours:
                shutil.rmtree(group.directory, ignore_errors=True)

    def _known_settings(self) -> Settings:
        """Return the settings as far as they are known without the app, and write records as they say."""
        try:
            settings = load_settings()
        except SettingsError:
            return Settings.model_construct()  # the app may know more variables, or else refuses them itself
        self._logging = configure(settings)
        return settings

    async def _serve(self, directory: Path) -> int:
        _log.info("importing %s", self._errand.target, extra={"app": self._errand.target})
        try:
            rehearsal = Rehearsal(
                lambda heard: self._child("check", heard),
                lambda: bool({"terminate", "interrupt"}.intersection(self._asked)),
            )
        except OSError as error:
            raise ServeError(f"no process could be started: {error.strerror}") from None
        try:
            self._settings, self._configuration = await rehearsal.settings(self._errand.target)
            check_room(self._settings, directory)
            return await self._serve_with(rehearsal, directory)
        finally:
            rehearsal.kill()

    async def _serve_with(self, rehearsal: Rehearsal, directory: Path) -> int:
        settings, development = self._settings, self._errand.reload
        check_tls(settings)
        self._logging = configure(settings)
        if settings.log_level != "debug":
            quiet()
        self._public, self._operations, self._ours = bind_all(settings)
        self._addresses = addresses_of(settings, self._public, self._operations)
        pool = self._pool = WorkerPool(
            lambda generation: self._child("serve", self._heard, generation),
            1 if development else settings.workers,
            settings,
            self._give_up,
            replaces=not development,
        )
        reload = self._reload = Reload(pool, lambda: self._on("settled"), self._errand.folder.trouble)
        ending = Ending(pool, settings, self._public, ours=self._ours, hasty=development)
        self._does: dict[Action, Callable[[], None]] = {
            "announce": self._be_up,
            "remember": reload.remember,
            "reload": self._begin_reload,
            "settle": self._settle,
            "drain": lambda: self._end(ending.drain),
            "close": lambda: self._end(ending.close),
            "kill": pool.kill,
            "cut": ending.cut,
        }
        metrics = Metrics(settings, directory)
        metrics.watch(
            "roadworthy_worker_restarts_total", "Workers that were replaced.", lambda: pool.restarts
        )
        pages = add_controls(OperationsApp(settings, ServiceHealth(self), metrics), self)
        operations = OperationsListener(pages, settings)
        await open_operations(operations, settings, self._operations)
        try:
            _log.info("preparing %s", self._errand.target, extra={"app": self._errand.target})
            if code := await rehearsal.prepare():
                return code
            rehearsal.end()
            files = Files(Path(self._errand.folder.path)) if development else None
            self._files = files
            _log.info(
                "starting %d worker%s",
                pool.wanted,
                "s" if pool.wanted > 1 else "",
                extra={
                    "workers": pool.wanted,
                    "folder": str(directory),
                },
            )
            pool.fill()
            self._watching = True
            await self._watch(pool, ending, files)
        finally:
            await operations.finish()
        if self._failure is not None:
            raise self._failure
        code = 1 if ending.cut_workers else self._code
        _log.info("ended", extra={"code": code})
        self._logging.writer.flush()
        return code

    # -- signals and workers: what is heard

    def _own_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._signalled, "terminate")
        heeded: tuple[tuple[signal.Signals, Event], ...] = (
            (signal.SIGINT, "interrupt"),
            (signal.SIGHUP, "hangup"),
        )
        for number, event in heeded:
            # Ignored from the start by nohup(1) or a shell's "&": so it stays, for workers, too.
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._signalled, event)

    def _signalled(self, event: Event) -> None:
        if self._watching:
            self._on(event)
        else:
            self._asked.append(event)

    def _child(self, do: str, heard: Callable[[Worker, Message], None], generation: int = 0) -> Worker:
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
            self._errand.folder,
            self._environment,
            heard,
            generation=generation,
            interactive=self._errand.reload,
        )

    def _heard(self, worker: Worker, message: Message) -> None:
        if message.get("ready") and worker.state == "starting":
            worker.state = "ready"
            worker.ready_at = time.monotonic()
            if self._level is not None:
                worker.send(do="level", level=self._level)
            if self._files is not None:
                self._files.add(message["files"])
            _log.info("worker ready", extra={"worker": worker.pid})
        elif "refused" in message:
            _log.error("a worker refused to start: %s", message["refused"])
            self._reload.refuse(worker)
        elif message.get("terminated") and self._state in ("serving", "reloading"):
            # When it was everybody who got SIGTERM, the drain is coming.
            self._workers.let_go(worker)
        elif message.get("taken"):
            self._failure = busy_public(self._settings, self._public)
            self._asked.append("interrupt")

    async def _watch(self, pool: WorkerPool, ending: Ending, files: Files | None) -> None:
        last = time.monotonic()
        next_look = last + _LOOK
        next_sign = last
        while not (self._state == "closing" and not pool.workers):
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if now - last > _STANDSTILL:
                pool.forgive(now - last)
            last = now
            while self._asked:
                self._on(self._asked.pop(0))
            pool.tend(now, ending=self._state in ("draining", "closing"))
            if files is not None and now >= next_look:
                next_look = now + _LOOK
                self._restart_if_changed(await asyncio.to_thread(files.changed))
            if self._notifier.watchdog is not None and now >= next_sign and pool.settled:
                next_sign = now + self._notifier.watchdog
                self._notifier.alive()
            if now >= ending.due_at:
                self._on("due")
            if self._state == "starting" and pool.all_ready():
                self._on("up")

    def _restart_if_changed(self, files: list[str]) -> None:
        if not files or self._state in ("draining", "closing"):
            return
        _log.info("source files changed", extra={"files": files[:10]})
        forget_compiled(files)
        if self._state == "reloading":
            # The new workers may have read the files before they changed.
            self._on("hangup")
        else:
            self._workers.change()

    # -- what the table names

    def _on(self, event: Event) -> None:
        found = TABLE.get((self._state, event))
        if found is not None:
            action, self._state = found
            self._does[action]()

    def _be_up(self) -> None:
        self._workers.settle()
        announce = self._announce(self._settings)
        if announce is not None:
            announce(self._addresses)
        else:
            record_start(self._addresses, workers=self._workers.wanted)
        self._settle()

    def _begin_reload(self) -> None:
        self._notifier.reloading()
        self._reload.begin()

    def _settle(self) -> None:
        self._notifier.ready()
        if self._reload.again:
            self._reload.again = False
            self._asked.append("hangup")

    def _end(self, step: Callable[[], None]) -> None:
        self._notifier.stopping()
        self._reload.stop()
        step()

    def _give_up(self) -> None:
        self._code = 1
        self._on("failed")

    @property
    def _workers(self) -> WorkerPool:
        assert self._pool is not None
        return self._pool

    # -- what the operations listener asks

    def configuration(self) -> dict[str, Any]:
        """Return the effective settings, masked, each with its source."""
        return self._configuration

    def set_level(self, level: Level) -> None:
        """Change the log level here and in every worker, those that come included."""
        self._level = level
        self._logging.set_level(level)
        for worker in self._workers.workers:
            worker.send(do="level", level=level)

    def drain(self) -> None:
        """Begin what SIGTERM begins."""
        self._asked.append("terminate")

    def started(self) -> bool:
        """Tell whether all workers have been ready once."""
        return self._workers.settled

    def ready(self) -> bool:
        """Tell whether the service may get traffic: some worker may, and it is not about to end."""
        serving = self._state in ("serving", "reloading")
        return serving and any(one.ready for one in self._workers.workers)

    async def details(self) -> dict[str, Any]:
        """Return the state of the service and of each worker."""
        pool = self._workers
        workers = await details_of(list(pool.workers))
        whole = sum(one.ready for one in pool.current()) >= pool.wanted
        status: str = self._state
        if status in ("serving", "reloading"):
            status = "unavailable" if not self.ready() else "ready" if whole else "degraded"
        return {"status": status, "restarts": pool.restarts, "workers": workers}
