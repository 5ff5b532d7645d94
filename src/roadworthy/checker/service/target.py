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

from ..custody import Custody, Place
from ..errors import PortTaken, StartFailed, TargetLost
from ..http.request import Address
from ..http.wire import Connection, DialFailed, Ending, exchange
from ..manifest.model import Manifest
from ..manifest.variables import expand, store_url
from ..read.masking import Masker
from ..store.faults import Fault, FaultProxy, SqliteFile, Store
from ..store.kinds import kind_of
from ..store.own import Lease
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
        store: ``own`` puts a fresh store behind it, which faults can be injected into; ``refused`` one that
            refuses from the start.
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
        place: what else it has of its own: a working folder, further stores.
        lease: the database that was made for it.
        ready_after: seconds from the start to readiness.
    """

    manifest: Manifest
    address: Address
    launch: Launch
    service: Service | None = None
    store: Store | None = None
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    folder: Path | None = None
    place: Place = field(default_factory=Place)
    lease: Lease | None = None
    ready_after: float = 0.0
    _owns_store: bool = True
    socket_file: Path | None = None

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
        if self.socket_file is not None and self.socket_file.is_socket():
            self.socket_file.unlink()
        if not self._owns_store:
            return
        if self.store is not None:
            await self.store.close()
        if self.lease is not None:
            await self.lease.release()
        await self.place.release()


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


async def launch(
    manifest: Manifest, options: Launch, folder: Path, masker: Masker, custody: Custody
) -> Target:
    """Start the service.

    Parameters:
        folder: a new, empty folder for its files.
        custody: makes what it gets in place of its data.

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
            return await _Start(manifest, options, own, masker, custody).on(
                fixed or free_port(manifest.listen.host)
            )
        except PortTaken:
            # Between the choice of a port and the start of the service, another process may listen there.
            if fixed or not left:
                raise


