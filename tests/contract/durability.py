"""Writers that keep a ledger of what the service acknowledged while it is killed over and over."""

import itertools
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ..reference_service import Running, reference_service

__all__ = ("Ledger", "kill_while_writing")

_WRITERS = 4


@dataclass
class Ledger:
    """What was acknowledged, and over how many kills."""

    kills: int = 0
    users: dict[int, str] = field(default_factory=dict[int, str])
    posts: dict[int, int] = field(default_factory=dict[int, int])
    deleted: set[int] = field(default_factory=set[int])

    def check(self, database: Path) -> None:
        """Assert that everything acknowledged is there, nothing is half there, the file is sound."""
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            users = dict(connection.execute("SELECT id, email FROM users").fetchall())
            posts = dict(connection.execute("SELECT id, user_id FROM posts").fetchall())
        assert {id_: users.get(id_) for id_ in self.users} == self.users
        assert not self.deleted & users.keys()
        assert {id_: posts.get(id_) for id_ in self.posts} == self.posts


def kill_while_writing(folder: Path, cycles: int, seconds: tuple[float, float] = (0.1, 0.6)) -> Ledger:
    """Kill the service this many times in the midst of writes; check the ledger against the file each time.

    Parameters:
        folder: holds the database.
        cycles: how many kills.
        seconds: each kill comes after a time between these two.
    """
    ledger = Ledger()
    moments = random.Random(cycles)
    for _ in range(cycles):
        with reference_service(folder) as running:
            _writes_until_killed(running, ledger, moments.uniform(*seconds))
        ledger.check(folder / "data.db")
    with reference_service(folder) as running:
        newest = max(ledger.users)
        answer = httpx.get(f"{running.url}/api/users/{newest}", trust_env=False)
        assert answer.json()["email"] == ledger.users[newest]
    ledger.check(folder / "data.db")
    return ledger


def _writes_until_killed(running: Running, ledger: Ledger, seconds: float) -> None:
    before = len(ledger.users)
    writers = [
        threading.Thread(target=_write, args=(running.url, ledger, f"{ledger.kills}-{number}"))
        for number in range(_WRITERS)
    ]
    for writer in writers:
        writer.start()
    # Not before every writer had an answer on average: killing an idle process shows nothing.
    deadline = time.monotonic() + 30
    while len(ledger.users) < before + _WRITERS and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    running.process.send_signal(signal.SIGKILL)
    for writer in writers:
        writer.join()
    ledger.kills += 1
    assert len(ledger.users) > before, "nothing was written before the kill"


def _write(url: str, ledger: Ledger, name: str) -> None:
    # Three kinds of write: a user, a post of this user, and every fourth user deleted again, until no answer
    # comes. What got no answer may have been done or not, so only answers go into the ledger.
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        for number in itertools.count(1):
            email = f"{name}-{number}@example.com"
            try:
                answer = client.post("/api/users", json={"name": name, "email": email})
                user = answer.raise_for_status().json()["id"]
                if number % 4 == 0:
                    client.delete(f"/api/users/{user}").raise_for_status()
                    ledger.deleted.add(user)
                    continue
                ledger.users[user] = email
                answer = client.post(f"/api/users/{user}/posts", json={"title": name, "body": email})
                ledger.posts[answer.raise_for_status().json()["id"]] = user
            except httpx.TransportError:
                return
