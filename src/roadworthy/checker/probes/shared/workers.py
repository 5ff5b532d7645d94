"""Which processes of a service answer requests, and which only help."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ...bench import Bench
from ...http.wire import Connection, DialFailed
from ...service.linux import established, listening

__all__ = ("owners", "serving")

_EACH = 4
"""Connections for each process: a balancer that chooses at random misses one of two with 1 in 16."""


def owners(bench: Bench, connections: Iterable[Connection]) -> dict[Connection, int]:
    """Return which process has the other end of each connection."""
    ports = {int(connection.sock.getsockname()[1]): connection for connection in connections}
    return {
        ports[port]: one.pid
        for one in bench.target.process.tree()
        for _, (_, port) in established([one.pid])
        if port in ports
    }


async def serving(bench: Bench) -> set[tuple[int, int]]:
    """Return id and start of the processes that have the listener, or a connection that is opened for it.

    Workers of Node's cluster have a connection and not the listener. A compiler, a browser or a cron job that
    the service started has neither.
    """
    tree = bench.target.process.tree()
    if len(tree) == 1:
        return {(one.pid, one.started) for one in tree}
    path = bench.manifest.health.live or "/"
    held: list[Connection] = []

    async def hold() -> None:
        try:
            connection = await bench.connect()
        except DialFailed:
            return
        held.append(connection)
        await connection.exchange("GET", path, bench.headers(), None, bench.patience(5.0))

    await asyncio.gather(*(hold() for _ in range(_EACH * len(tree))))
    holders = set(owners(bench, held).values())
    port = bench.target.address.port
    found = {
        (one.pid, one.started)
        for one in tree
        if one.pid in holders or any(number == port for _, number in listening([one.pid]))
    }
    for connection in held:
        await connection.close()
    return found
