"""What the inventory keeps: its items in SQLite, and in a second file what its workers share."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ("BUCKETS", "FAULT", "Conflict", "Inventory", "Missing", "Shared")

FAULT = os.environ.get("BLIND_FAULT", "")
"""The name of the one fault that this process has; none when empty."""

BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

_TABLES = f"""
create table if not exists items (
    id integer primary key {"" if FAULT == "py-txn-orphans" else "autoincrement"},
    name text not null, sku text not null unique, quantity integer not null, extra text not null default '');
create table if not exists notes (
    id integer primary key autoincrement, text text not null,
    item integer not null{"" if FAULT == "py-txn-orphans" else " references items(id) on delete cascade"});
create table if not exists replies (key text primary key, request text not null, row integer not null);
"""


class Missing(Exception):
    """There is no such row."""


class Conflict(Exception):
    """Another item has that value already."""


class Inventory:
    """Items and their notes. Each thread has a connection of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()
        self._cache: dict[int, dict[str, Any]] = {}
        self._deleted: list[int] = []
        connection = self._connection()
        connection.executescript("pragma journal_mode = wal;" + _TABLES)

    def _connection(self) -> sqlite3.Connection:
        found = getattr(self._local, "connection", None)
        if isinstance(found, sqlite3.Connection):
            return found
        connection = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma synchronous = full")
        self._local.connection = connection
        return connection

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("begin immediate")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def ping(self) -> None:
        """Raise when the database cannot be read."""
        self._connection().execute("select 1 from items limit 1").fetchall()

    def create(self, item: dict[str, Any], key: str = "") -> int:
        """Store an item and return its id; under a key that was used before, the id of then."""
        return self._once(key, json.dumps(item, sort_keys=True), lambda change: self._insert(change, item))

    def _once(self, key: str, request: str, write: Callable[[sqlite3.Connection], int]) -> int:
        if FAULT == "py-idem-parallel" and key:
            # Looked up in a transaction of its own, before the one that writes.
            known = self._reply(self._connection(), key, request)
            time.sleep(0.05)
        with self._change() as change:
            if FAULT != "py-idem-parallel":
                known = self._reply(change, key, request)
            if key and known:
                return known
            row = write(change)
            if key:
                change.execute("insert or replace into replies values (?, ?, ?)", (key, request, row))
        return row

    def _reply(self, connection: sqlite3.Connection, key: str, request: str) -> int:
        known = connection.execute("select row, request from replies where key = ?", (key,)).fetchone()
        if known and known["request"] != request:
            raise Conflict("key")
        return int(known["row"]) if known else 0

    def _insert(self, change: sqlite3.Connection, item: dict[str, Any]) -> int:
        try:
            row = change.execute(
                "insert into items (name, sku, quantity) values (:name, :sku, :quantity)", item
            ).lastrowid
        except sqlite3.IntegrityError:
            raise Conflict("sku") from None
        return int(row or 0)

    def read(self, row: int) -> dict[str, Any]:
        """Return an item."""
        if FAULT == "py-svc-stale-delete" and row in self._cache:
            return self._cache[row]
        found = self._connection().execute("select * from items where id = ?", (row,)).fetchone()
        if found is None or row in self._deleted:
            raise Missing
        item = _item(found)
        self._cache[row] = item
        return item

    def page(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Return the items that follow an id, in the order of their ids."""
        rows = self._connection().execute(
            "select * from items where id > ? order by id limit ?", (after, limit)
        )
        items = [_item(row) for row in rows if row["id"] not in self._deleted]
        if FAULT == "py-svc-list-field":
            items = [item | {"reorder_cost": 0} for item in items]
        return items

    def update(self, row: int, item: dict[str, Any]) -> None:
        """Replace an item."""
        if FAULT == "py-ctl-conflict-put":
            # The name is changed by a statement of its own, which is committed before the sku is judged.
            with self._change() as change:
                change.execute("update items set name = :name where id = :id", item | {"id": row})
        with self._change() as change:
            try:
                count = change.execute(
                    "update items set name = :name, sku = :sku, quantity = :quantity, extra = :extra"
                    " where id = :id",
                    {"extra": ""} | item | {"id": row},
                ).rowcount
            except sqlite3.IntegrityError:
                raise Conflict("sku") from None
        self._cache.pop(row, None)
        if not count:
            raise Missing

    def delete(self, row: int) -> None:
        """Delete an item with its notes."""
        if FAULT == "py-txn-delete-lazy":
            self.read(row)
            self._deleted.append(row)
            threading.Timer(2.0, self._sweep, (row,)).start()
            return
        with self._change() as change:
            count = change.execute("delete from items where id = ?", (row,)).rowcount
        if not count:
            raise Missing

    def _sweep(self, row: int) -> None:
        with self._change() as change:
            change.execute("delete from items where id = ?", (row,))

    def add_note(self, row: int, text: str, key: str = "") -> int:
        """Add a note and return its id; under a key that was used before, the id of then."""
        self.read(row)

        def insert(change: sqlite3.Connection) -> int:
            return int(
                change.execute("insert into notes (item, text) values (?, ?)", (row, text)).lastrowid or 0
            )

        return self._once(key, f"{row} {text}", insert)

    def note(self, row: int, note: int) -> dict[str, Any]:
        """Return a note of an item."""
        found = (
            self._connection()
            .execute("select id, text from notes where item = ? and id = ?", (row, note))
            .fetchone()
        )
        if found is None:
            raise Missing
        return dict(found)

    def transfer(self, source: int, target: int, notes: list[int]) -> int:
        """Move notes from one item to another, all or none."""
        self.read(source)
        self.read(target)
        if FAULT == "py-txn-transfer-half":
            # Each note is moved and committed by itself.
            for note in notes:
                with self._change() as change:
                    self._move(change, source, target, note)
            return len(notes)
        with self._change() as change:
            for note in notes:
                self._move(change, source, target, note)
        return len(notes)

    def _move(self, change: sqlite3.Connection, source: int, target: int, note: int) -> None:
        owner = change.execute("select item from notes where id = ?", (note,)).fetchone()
        if owner is None:
            raise Missing
        if owner["item"] != source:
            raise Conflict("owner")
        change.execute("update notes set item = ? where id = ?", (target, note))

    def notes(self, row: int) -> list[dict[str, Any]]:
        """Return the first hundred notes of an item."""
        self.read(row)
        found = self._connection().execute(
            "select id, text from notes where item = ? order by id limit 100", (row,)
        )
        return [dict(note) for note in found]


def _item(row: sqlite3.Row) -> dict[str, Any]:
    item = {name: row[name] for name in ("id", "name", "sku", "quantity")}
    if row["extra"]:
        item |= json.loads(row["extra"])
    return item


class Shared:
    """Counts that all workers of the service keep together, in a file of their own."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        columns = ", ".join(f"b{number} integer not null default 0" for number in range(len(BUCKETS)))
        self._db.executescript(
            f"""
            pragma journal_mode = wal; pragma synchronous = off;
            create table if not exists requests (
                method text, route text, status integer, count integer not null default 0,
                seconds real not null default 0, {columns}, primary key (method, route, status));
            create table if not exists used (
                client text, slot integer, count integer, primary key (client, slot));
            create table if not exists gauge (flying integer not null);
            insert into gauge select 0 where not exists (select 1 from gauge);
            """
        )

    def use(self, client: str, slot: int) -> int:
        """Count a request of a client and return how many it has made in this slot of time."""
        with self._lock:
            row = self._db.execute(
                "insert into used values (?, ?, 1)"
                " on conflict do update set count = count + 1 returning count",
                (client, slot),
            ).fetchone()
        return int(row[0])

    def used(self, client: str, slot: int) -> int:
        """Return how many requests a client has made in this slot of time."""
        with self._lock:
            row = self._db.execute(
                "select count from used where client = ? and slot = ?", (client, slot)
            ).fetchone()
        return int(row[0]) if row else 0

    def fly(self, step: int) -> None:
        """Count a request that begins (1) or ends (-1)."""
        with self._lock:
            self._db.execute("update gauge set flying = flying + ?", (step,))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        hits = {f"b{number}": int(seconds <= edge) for number, edge in enumerate(BUCKETS)}
        names = ", ".join(hits)
        marks = ", ".join("?" for _ in hits)
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in hits)
        with self._lock:
            self._db.execute(
                f"insert into requests (method, route, status, count, seconds, {names})"
                f" values (?, ?, ?, 1, ?, {marks}) on conflict do update set"
                f" count = count + 1, seconds = seconds + excluded.seconds, {sums}",
                (method, route, status, seconds, *hits.values()),
            )

    def rows(self) -> tuple[int, list[tuple[Any, ...]]]:
        """Return the requests in flight, and for each method, route and status what was counted."""
        with self._lock:
            flying = self._db.execute("select flying from gauge").fetchone()[0]
            return int(flying), self._db.execute("select * from requests order by 1, 2, 3").fetchall()