@dataclass(slots=True, eq=False)
class _Start:
    """One try to start the service.

    Parameters:
        folder: a new, empty folder for its files.
        place, lease, store: what was made for it so far.
        filled: its database is prepared already.
    """

    manifest: Manifest
    options: Launch
    folder: Path
    masker: Masker
    custody: Custody
    place: Place = field(default_factory=Place)
    lease: Lease | None = None
    store: Store | None = None
    filled: bool = False

    async def on(self, port: int) -> Target:
        """Start it on a port."""
        listen, options = self.manifest.listen, self.options
        require_free(listen.host, port)
        ports = {name: free_port(listen.host) for name in listen.ports}
        target = Target(
            self.manifest,
            Address(listen.host, port),
            options,
            ports=ports,
            folder=self.folder,
            _owns_store=options.same_store_as is None,
        )
        try:
            environment = await self._environment(port, ports)
            target.place, target.store, target.lease = self.place, self.store, self.lease
            await self._run(target, environment)
        except BaseException as failed:
            target.place, target.store, target.lease = self.place, self.store, self.lease
            await target.close()
            if isinstance(failed, StartFailed) and not all(
                is_free(listen.host, number) for number in (port, *ports.values())
            ):
                raise PortTaken(str(failed)) from None
            raise
        return target

    async def _run(self, target: Target, environment: dict[str, str]) -> None:
        options, start, work, cwd = self.options, self.manifest.start, self.place.work, self._cwd
        command = start.command
        if start.probe_command and not options.production:
            command = start.probe_command
        port = str(target.address.port)
        words = (expand(word.replace("{port}", port), environment) for word in command)
        command = tuple(word if work is None else work.command_word(word) for word in words)
        target.socket_file = _socket(environment.get(self.manifest.listen.port_env, ""), cwd)
        await self._set_up(environment)
        began = time.monotonic()
        service = await Service.start(command, environment, cwd, shell=start.shell)
        target.service = service
        if isinstance(self.store, SqliteFile):
            self.store.pids = lambda: [one.pid for one in service.tree()]
        if options.wait:
            await target.wait_ready()
            target.ready_after = time.monotonic() - began

    @property
    def _cwd(self) -> Path:
        if self.place.work is not None:
            return self.place.work.cwd
        return self.options.cwd or self.custody.cwd

    async def _environment(self, port: int, ports: Mapping[str, int]) -> dict[str, str]:
        """Return the variables of this start, with those that lead to what was made for it."""
        options, before = self.options, self.options.same_store_as
        environment = _declared_environment(self.manifest, options, self.folder)
        environment |= {name: str(number) for name, number in ports.items()}
        if self.manifest.listen.port_env:
            environment[self.manifest.listen.port_env] = str(port)
        if before is not None:
            self.place, self.store, self.lease = before.place, before.store, before.lease
        else:
            self.place = await self.custody.place(environment, self.folder, options.cwd)
        environment = self.place.environment(environment)
        await self._stand_in(environment)
        for name, value in options.env.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return environment

    async def _stand_in(self, environment: dict[str, str]) -> None:
        """Put a store that faults can be injected into in place of the declared one."""
        options, env = self.options, self.manifest.database.env
        declared = expand(options.url) if options.url else store_url(self.manifest, environment)
        self.masker.add_url(env or "database.url", declared)
        if options.same_store_as is None:
            await self._fill(declared, environment)
            self.store = await self._fresh_store(declared)
        if self.store is None or not env:
            return
        # A service that has the URL in two variables goes by this store with both.
        same = [name for name, value in environment.items() if declared and value == declared]
        for name in {env, *same}:
            environment[name] = self.store.url

    async def _fresh_store(self, declared: str) -> Store | None:
        options, database = self.options, self.manifest.database
        kind = kind_of(options.url) if options.url else database.kind
        if kind in {"", "none"} or not database.env:
            return None
        if kind == "sqlite":
            scheme = declared.partition(":")[0] if ":" in declared else ""
            file = self.folder / "data.db" if options.store == "own" else self.folder / "missing" / "data.db"
            if options.prepared is not None:
                shutil.copyfile(options.prepared, file)
            return SqliteFile(f"{scheme}:///{file}" if scheme else str(file), file)
        if not declared:
            return None
        self.lease = await self.custody.lease(declared, further=bool(options.url))
        proxy = await FaultProxy.start(self.lease.url if self.lease else declared, kind)
        if options.store == "refused":
            await proxy.inject(Fault.REFUSE)
        return proxy

    async def _fill(self, declared: str, environment: Mapping[str, str]) -> None:
        """Prepare once what the databases of all starts are copied from."""
        database, cwd = self.manifest.database, self._cwd
        server = self.custody.stores.servers.get(declared)
        if server is None or not database.setup:
            return

        async def run(url: str) -> None:
            await asyncio.to_thread(_run_setup, database.setup, {**environment, database.env: url}, cwd)

        self.filled = await server.fill(run)

    async def _set_up(self, environment: Mapping[str, str]) -> None:
        options, database = self.options, self.manifest.database
        done = self.filled or options.same_store_as is not None or options.prepared is not None
        if database.setup and not done and options.store != "refused":
            await asyncio.to_thread(_run_setup, database.setup, environment, self._cwd)


def _run_setup(command: tuple[str, ...], environment: Mapping[str, str], cwd: Path) -> None:
    done = subprocess.run(  # noqa: S603
        command, env=dict(environment), cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StartFailed(
            f"database.setup ({shlex.join(command)}) ended with status {done.returncode}:\n"
            f"{(done.stdout + done.stderr)[-2000:]}"
        )


def _socket(port: str, cwd: Path) -> Path | None:
    """Return the socket file that Node makes of a port that is no number, unless something is there."""
    path = cwd / port
    return None if not port or port.isdecimal() or path.exists() else path


def _declared_environment(manifest: Manifest, options: Launch, folder: Path) -> dict[str, str]:
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
