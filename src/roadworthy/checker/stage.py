"""What the probes of one phase have in common: the process, what was collected, the launches."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .custody import Custody
from .errors import ControlFailed, StartFailed, TargetLost
from .http.kept import KeptConnections
from .manifest.model import Manifest
from .phases import PHASES, Phase, Profile
from .read.masking import Masker
from .service.target import Launch, Target, attach, launch
from .store.faults import SqliteFile, Store

__all__ = ("RunContext", "Stage")


@dataclass(slots=True, eq=False)
class RunContext:
    """What is the same for the whole run.

    Parameters:
        slowness: how many times slower this machine answers than a quiet one; at least 1, scales deadlines.
        custody: what each start gets in place of the service's data, and whether the check may write.
        prepared: a copy of an SQLite file that every fresh store begins with; none before the first start.
        marker: stands in the User-Agent and in every id that the check makes up.
    """

    manifest: Manifest
    profile: Profile
    folder: Path
    masker: Masker
    custody: Custody
    marker: str
    slowness: float = 1.0
    launches: int = 0
    first: Target | None = None
    """The first process or service that was asked: reports name its address."""
    open_targets: set[Target] = field(default_factory=set[Target])
    starting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1))
    """As many start at the same time as there are processors: a service of several workers fills one for
    seconds, and six of them would all be late."""
    prepared: Path | None = None

    async def launch(self, options: Launch) -> Target:
        """Start the service in a folder of its own and remember it until it is closed."""
        self.launches += 1
        folder = self.folder / f"launch-{self.launches}"
        folder.mkdir()
        options = replace(options, slowness=self.slowness)
        fresh = options.store == "own" and not options.url and options.same_store_as is None
        if fresh:
            options = replace(options, prepared=self.prepared)
        async with self.starting if options.wait else nullcontext():
            try:
                target = await launch(self.manifest, options, folder, self.masker, self.custody)
            except StartFailed:
                if not self.custody.stay():
                    raise
                folder = folder.with_name(f"{folder.name}-again")
                folder.mkdir()
                target = await launch(self.manifest, options, folder, self.masker, self.custody)
        self.open_targets.add(target)
        self.first = self.first or target
        if fresh and options.wait and self.prepared is None and self.manifest.health.ready:
            await self._keep_prepared(target.store)
        return target

    async def _keep_prepared(self, store: Store | None) -> None:
        """Copy the file of a service that has just become ready.

        To migrate an empty database takes up to a third of a start, and dozens follow.
        """
        if isinstance(store, SqliteFile):
            copy = self.folder / "prepared.db"
            with contextlib.suppress(sqlite3.Error):
                await asyncio.to_thread(store.copy_to, copy)
                self.prepared = copy

    async def close(self, target: Target) -> None:
        """End a target."""
        try:
            await target.close()
        finally:
            self.open_targets.discard(target)


@dataclass(slots=True, eq=False)
class Stage:
    """One run of one phase.

    Parameters:
        given: a target that runs already and may be used as the shared one.
    """

    context: RunContext
    phase: Phase
    given: Target | None = None
    kept: KeptConnections = field(default_factory=KeptConnections)
    _target: Target | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _memory: dict[object, asyncio.Future[Any]] = field(default_factory=dict[object, "asyncio.Future[Any]"])

    async def target(self) -> Target:
        """Return the shared process, started when it is first wanted.

        Raises:
            TargetLost: the phase has none.
            StartFailed: it does not start.
        """
        plan = PHASES[self.phase]
        async with self._starting:
            if self._target is None:
                manifest = self.context.manifest
                if not manifest.startable:
                    self._target = await attach(manifest)
                    self.context.first = self.context.first or self._target
                elif not plan.shared:
                    raise TargetLost(
                        f"the phase {self.phase.value} has no shared process: use bench.launch()"
                    )
                elif self.given is not None:
                    self._target = self.given
                else:
                    self._target = await self.context.launch(Launch(limited=plan.limited))
            return self._target

    def shares(self, target: Target | None) -> bool:
        """Return whether this is the shared process."""
        return target is not None and target is self._target

    @property
    def lost(self) -> str:
        """Why the shared process has ended without being asked to; empty while it runs."""
        return self._target.lost if self._target is not None else ""

    async def notice_end(self) -> None:
        """Let :attr:`lost` become true where the shared process is about to be gone."""
        if self._target is not None:
            await self._target.notice_end()

    async def replace_target(self) -> None:
        """Let the next probe start a new shared process, and forget what was collected on the old one."""
        if self._target is not None:
            await self.context.close(self._target)
        self._target = self.given = None
        self._memory.clear()

    @asynccontextmanager
    async def launch(self, options: Launch) -> AsyncGenerator[Target]:
        """Start a process for one probe; ended with the block.

        Where the port is fixed the shared process ends before: whoever wants it next gets a fresh one.

        Raises:
            ControlFailed: the port is fixed, and another process of the probe has it.
        """
        if not self.context.manifest.movable:
            await self._free_port()
        target = await self.context.launch(options)
        try:
            yield target
        finally:
            await self.context.close(target)

    async def _free_port(self) -> None:
        if self._target is not None:
            await self.replace_target()
        if any(one.service is not None and one.service.alive for one in self.context.open_targets):
            raise ControlFailed(
                "this takes two processes at the same time, and the service has one port; name the variable "
                "that sets it (listen.port_env in the manifest)"
            )

    async def once(self, key: object, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return what ``make`` returned when it was first called for this key in this phase."""
        waiting = self._memory.get(key)
        if waiting is None:
            waiting = asyncio.ensure_future(make())
            self._memory[key] = waiting
        return await asyncio.shield(waiting)

    async def close(self) -> None:
        """End the shared process, and what is still being collected."""
        await self.kept.close()
        for waiting in self._memory.values():
            waiting.cancel()
        await asyncio.gather(*self._memory.values(), return_exceptions=True)
        if self._target is not None:
            await self.context.close(self._target)
        elif self.given is not None:
            await self.context.close(self.given)
        self._target = self.given = None
