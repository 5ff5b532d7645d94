"""A service of notes over one of several kinds of store, as people write such services; run as a script.

``NOTES`` is ``json:db.json``, ``sqlite:notes.db``, or the URL of a PostgreSQL, MySQL or Redis server;
``NOTES_TABLES=no`` leaves it to others to make tables. A file with ``beside`` in its name is beside this
script, whatever the working folder is.
"""

import asyncio
import json
import os
import re
import sqlite3
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_PLACE = os.environ.get("NOTES", "")
_MAKES_TABLES = os.environ.get("NOTES_TABLES") != "no"
_LOCK = threading.Lock()


def _file() -> Path:
    name = re.sub(r"^(json|sqlite):(///)?", "", _PLACE)
    return Path(__file__).resolve().parent / name if "beside" in name else Path(name)


class Json:
    """All notes in one file, which is written anew each time."""

    def read(self) -> dict[str, Any]:
        """Return all notes."""
        return dict(json.loads(_file().read_text())) if _file().exists() else {}

    def add(self, note: Any) -> str:
        """Add one."""
        notes = self.read()
        name = str(max(map(int, notes), default=0) + 1)
        _file().write_text(json.dumps({**notes, name: note}))
        return name

    def drop(self, name: str) -> None:
        """Delete one."""
        _file().write_text(json.dumps({one: note for one, note in self.read().items() if one != name}))


class Sqlite:
    """A row for each note."""

    def __init__(self) -> None:
        if _MAKES_TABLES:
            self._do("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, note TEXT)")

    def _do(self, statement: str, *values: str) -> Any:
        connection = sqlite3.connect(_file())
        try:
            with connection:
                cursor = connection.execute(statement, values)
                return cursor.lastrowid if statement.startswith("INSERT") else cursor.fetchall()
        finally:
            connection.close()

    def read(self) -> dict[str, Any]:
        """Return all notes."""
        return {str(name): json.loads(note) for name, note in self._do("SELECT id, note FROM notes")}

    def add(self, note: Any) -> str:
        """Add one."""
        return str(self._do("INSERT INTO notes (note) VALUES (?)", json.dumps(note)))

    def drop(self, name: str) -> None:
        """Delete one."""
        self._do("DELETE FROM notes WHERE id = ?", name)


class Postgres:
    """A row for each note, over one connection."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(self._connect())

    async def _connect(self) -> Any:
        import asyncpg

        connection = await asyncpg.connect(_PLACE)
        if _MAKES_TABLES:
            await connection.execute("CREATE TABLE IF NOT EXISTS notes (id serial PRIMARY KEY, note text)")
        return connection

    def _do(self, statement: str, *values: Any) -> Any:
        return self._loop.run_until_complete(self._connection.fetch(statement, *values))

    def read(self) -> dict[str, Any]:
        """Return all notes."""
        return {str(row["id"]): json.loads(row["note"]) for row in self._do("SELECT id, note FROM notes")}

    def add(self, note: Any) -> str:
        """Add one."""
        return str(self._do("INSERT INTO notes (note) VALUES ($1) RETURNING id", json.dumps(note))[0]["id"])

    def drop(self, name: str) -> None:
        """Delete one."""
        self._do("DELETE FROM notes WHERE id = $1", int(name))


class Mysql:
    """A row for each note, over one connection."""

    def __init__(self) -> None:
        import pymysql

        url = urlsplit(_PLACE)
        self._connection = pymysql.connect(
            host=url.hostname or "",
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.path.lstrip("/"),
            autocommit=True,
        )
        if _MAKES_TABLES:
            self._do("CREATE TABLE IF NOT EXISTS notes (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT)")

    def _do(self, statement: str, *values: Any) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.lastrowid if statement.startswith("INSERT") else cursor.fetchall()

    def read(self) -> dict[str, Any]:
        """Return all notes."""
        return {str(name): json.loads(note) for name, note in self._do("SELECT id, note FROM notes")}

    def add(self, note: Any) -> str:
        """Add one."""
        return str(self._do("INSERT INTO notes (note) VALUES (%s)", json.dumps(note)))

    def drop(self, name: str) -> None:
        """Delete one."""
        self._do("DELETE FROM notes WHERE id = %s", int(name))


class Redis:
    """A hash, and a counter for the ids."""

    def __init__(self) -> None:
        import redis

        self._client = redis.Redis.from_url(_PLACE, decode_responses=True)

    def read(self) -> dict[str, Any]:
        """Return all notes."""
        found: Any = self._client.hgetall("notes")
        return {name: json.loads(note) for name, note in found.items()}

    def add(self, note: Any) -> str:
        """Add one."""
        name = str(self._client.incr("ids"))
        self._client.hset("notes", name, json.dumps(note))
        return name

    def drop(self, name: str) -> None:
        """Delete one."""
        self._client.hdel("notes", name)


_KINDS: dict[str, Callable[[], Any]] = {
    "json": Json,
    "sqlite": Sqlite,
    "postgresql": Postgres,
    "mysql": Mysql,
    "redis": Redis,
}


class Handler(BaseHTTPRequestHandler):
    """Answers in JSON."""

    protocol_version = "HTTP/1.1"
    store: Any = None

    def _answer(self, status: int, value: Any) -> None:
        data = b"" if status == 204 else json.dumps(value).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self) -> None:
        """Answer with one note, or with all."""
        path = urlsplit(self.path).path
        if path == "/healthz":
            self._answer(200, {"status": "ok"})
            return
        with _LOCK:
            notes = self.store.read()
        if path == "/notes":
            self._answer(200, [{"id": name, **note} for name, note in notes.items()])
        elif (name := path.removeprefix("/notes/")) in notes:
            self._answer(200, {"id": name, **notes[name]})
        else:
            self._answer(404, {"title": "no such note"})

    def do_POST(self) -> None:
        """Add a note."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            note = json.loads(body)
            text = note["text"]
        except (ValueError, TypeError, KeyError):
            self._answer(400, {"title": "not a note"})
            return
        if not isinstance(text, str):
            self._answer(422, {"title": "no text"})
            return
        with _LOCK:
            name = self.store.add({"text": text})
        self._answer(201, {"id": name, "text": text})

    def do_DELETE(self) -> None:
        """Delete a note."""
        with _LOCK:
            self.store.drop(urlsplit(self.path).path.removeprefix("/notes/"))
        self._answer(204, None)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


def main(place: str) -> None:
    """Serve the notes of a store."""
    if "NOTES_REPLICA_URLS" in os.environ:
        raise SystemExit("notes are read from a standby, and this database has none")
    global _PLACE
    _PLACE = place
    Handler.store = _KINDS[urlsplit(_PLACE).scheme]()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main(_PLACE)
