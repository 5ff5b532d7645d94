"""What a probe works with: a client, the service's resources, and the words of judgement."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from ...checklist import Assertion
from ..http.request import Request
from ..manifest.model import Manifest
from ..read.openapi import OpenApi
from ..read.shapes import members
from ..service.target import Launch, Target
from ..stage import Stage
from .deadline import Deadline
from .judgement import Judgement
from .resources import Created, Resources

__all__ = ("Bench", "Created")

_T = TypeVar("_T")

_INVENTED = re.compile(r"/[0-9a-f]{32}(?![^/?])")
"""The part of a path that no service has (:meth:`.Resources.unknown_path`)."""


class Bench(Resources, Judgement):
    """The bench of one probe. See :mod:`roadworthy.checker.probe` for how it is used.

    Parameters:
        assertion: what is being tried.
        wanted: the fewest judged samples for a pass.
        stage: what the probes of the phase share.
        target: where requests go at first, instead of the phase's process.
    """

    def __init__(
        self,
        assertion: Assertion,
        wanted: int,
        stage: Stage,
        manifest: Manifest,
        target: Target | None = None,
    ) -> None:
        Resources.__init__(self, stage, manifest, _target=target)
        Judgement.__init__(self, assertion, wanted)
        self.deadline = Deadline()

    def beside(self) -> Bench:
        """Return a second bench of the same probe, to launch and watch a process at the same time.

        What it judges does not count; judge on the first.
        """
        bench = Bench(self.assertion, self.wanted, self.stage, self.manifest, self._target)
        bench.way = self.way
        return bench

    async def use_shared(self) -> None:
        """Make the phase's process the target; the runner does it before the probe begins."""
        self.deadline.pause()
        try:
            await super().use_shared()
        finally:
            self.deadline.resume()

    def route_of(self, request: Request) -> str:
        """Return method and path of a request, the path as the manifest declares it where it has an id."""
        path = request.path.partition("?")[0]
        for route in self.manifest.routes:
            template = route.path.partition("?")[0]
            parts = (re.escape(part) for part in template.split("{id}"))
            if "{id}" in template and re.fullmatch("[^/]+".join(parts), path):
                return f"{request.method} {template}"
        return Judgement.route_of(self, replace(request, path=_INVENTED.sub("/…", request.path)))

    @asynccontextmanager
    async def launch(
        self,
        *,
        env: Mapping[str, str | None] | None = None,
        clean: bool = False,
        production: bool = False,
        workers: int | None = None,
        limited: bool = False,
        draining: bool = False,
        store: str = "own",
        same_store_as: Target | None = None,
        url: str = "",
        wait: bool = True,
        port: int | None = None,
        cwd: Path | None = None,
    ) -> AsyncGenerator[Target]:
        """Start a process of one's own (the parameters are those of :class:`~.target.Launch`).

        Inside the block, requests go to it unless ``target=`` names another.

        Raises:
            StartFailed: it ended or did not become ready; with ``wait=False`` only when it cannot be started.
            ControlFailed: the service has a fixed port, and another process of the probe has it.
        """
        options = Launch(
            env=env or {},
            clean=clean,
            production=production,
            workers=workers,
            limited=limited,
            draining=draining,
            store=store,
            same_store_as=same_store_as,
            url=url,
            wait=wait,
            port=port,
            cwd=cwd,
        )
        before = self._target
        shared = self.stage.shares(before)
        self.deadline.pause()
        try:
            async with self.stage.launch(options) as target:
                self.deadline.resume()
                self._target = target
                try:
                    yield target
                finally:
                    self._target = before
        finally:
            self.deadline.resume()
        if shared and not self.stage.shares(before):
            await self.use_shared()  # it had to end, so that this one could have its port

    async def shared(self, collect: Callable[[Bench], Awaitable[_T]]) -> _T:
        """Return what ``collect`` found; it runs once per phase and way, for whichever probe asks first.

        It gets a bench of its own without a verdict; let it return facts and judge them in the probes.
        """
        bench = self.beside()

        async def run() -> _T:
            try:
                return await collect(bench)
            finally:
                self.requests += bench.requests

        return cast("_T", await self.stage.once((collect, self.way), run))

    async def openapi(self) -> OpenApi:
        """Return the service's OpenAPI document; an empty one when the manifest names none."""
        return await self.shared(_fetch_openapi)


async def _fetch_openapi(bench: Bench) -> OpenApi:
    if not bench.manifest.openapi:
        return OpenApi()
    return OpenApi(members((await bench.get(bench.manifest.openapi)).json()))
