"""A running service as probes see it, and how it is started: its ports, its environment, its store."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import PortTaken, StartFailed, TargetLost
from ..http.request import Address
from ..http.wire import Connection, DialFailed, Ending, exchange
from ..manifest.model import Manifest
from ..manifest.variables import expand, store_url
from ..read.masking import Masker
from ..store.faults import Fault, FaultProxy, SqliteFile, Store
from ..store.kinds import kind_of
from .process import Service, free_port, is_free, require_free
from .startup import StartUp

__all__ = ("Launch", "Target", "attach", "launch")

_DYING = 1.0
"""Seconds from the end of a process' listener to its own: writing its memory out (core(5)) takes longest."""
_STARTS = 3
"""Most starts of a service that loses the port chosen for it to another process each time."""
# What a program needs to be found and to find its libraries; nothing that configures it.
_MINIMAL = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "JAVA_HOME",
    "NODE_PATH",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one start differs from the ordinary one.

    Parameters:
        production: use ``start.command`` even where there is a ``probe_command``.
        env: variables to add; None takes one away.
        clean: begin with an almost empty environment and a home folder of its own, as the ENV probes do.
        workers: number of worker processes, through ``workers.env``.
        limited: with the shorter rate limit of ``[check.rate_limit]``.
        draining: with the shorter drain delay of ``[check.shutdown]``.
        store: ``own`` puts a fresh store (or a fault proxy) behind it, ``refused`` one that refuses from the
            start, ``declared`` the declared one without anything in between.
        same_store_as: the target whose store to use again, for a restart.
        url: the URL of another store than the declared one, of ``database.also``.
        port: the port to give it; a free one when None.
        wait: whether to wait until it is ready.
        slowness: how many times slower this machine is than a quiet one: a start takes as much longer.
        cwd: another working folder.
        prepared: a copy of the SQLite file as it was after a start; a fresh store begins with it, as it does
            in production, and is not set up again.
    """

    production: bool = False
    env: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    clean: bool = False
    workers: int | None = None
    limited: bool = False
    draining: bool = False
    store: str = "own"
    same_store_as: Target | None = None
    url: str = ""
    port: int | None = None
    wait: bool = True
    slowness: float = 1.0
    cwd: Path | None = None
    prepared: Path | None = None


@dataclass(slots=True, eq=False)
class Target:
    """One running service.

    Parameters:
        service: its process; None in URL mode.
        store: the faults of what is behind it; None where there is nothing that can be reached.
        ports: the port of each variable of ``listen.ports``.
        ready_after: seconds from the start to readiness.
    """

    manifest: Manifest
    address: Address
    launch: Launch
    service: Service | None = None
    store: Store | None = None
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    folder: Path | None = None
    ready_after: float = 0.0
    _owns_store: bool = True
    _socket: Path | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.address}"

    @property
    def metrics_address(self) -> Address:
        """Where metrics are scraped."""
        port = self.ports.get(self.manifest.metrics.port_env)
        return self.address if port is None else Address(self.address.host, port, "METRICS_URL")

    @property
    def process(self) -> Service:
        """Its process.

        Raises:
            TargetLost: it runs elsewhere; a probe that needs the process declares ``Need.COMMAND``.
        """
        if self.service is None:
            raise TargetLost("the service was not started by the check")
        return self.service

    @property
    def lost(self) -> str:
        """Why it has ended without being asked to; empty while it runs."""
        service = self.service
        if service is None or service.ended is None or service.told_to_stop:
            return ""
        return f"the service ended with {service.ended}"

    async def notice_end(self) -> None:
        """Wait for the end of a service that no longer listens, for a moment.

        The kernel closes the sockets of a process that dies before anybody can hear that it is dead.
        """
        if self.service is None or self.service.ended is not None or self.service.told_to_stop:
            return
        try:
            connection = await Connection.open(self.address)
        except DialFailed:
            await self.service.wait_end(_DYING)
        else:
            await connection.close()

    async def wait_ready(self, seconds: float | None = None) -> None:
        """Wait until it is ready.

        Parameters:
            seconds: how long exactly; by default ``ready.timeout``, and longer while it still works.

        Raises:
            StartFailed: it ended first, or did not become ready in time; the message has its last output.
        """
        ready = self.manifest.ready
        # Liveness is no readiness: without a path for that, whoever answers at all is up.
        path = ready.path or self.manifest.health.ready
        start = StartUp(self.service, ready.timeout, self.launch.slowness)
        deadline = time.monotonic() + seconds if seconds is not None else None
        last = "nothing listens"
        while time.monotonic() < deadline if deadline is not None else not start.over:
            if self.service is not None and self.service.ended is not None:
                await self.service.wait_silence(1.0)
                raise StartFailed(f"the service ended with {self.service.ended} at its start{start.said()}")
            answer = await exchange(self.address, "GET", path or "/", seconds=2.0)
            good = ready.status[0] <= answer.status <= ready.status[1] if path else answer.complete
            if good:
                return
            last = f"GET {path or '/'} gave {answer}"
            if answer.ending is Ending.REFUSED and self._is_away:
                raise StartFailed(
                    f"nothing listens on {self.url}: start the service first, or name its command and the "
                    "check starts it (roadworthy check -- node server.js); with ready.timeout in the "
                    "manifest the check waits for one that is still starting"
                )
            if answer.ending is Ending.GARBAGE:
                raise StartFailed(f"what listens on {self.address} does not speak HTTP/1.1: {answer.problem}")
            await asyncio.sleep(0.02)
        raise StartFailed(start.failure(last))

    @property
    def _is_away(self) -> bool:
        """Whether a refused connection is the end: it should run already, and nobody declared a wait."""
        return self.service is None and "ready.timeout" not in self.manifest.lines

    async def close(self) -> None:
        """End it and what was put behind it; a service that the check did not start is left alone."""
        if self.service is not None:
            await self.service.close()
        if self._socket is not None and self._socket.is_socket():
            self._socket.unlink()
        if self.store is not None and self._owns_store:
            await self.store.close()


async def attach(manifest: Manifest) -> Target:
    """Return the target of URL mode: a service that runs already."""
    parts = urlsplit(manifest.start.url)
    port = parts.port or 80
    host = str(parts.hostname)
    if parts.hostname in {None, "localhost"}:
        host = await _local(port)
    target = Target(manifest, Address(host, port), Launch())
    await target.wait_ready()
    return target


async def _local(port: int) -> str:
    """Return which address of localhost (RFC 6761 §6.3) answers; the older one where neither does."""
    answer = await exchange(Address("127.0.0.1", port), "GET", "/", seconds=2.0)
    if answer.ending is not Ending.REFUSED:
        return "127.0.0.1"
    other = await exchange(Address("::1", port), "GET", "/", seconds=2.0)
    return "::1" if other.complete else "127.0.0.1"


async def launch(manifest: Manifest, options: Launch, folder: Path, masker: Masker) -> Target:
    """Start the service.

    Parameters:
        folder: a new, empty folder for its files.

    Raises:
        StartFailed: it ended, did not become ready, or the port was taken.
        ManifestError: the manifest refers to a variable that is not set.
    """
    if not manifest.startable:
        return await attach(manifest)
    fixed = options.port or (None if manifest.movable else manifest.listen.port)
    left = _STARTS
    while True:
        left -= 1
        own = folder / f"start-{_STARTS - left}"
        own.mkdir()
        try:
            return await _launch(manifest, options, fixed or free_port(manifest.listen.host), own, masker)
        except PortTaken:
            # Between the choice of a port and the start of the service, another process may listen there.
            if fixed or not left:
                raise


async def _launch(manifest: Manifest, options: Launch, port: int, folder: Path, masker: Masker) -> Target:
    listen = manifest.listen
    host = listen.host
    require_free(host, port)
    ports = {name: free_port(host) for name in listen.ports}
    environment = _environment(manifest, options, folder)
    environment |= {name: str(number) for name, number in ports.items()}
    if listen.port_env:
        environment[listen.port_env] = str(port)
    store = await _store(manifest, options, environment, folder, masker)
    for name, value in options.env.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    cwd = options.cwd or (manifest.folder / manifest.start.cwd)
    command = manifest.start.command
    if manifest.start.probe_command and not options.production:
        command = manifest.start.probe_command
    command = tuple(expand(word.replace("{port}", str(port)), environment) for word in command)
    target = Target(
        manifest,
        Address(host, port),
        options,
        store=store,
        ports=ports,
        folder=folder,
        _owns_store=options.same_store_as is None,
        _socket=_socket(environment.get(listen.port_env, ""), cwd),
    )
    try:
        await _set_up(manifest, options, environment, cwd)
        began = time.monotonic()
        service = await Service.start(command, environment, cwd, shell=manifest.start.shell)
        target.service = service
        if isinstance(store, SqliteFile):
            store.pids = lambda: [one.pid for one in service.tree()]
        if options.wait:
            await target.wait_ready()
            target.ready_after = time.monotonic() - began
    except BaseException as failed:
        await target.close()
        if isinstance(failed, StartFailed) and not all(
            is_free(host, number) for number in (port, *ports.values())
        ):
            raise PortTaken(str(failed)) from None
        raise
    return target


def _socket(port: str, cwd: Path) -> Path | None:
    """Return the socket file that Node makes of a port that is no number, unless something is there."""
    path = cwd / port
    return None if not port or port.isdecimal() or path.exists() else path


def _environment(manifest: Manifest, options: Launch, folder: Path) -> dict[str, str]:
    if options.clean:
        environment = {name: os.environ[name] for name in _MINIMAL if name in os.environ}
        environment["HOME"] = str(folder)
    else:
        environment = dict(os.environ)
    layers = [manifest.env.set, manifest.check.env]
    if options.limited:
        layers.append(manifest.check.rate_limit.env)
    if options.draining:
        layers.append(manifest.check.shutdown.env)
    for layer in layers:
        environment |= {name: expand(value) for name, value in layer.items()}
    if manifest.auth.header:
        expand(manifest.auth.header)
    if options.workers is not None and manifest.workers.env:
        environment[manifest.workers.env] = str(options.workers)
    return environment


async def _store(
    manifest: Manifest, options: Launch, environment: dict[str, str], folder: Path, masker: Masker
) -> Store | None:
    database = manifest.database
    if options.same_store_as is not None:
        store = options.same_store_as.store
    else:
        declared = expand(options.url) if options.url else store_url(manifest, environment)
        masker.add_url(database.env or "database.url", declared)
        store = await _fresh_store(manifest, options, declared, folder)
    if store is not None and database.env:
        environment[database.env] = store.url
    return store


async def _fresh_store(manifest: Manifest, options: Launch, declared: str, folder: Path) -> Store | None:
    kind = kind_of(options.url) if options.url else manifest.database.kind
    if options.store == "declared" or kind in {"", "none"} or not manifest.database.env:
        return None
    if kind == "sqlite":
        scheme = declared.partition(":")[0] if ":" in declared else ""
        file = folder / "data.db" if options.store == "own" else folder / "missing" / "data.db"
        if options.prepared is not None:
            shutil.copyfile(options.prepared, file)
        return SqliteFile(f"{scheme}:///{file}" if scheme else str(file), file)
    if not declared:
        return None
    proxy = await FaultProxy.start(declared, kind)
    if options.store == "refused":
        await proxy.inject(Fault.REFUSE)
    return proxy


async def _set_up(manifest: Manifest, options: Launch, environment: Mapping[str, str], cwd: Path) -> None:
    command = manifest.database.setup
    if not command or options.same_store_as is not None or options.prepared or options.store == "refused":
        return
    done = await asyncio.to_thread(
        subprocess.run, command, env=dict(environment), cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StartFailed(
            f"database.setup ({shlex.join(command)}) ended with status {done.returncode}:\n"
            f"{(done.stdout + done.stderr)[-2000:]}"
        )
