"""A database whose host falls silent, as without power: nothing is refused and nothing answers."""

from __future__ import annotations

import asyncio
import time

import pytest

from roadworthy import UnavailableError
from roadworthy.patterns import Database
from tests.patience import DEADLINE

from ..postgres_server import PostgresServer
from .lan import Host, Lan, why_not
from .site import relayed


def test_a_silent_connection_is_given_up() -> None:
    """A statement on a connection whose other end is gone fails in seconds, and the next one works."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Lan(1) as lan:
        host = lan.hosts[0]
        listens = f"127.0.0.1,{lan.gateway}"
        with (
            PostgresServer(lan.network, listen_addresses=listens) as server,
            relayed(host, server, lan.gateway) as url,
        ):
            took = asyncio.run(_silent(url, host))
    assert took < 30.0, "TCP by itself gives up after a quarter of an hour"


async def _silent(url: str, host: Host) -> float:
    database = Database(url, wait=3.0, size=1)
    async with asyncio.timeout(DEADLINE):
        await _opened(database)
        host.cut()
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            await database.ping()
        took = time.monotonic() - began
        host.join()
        await _opened(database)
    await database.stop()
    return took


async def _opened(database: Database) -> None:
    while True:
        try:
            await database.ping()
        except UnavailableError:
            continue
        return
