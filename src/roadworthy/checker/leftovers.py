"""Sees at the first start where a service keeps its data, and removes at the end what was created there."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

from .bench.resources import Resources
from .errors import StartFailed
from .manifest.variables import store_url
from .phases import Phase
from .service.folder import copy_data, sqlite_file
from .service.target import Launch, Target
from .stage import RunContext, Stage
from .store.faults import SqliteFile

__all__ = ("remove_created", "start_first")

_AT_ONCE = 8
_REMOVING = 60.0
"""Seconds after which what is still there is left, and reported."""


async def start_first(context: RunContext, first: Stage, *, shared: bool) -> None:
    """Start the service for the first time, and again where it has to be: on the shared process of a stage.

    Parameters:
        shared: whether that phase has a shared process; without one the service is only tried.

    Raises:
        StartFailed: it does not start.
    """
    if shared or not context.manifest.startable:
        if await _look_around(context, await first.target()):
            await first.replace_target()
            context.first = None
            await first.target()
        return
    target = await context.launch(Launch())
    try:
        await _look_around(context, target)
    finally:
        await context.close(target)


async def _look_around(context: RunContext, target: Target) -> bool:
    """Ask the first service for what it has, and look where it keeps that; True when it has to start anew.

    Its own databases may be empty where the declared ones are not. A service that makes its tables itself has
    done so once it is ready; for another, nothing that it answers then would say anything about it.
    """
    if target.service is None:
        return False
    custody = context.custody
    await _read_something(context, target)
    custody.look_first(target.service, target.place)
    again = False
    for url, server in list(custody.stores.doubtful()):
        lease = next(
            (one for one in (target.lease, *target.place.leases) if one and one.server is server), None
        )
        if lease is not None and not await server.is_filled(lease.url):
            custody.stores.refuse(url, "the service does not fill an empty one")
            await server.close()
            custody.forbid(
                "the declared database could not be copied, because others are connected to it or it is "
                "large, and the service makes no tables in an empty one (database.setup would)"
            )
            again = True
    lease = target.lease
    if lease is not None and context.manifest.health.ready and not again:
        # To migrate an empty database takes up to a third of a start, and dozens follow.
        lease.kept = again = await lease.server.adopt(lease.url)
    if isinstance(target.store, SqliteFile) and not context.manifest.database.setup:
        again = await asyncio.to_thread(_declared_is_needed, context, target.store.file) or again
    return again


async def _read_something(context: RunContext, target: Target) -> None:
    """Send a few requests that change nothing, so that a service opens the store that it opens late."""
    manifest, routes = context.manifest, context.manifest.routes.by_role
    client = Resources(Stage(context, Phase.START), manifest, _target=target)
    paths = [manifest.health.ready, *(routes[role].path for role in ("list",) if role in routes)]
    if "read" in routes and routes["read"].literal:
        paths.append(routes["read"].path.replace("{id}", routes["read"].literal))
    for path in dict.fromkeys(filter(None, paths)):
        await client.get(path, patient=False)


def _declared_is_needed(context: RunContext, own: Path) -> bool:
    """Let every start begin with a copy of the declared file where the service makes no tables itself."""
    declared = sqlite_file(store_url(context.manifest), context.custody.cwd)
    if declared is None or not declared.is_file() or _tables(own):
        return False
    copy = context.folder / "declared.db"
    copy_data(declared, copy)
    if not _tables(copy):
        return False
    context.prepared = copy
    return True


def _tables(file: Path) -> int:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as connection:
        ((found,),) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
        return int(found)
    return 0


async def remove_created(context: RunContext, notice: Callable[[str], None]) -> None:
    """Delete through ``routes.delete`` what was created in a store that stays, and report what is left."""
    custody = context.custody
    if not custody.why or not custody.created:
        return
    left = len(custody.created)
    route = context.manifest.routes.by_role.get("delete")
    if route is not None:
        custody.removing = True
        stage = Stage(context, Phase.START)
        with contextlib.suppress(StartFailed):
            target = await context.launch(Launch())
            try:
                client = Resources(stage, context.manifest, _target=target)
                left -= await _removed(client, list(custody.created))
            finally:
                await context.close(target)
    total = len(custody.created)
    how = (
        "routes.delete is not declared" if route is None else f"{total - left} of {total} were deleted again"
    )
    if left:
        notice(f"the check created resources in a store that stays, and {left} of them are left: {how}")


async def _removed(client: Resources, identifiers: list[str]) -> int:
    """Return how many of these could be deleted."""
    route = client.manifest.routes.by_role["delete"]
    places = asyncio.Semaphore(_AT_ONCE)
    gone = 0

    async def one(identifier: str) -> None:
        nonlocal gone
        async with places:
            answer = await client.call(route, identifier)
            # Probes delete what they create, too.
            gone += answer.ok or answer.status in {404, 410}

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REMOVING):
            await asyncio.gather(*map(one, identifiers))
    return gone
