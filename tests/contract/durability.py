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
from typing import Any, TypeAlias

import httpx

from tests.patience import DEADLINE, until

from ..postgres_server import PostgresServer
from ..reference_service import Running, reference_service

__all__ = ("Ledger", "kill_while_writing")

_WRITERS = 4


Body = dict[str, Any]


@dataclass
class Ledger:
    """What was acknowledged, and over how many kills."""

    kills: int = 0
    users: dict[int, str] = field(default_factory=dict[int, str])
    posts: dict[int, int] = field(default_factory=dict[int, int])
    deleted: set[int] = field(default_factory=set[int])
    transfers: int = 0
    repeated: int = 0
    """Requests that got no answer and were sent again, with the same key, to the next process."""
    unanswered: dict[str, tuple[str, Body]] = field(default_factory=dict[str, tuple[str, Body]])
    """Path and body by key: done or not, but wholly."""

    def learn(self, path: str, body: Body, answer: Body) -> None:
        """Note what a 2xx says."""
        if path == "/api/users":
            self.users[answer["id"]] = body["email"]
        elif path == "/api/transfers":
            assert answer == {"moved": len(body["post_ids"])}
            self.posts.update(dict.fromkeys(body["post_ids"], body["to_user"]))
            self.transfers += 1
        else:
            self.posts[answer["id"]] = answer["user_id"]

    @property
    def acknowledged(self) -> int:
        """How many writes were answered 2xx."""
        return len(self.users) + len(self.posts) + 2 * len(self.deleted) + self.transfers

    def check(self, users: dict[int, str], posts: dict[int, int], twice: list[str]) -> None:
        """Assert that everything acknowledged is there and nothing is half there.

        Parameters:
            users: e-mail addresses by number.
            posts: owners by number.
            twice: titles that several posts have.
        """
        assert twice == [], "a request with a key was carried out twice"
        assert {id_: users.get(id_) for id_ in self.users} == self.users
        assert not self.deleted & users.keys()
        moving: set[int] = set()
        for path, body in self.unanswered.values():
            if path == "/api/transfers":
                owners = {posts[id_] for id_ in body["post_ids"]}
                assert len(owners) == 1, "a transfer was half done"
                moving |= set(body["post_ids"])
        known = self.posts.keys() - moving
        assert {id_: posts.get(id_) for id_ in known} == {id_: self.posts[id_] for id_ in known}


def kill_while_writing(
    folder: Path,
    cycles: int,
    seconds: tuple[float, float] = (0.1, 0.6),
    postgres: PostgresServer | None = None,
) -> Ledger:
    """Kill the service this many times in the midst of writes; check the ledger against the rows each time.

    Parameters:
        folder: holds the database, if it is a file.
        cycles: how many kills.
        seconds: each kill comes after a time between these two.
        postgres: holds the database otherwise.
    """
    ledger = Ledger()
    moments = random.Random(cycles)
    url = f"sqlite:///{folder}/data.db" if postgres is None else postgres.fresh_url()

    def check() -> None:
        ledger.check(*(_rows(folder / "data.db") if postgres is None else _rows_of(postgres, url)))

    for _ in range(cycles):
        with reference_service(folder, DATABASE_URL=url) as running:
            _repeat_unanswered(running.url, ledger)
            _writes_until_killed(running, ledger, moments.uniform(*seconds))
        check()
    with reference_service(folder, DATABASE_URL=url) as running:
        _repeat_unanswered(running.url, ledger)
        newest = max(ledger.users)
        answer = httpx.get(f"{running.url}/api/users/{newest}", trust_env=False)
        assert answer.json()["email"] == ledger.users[newest]
    check()
    return ledger


_Rows: TypeAlias = tuple[dict[int, str], dict[int, int], list[str]]

_USERS = "SELECT id, email FROM users"
_POSTS = "SELECT id, user_id FROM posts"
_TWICE = "SELECT title FROM posts GROUP BY title HAVING count(*) > 1"


def _rows(database: Path) -> _Rows:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        users = dict(connection.execute(_USERS).fetchall())
        posts = dict(connection.execute(_POSTS).fetchall())
        return users, posts, [title for (title,) in connection.execute(_TWICE).fetchall()]


def _rows_of(server: PostgresServer, url: str) -> _Rows:
    def ask(statement: str) -> list[list[str]]:
        answer = server.psql(statement, database=url.rpartition("/")[2]).stdout.decode()
        return [line.split("|") for line in answer.splitlines()]

    users = {int(number): email for number, email in ask(_USERS)}
    posts = {int(number): int(owner) for number, owner in ask(_POSTS)}
    return users, posts, [title for (title,) in ask(_TWICE)]


def _writes_until_killed(running: Running, ledger: Ledger, seconds: float) -> None:
    before = len(ledger.users)
    writers = [
        threading.Thread(target=_write, args=(running.url, ledger, f"{ledger.kills}-{number}"))
        for number in range(_WRITERS)
    ]
    for writer in writers:
        writer.start()
    # Not before every writer had an answer on average: killing an idle process shows nothing.
    deadline = time.monotonic() + DEADLINE
    while len(ledger.users) < before + _WRITERS and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    running.process.send_signal(signal.SIGKILL)
    for writer in writers:
        writer.join()
    ledger.kills += 1
    assert len(ledger.users) > before, "nothing was written before the kill"


def _repeat_unanswered(url: str, ledger: Ledger) -> None:
    # Twice each: done before the kill or not, it is done once now, and both get the same answer.
    with httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE) as client:
        for key, (path, body) in list(ledger.unanswered.items()):
            first, again = [_repeated(client, path, body, key) for _ in range(2)]
            assert first.content == again.content
            ledger.learn(path, body, first.json())
            ledger.repeated += 1
            del ledger.unanswered[key]


def _repeated(client: httpx.Client, path: str, body: Body, key: str) -> httpx.Response:
    def ask() -> httpx.Response | None:
        answer = client.post(path, json=body, headers={"Idempotency-Key": key})
        # PostgreSQL may not have noticed yet that whoever sent it first is gone.
        return None if answer.status_code == httpx.codes.CONFLICT else answer.raise_for_status()

    made: httpx.Response = until(ask, "a key is free")
    return made


def _write(url: str, ledger: Ledger, name: str) -> None:
    # Four kinds of write: two users, two posts of the first, both posts given to the second, and every fourth
    # time a user who is deleted again; until no answer comes. What got no answer may have been done or not.
    with httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE) as client:

        def create(path: str, key: str, body: Body) -> int:
            ledger.unanswered[key] = (path, body)
            answer = client.post(path, json=body, headers={"Idempotency-Key": key}).raise_for_status()
            ledger.learn(path, body, answer.json())
            del ledger.unanswered[key]
            return int(answer.json().get("id", 0))

        for number in itertools.count(1):
            label = f"{name}-{number}"
            try:
                giver, taker = [
                    create("/api/users", f"{label}-{n}", {"name": name, "email": f"{label}-{n}@example.com"})
                    for n in (1, 2)
                ]
                posts = [
                    create(f"/api/users/{giver}/posts", title, {"title": title, "body": ""})
                    for title in (f"{label}-p1", f"{label}-p2")
                ]
                order = {"from_user": giver, "to_user": taker, "post_ids": posts}
                create("/api/transfers", f"{label}-t", order)
                if number % 4 == 0:
                    email = f"{label}-gone@example.com"
                    answer = client.post("/api/users", json={"name": name, "email": email})
                    user = answer.raise_for_status().json()["id"]
                    client.delete(f"/api/users/{user}").raise_for_status()
                    ledger.deleted.add(user)
            except httpx.TransportError:
                return
