"""Two hosts with one PostgreSQL and one Redis are one service; tests/proof has the long proofs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ..postgres_server import PostgresServer, StandbyServer
from ..server.load import Client
from .lan import Lan, why_not
from .site import PORT, Site, site
from .writers import post, user


def test_a_limit_and_a_key_hold_across_hosts(tmp_path: Path) -> None:
    """Ten requests are admitted by both together; a key that both get at once is carried out once."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with site(tmp_path, 2, with_redis=True, with_nginx=False, ROADWORTHY_RATE_LIMIT="10/day") as made:
        asyncio.run(_both(made))
        rows = made.postgres.psql("SELECT title FROM posts", database="zoo").stdout.split()
    assert rows == [b"once"]


def test_a_client_reads_on_one_host_what_it_wrote_on_another(tmp_path: Path) -> None:
    """While the standby is behind, whoever wrote reads from the primary, and the others from the standby."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with Lan(2) as lan:
        settings: dict[str, Any] = {"listen_addresses": f"127.0.0.1,{lan.gateway}"}
        with (
            PostgresServer(lan.network, **settings) as primary,
            StandbyServer(primary, lan.network, synchronous=False, **settings) as standby,
            site(
                tmp_path, 2, store=primary, replica=standby, lan=lan, with_redis=True, with_nginx=False
            ) as made,
        ):
            asyncio.run(_written_and_read(made, standby))


async def _written_and_read(made: Site, standby: StandbyServer) -> None:
    here, there = (Client(PORT, host=service.host.address) for service in made.services)
    owner = await user(here, "ada")
    await post(here, owner, "old")
    standby.catch_up()
    assert await _titles(there, owner, "bob", "192.0.2.2") == ["old"]
    standby.fall_behind()
    try:
        await post(here, owner, "new", fields=_client("ada", "192.0.2.1"))
        seen = {who: await _titles(there, owner, *who) for who in _CLIENTS}
    finally:
        standby.catch_up()
    assert seen == {who: ["old", "new"] if wrote else ["old"] for who, wrote in _CLIENTS.items()}
    for client in (here, there):
        client.close()


_CLIENTS = {
    ("ada", "192.0.2.1"): True,
    ("ada", "192.0.2.2"): True,
    ("bob", "192.0.2.1"): True,
    ("bob", "192.0.2.2"): False,
}
"""Users and addresses, and whether that is known to be who wrote."""


def _client(user: str, address: str) -> str:
    return f"Authorization: Bearer {user}\r\nX-Forwarded-For: {address}\r\n"


async def _titles(client: Client, owner: int, user: str, address: str) -> list[str]:
    outcome = await client.ask(f"/api/users/{owner}/posts", fields=_client(user, address))
    assert outcome.status == 200, outcome
    return [one["title"] for one in json.loads(outcome.body)["items"]]


async def _both(made: Site) -> None:
    clients = [Client(PORT, host=service.host.address) for service in made.services]
    owner = await user(clients[0], "ada")
    both = await asyncio.gather(*(post(client, owner, "once") for client in clients))
    assert {one.status for one in both} <= {201, 409}, both
    again = [await post(client, owner, "once") for client in clients]
    bodies = {one.body for one in (*both, *again) if one.status == 201}
    assert ([one.status for one in again], len(bodies)) == ([201, 201], 1)
    # Five of the ten are used up; the other five are left for both together.
    rest = [await client.ask(f"/api/users/{owner}") for _ in range(6) for client in clients]
    assert Counter(one.status for one in rest) == {200: 5, 429: 7}
    for client in clients:
        client.close()
