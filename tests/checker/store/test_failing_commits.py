"""Commits of an SQLite file that fail as on a full disk, in the processes of a service and nowhere else."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.checker.store.faults import Fault, SqliteFile

pytestmark = pytest.mark.anyio

_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE found (number INTEGER)")
print("ready", flush=True)
for line in sys.stdin:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT INTO found VALUES (?)", (int(line),))
        connection.execute("COMMIT")
        print("committed", flush=True)
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        print("failed", flush=True)
"""


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


async def test_commits_fail_until_the_fault_is_over(tmp_path: Path) -> None:
    """What is committed meanwhile fails and leaves nothing; before and afterwards it works."""
    file = tmp_path / "data.db"
    store = SqliteFile(f"sqlite:///{file}", file)
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", _WRITER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        store.pids = lambda: [writer.pid]

        def write(number: int) -> str:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            return writer.stdout.readline().strip()

        assert writer.stdout.readline().strip() == "ready"
        assert write(1) == "committed"
        await store.inject(Fault.COMMIT)
        assert write(2) == "failed"
        await store.restore()
        assert write(3) == "committed"
        await store.close()
        writer.stdin.close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT number FROM found ORDER BY number").fetchall() == [(1,), (3,)]
    connection.close()


async def test_a_process_that_has_ended_is_passed_over(tmp_path: Path) -> None:
    """The fault begins and ends although a listed process is gone; the one that lives is limited."""
    file = tmp_path / "data.db"
    store = SqliteFile(f"sqlite:///{file}", file)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:  # noqa: ASYNC220
        gone.wait()
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as living:
        store.pids = lambda: [gone.pid, living.pid]
        before = resource.prlimit(living.pid, resource.RLIMIT_FSIZE)
        await store.inject(Fault.COMMIT)
        assert resource.prlimit(living.pid, resource.RLIMIT_FSIZE)[0] == 0
        await store.restore()
        assert resource.prlimit(living.pid, resource.RLIMIT_FSIZE) == before
        living.communicate(b"\n")
    await store.close()
