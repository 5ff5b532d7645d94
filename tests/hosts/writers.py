"""Clients that write over and over, and know what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from types import TracebackType
from typing import Self

from tests.patience import DEADLINE, eventually

from ..postgres_server import PostgresServer
from ..server.load import Client, Outcome

__all__ = ("Writers", "failed", "post", "user")

_PASSING = frozenset((502, 503, 504))
"""What proxies and services answer while something is away (RFC 9110 §15.6.3 to §15.6.5)."""
_CREATED = 201

_JSON = "Content-Type: application/json\r\n"


def failed(outcome: Outcome) -> bool:
    """Return whether a request got no answer of the service's, or one of 500 and above."""
    return outcome.kind != "ok" or outcome.status >= 500


async def user(client: Client, name: str) -> int:
    """Create a user and return the number."""
    body = json.dumps({"name": name, "email": f"{name}@example.com"}).encode()
    outcome = await client.ask("/api/users", "POST", body, _JSON)
    assert outcome.status == _CREATED, outcome
    return int(json.loads(outcome.body)["id"])


async def post(client: Client, owner: int, key: str, title: str | None = None, fields: str = "") -> Outcome:
    """Write a post with an Idempotency-Key, which is its title too when none is given."""
    body = json.dumps({"title": title or key, "body": ""}).encode()
    lines = f"{_JSON}Idempotency-Key: {key}\r\n{fields}"
    return await client.ask(f"/api/users/{owner}/posts", "POST", body, lines)


class Writers:
    """Closed loops: each client sends its next request when the last one has ended; a third of them read.

    Parameters:
        port: of a proxy on this machine.
        name: no other writers of the same database have it.
        clients: how many.
        timeout: seconds for one request.
    """

    def __init__(self, port: int, name: str, clients: int = 12, timeout: float = DEADLINE) -> None:
        self.acknowledged: dict[str, int] = {}
        """The number of each post by its title."""
        self.unanswered: set[str] = set()
        """Titles that were sent: done or not."""
        self.writes: list[Outcome] = []
        self.reads: list[Outcome] = []
        self.wrong: list[str] = []
        """Answers that must never be."""
        self.clients = clients
        self._port = port
        self._name = name
        self._timeout = timeout
        self._owner = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        client = Client(self._port, self._timeout)
        self._owner = await user(client, self._name)
        client.close()
        for number in range(self.clients):
            loop = self._read() if number % 3 == 0 else self._write(number)
            self._tasks.append(asyncio.create_task(loop))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        if error is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=error is not None)

    async def more(self, count: int = 0) -> None:
        """Wait until so many more were answered as they should be; by default some for each client."""
        wanted = self.good + (count or 5 * self.clients)
        await eventually(lambda: self.good >= wanted, "requests are answered")

    @property
    def good(self) -> int:
        """How many were answered well so far."""
        return sum(not failed(one) for one in (*self.writes, *self.reads))

    @property
    def failures(self) -> list[Outcome]:
        """All requests that failed."""
        return [one for one in (*self.writes, *self.reads) if failed(one)]

    def failures_since(self, moment: float) -> list[Outcome]:
        """Return the requests that failed and were begun after a moment of ``time.monotonic``."""
        return [one for one in self.failures if one.began > moment]

    @property
    def kinds(self) -> Counter[str]:
        """How requests ended, by status, or by what came in the place of a response."""
        return Counter(
            str(one.status) if one.kind == "ok" else one.kind for one in (*self.writes, *self.reads)
        )

    async def settle(self) -> int:
        """Send again, with the same keys, what got no answer; return how many."""
        client = Client(self._port, self._timeout)
        again = sorted(self.unanswered)
        for title in again:
            async with asyncio.timeout(self._timeout):
                # 409 while a server has not yet noticed that whoever sent it first is gone.
                while not self._learn(title, await post(client, self._owner, title)):
                    await asyncio.sleep(0.1)
        client.close()
        return len(again)

    def check(self, postgres: PostgresServer, database: str = "zoo") -> None:
        """Assert that all that was acknowledged is there, nothing is there twice, no answer was wrong."""
        assert self.wrong == []
        rows = postgres.psql("SELECT title, id FROM posts", database=database).stdout.decode().splitlines()
        found = [line.rpartition("|") for line in rows]
        there = Counter(title for title, _, _ in found)
        assert [title for title, count in there.items() if count > 1] == [], "a key was carried out twice"
        ids = {title: int(number) for title, _, number in found}
        lost = {title: number for title, number in self.acknowledged.items() if ids.get(title) != number}
        assert lost == {}, "acknowledged writes were lost"

    def _learn(self, title: str, outcome: Outcome) -> bool:
        if outcome.kind != "ok" or outcome.status in _PASSING or b"KEY_IN_USE" in outcome.body:
            return False
        if outcome.status != _CREATED or json.loads(outcome.body).get("title") != title:
            self.wrong.append(f"{title}: {outcome.status} {outcome.body!r}")
            return False
        self.acknowledged[title] = json.loads(outcome.body)["id"]
        self.unanswered.discard(title)
        return True

    async def _write(self, number: int) -> None:
        client = Client(self._port, self._timeout)
        for count in itertools.count(1):
            if self._stopping:
                break
            title = f"{self._name}-{number}-{count}"
            self.unanswered.add(title)
            outcome = await post(client, self._owner, title)
            self._learn(title, outcome)
            self.writes.append(outcome)
            await asyncio.sleep(0.01)
        client.close()

    async def _read(self) -> None:
        client = Client(self._port, self._timeout)
        while not self._stopping:
            outcome = await client.ask(f"/api/users/{self._owner}")
            answered = outcome.kind == "ok" and outcome.status not in _PASSING
            if answered and json.loads(outcome.body).get("name") != self._name:
                self.wrong.append(f"read: {outcome.status} {outcome.body!r}")
            self.reads.append(outcome)
            await asyncio.sleep(0.01)
        client.close()
