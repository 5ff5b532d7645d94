"""Two hosts with one PostgreSQL and one Redis are one service; tests/proof has the long proofs."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ..server.load import Client
from .lan import why_not
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
