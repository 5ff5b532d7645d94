"""Datasette over a small database, with somebody who may write into it."""

import sqlite3
from pathlib import Path

from datasette.app import Datasette

_FILE = Path("plants.db")
if not _FILE.exists():
    with sqlite3.connect(_FILE) as connection:
        connection.execute("CREATE TABLE plants (id INTEGER PRIMARY KEY, name TEXT, height REAL, photo BLOB)")
        rows = [(f"plant {number}", number / 10, bytes([number % 256]) * 20) for number in range(300)]
        connection.executemany("INSERT INTO plants (name, height, photo) VALUES (?, ?, ?)", rows)

_QUERIES = {"add": {"sql": "INSERT INTO plants (name, height) VALUES (:name, :height)", "write": True}}
app = Datasette(
    [str(_FILE)], secret="a secret of the proof", metadata={"databases": {"plants": {"queries": _QUERIES}}}
).app()
