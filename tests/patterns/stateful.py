"""Units of work, repositories and idempotency against a model in memory: what a test and a proof run."""

from __future__ import annotations

import asyncio
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from roadworthy import ConflictError, NotFoundError
from roadworthy.patterns import Database, TableAnswers, idempotent, unit_of_work
from roadworthy.patterns.idempotency import KeyReusedError
from roadworthy.types import Message, Receive, Scope, Send
from tests.patience import DEADLINE

from .accounts import Accounts, answers, create, emptied

__all__ = ("Machine", "compare")

EMAILS = st.sampled_from(["a@b.c", "b@b.c", "c@b.c", "d@b.c"])
KEYS = st.sampled_from(["k1", "k2"])

Rows = dict[int, tuple[str, int, int]]
"""Email, balance and version by id."""


class Machine(RuleBasedStateMachine):
    """Drives the real thing and the model alike; after each step both hold the same."""

    server = ""
    """URL of a database on a PostgreSQL server; a SQLite file where there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.rows: Rows = {}
        self.levels: list[tuple[Any, Rows]] = []
        """The open unit and its nested parts: what to leave, and the rows to go back to."""
        self.kept: dict[str, tuple[str, int]] = {}
        """Email and answered id by key."""
        self.last = 0

    @initialize()
    def open(self) -> None:
        if self.server:
            url = self.runner.run(emptied(self.server))
        else:
            path = Path(self.folder.name) / "data.db"
            create(path)
            url = f"sqlite:///{path}"
        self.database = Database(url, wait=DEADLINE, size=3)
        self.accounts = Accounts(self.database)
        self.runner.run(self.database.start())
        self.site = idempotent(self.app, answers=TableAnswers(self.database, answers))

    def teardown(self) -> None:
        while self.levels:
            self.leave(good=False)
        self.runner.run(self.database.stop())
        self.runner.close()
        self.folder.cleanup()

    # -- units of work; the runner keeps one context, in which the unit stays open between steps

    @precondition(lambda self: len(self.levels) < 3)
    @rule()
    def enter(self) -> None:
        unit = unit_of_work(nested=bool(self.levels))
        self.runner.run(unit.__aenter__())
        self.levels.append((unit, deepcopy(self.rows)))

    @precondition(lambda self: bool(self.levels))
    @rule(good=st.booleans())
    def leave(self, good: bool) -> None:
        unit, before = self.levels.pop()
        if good:
            self.runner.run(unit.__aexit__(None, None, None))
            return
        error = ZeroDivisionError()
        assert not self.runner.run(_left(unit, error))
        self.rows = before

    # -- repositories, inside a unit

    @precondition(lambda self: bool(self.levels))
    @rule(email=EMAILS, balance=st.integers(-5, 5))
    def insert(self, email: str, balance: int) -> None:
        if any(row[0] == email for row in self.rows.values()):
            assert self._does(self.accounts.insert({"email": email, "balance": balance})) is ConflictError
            return
        row = self._does(self.accounts.insert({"email": email, "balance": balance}))
        assert row.id not in self.rows
        self.rows[row.id] = (email, balance, 1)

    @precondition(lambda self: bool(self.levels))
    @rule(pick=st.integers(0, 5), email=EMAILS, stale=st.booleans())
    def update(self, pick: int, email: str, stale: bool) -> None:
        id_ = self._some(pick)
        row = self.rows.get(id_)
        version = None if row is None else row[2] - stale
        outcome = self._does(self.accounts.update(id_, {"email": email}, version=version))
        taken = any(other[0] == email for number, other in self.rows.items() if number != id_)
        if row is None:
            assert outcome is NotFoundError
        elif stale or taken:
            assert issubclass(outcome, ConflictError)
        else:
            self.rows[id_] = (email, row[1], row[2] + 1)
            assert (outcome.email, outcome.version) == (email, row[2] + 1)

    @precondition(lambda self: bool(self.levels))
    @rule(pick=st.integers(0, 5))
    def delete(self, pick: int) -> None:
        id_ = self._some(pick)
        outcome = self._does(self.accounts.delete(id_))
        assert outcome is (None if self.rows.pop(id_, None) else NotFoundError)

    # -- requests with a key, each a unit of its own

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Create an account; fail after the write when asked to."""
        message = await receive()
        email, fail = message["body"].decode().split()
        row = await self.accounts.insert({"email": email, "balance": 0})
        if fail == "1":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % row.id})

    @precondition(lambda self: not self.levels)
    @rule(key=KEYS, email=EMAILS, fail=st.booleans())
    def request(self, key: str, email: str, fail: bool) -> None:
        body = f"{email} {int(fail)}"
        outcome = self._does(self._ask(key, body.encode()))
        if key in self.kept:
            known, id_ = self.kept[key]
            assert outcome == b"%d" % id_ if known == body else outcome is KeyReusedError
        elif any(row[0] == email for row in self.rows.values()):
            assert outcome is ConflictError
        elif fail:
            assert outcome is ZeroDivisionError
        else:
            self.kept[key] = (body, int(outcome))
            self.rows[int(outcome)] = (email, 0, 1)

    async def _ask(self, key: str, body: bytes) -> bytes:
        sent: list[Message] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(b"idempotency-key", key.encode())],
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.site(scope, receive, send)
        return bytes(sent[1]["body"])

    # -- what must hold after each step

    @invariant()
    def same_rows(self) -> None:
        if not hasattr(self, "database"):
            return
        page = self.runner.run(self.accounts.list(limit=100))
        assert {one.id: (one.email, one.balance, one.version) for one in page.items} == self.rows

    @invariant()
    def committed_rows(self) -> None:
        if not hasattr(self, "database"):
            return
        seen = self.levels[0][1] if self.levels else self.rows
        engine = self.database.backend.pools[0].engine
        assert self.runner.run(_ids(engine)) == sorted(seen)

    def _some(self, pick: int) -> int:
        known = sorted(self.rows)
        return known[pick] if pick < len(known) else 999

    def _does(self, work: Any) -> Any:
        """Do it as a part that may fail alone; return its outcome, or the class of its error."""
        return self.runner.run(_tried(work, nested=bool(self.levels)))


async def _tried(work: Any, nested: bool) -> Any:
    try:
        if not nested:
            return await work
        async with unit_of_work(nested=True):
            return await work
    except (ConflictError, NotFoundError, KeyReusedError, ZeroDivisionError) as error:
        return type(error)


async def _left(unit: Any, error: Exception) -> bool:
    try:
        return bool(await unit.__aexit__(type(error), error, None))
    except ZeroDivisionError:
        return False


async def _ids(engine: Any) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT id FROM accounts ORDER BY id"))).scalars())


def compare(examples: int, steps: int, *, same_each_time: bool = False, server: str = "") -> None:
    """Run the machine: ``examples`` sequences of up to ``steps`` steps, on SQLite or a PostgreSQL server."""
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=same_each_time
    )
    run_state_machine_as_test(type("Machine", (Machine,), {"server": server}), settings=chosen)
