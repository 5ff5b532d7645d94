"""Fill an empty database: ``python -m reference.seed --users 1000 --posts 10`` (posts of each user).

The same arguments give the same rows on every machine, in every implementation: no random numbers, no clock.
User N has the id N, the name ``User N`` and the address ``user-N@example.com``; post M of user N is titled
``Post M of user N`` and has the body ``This is the body of post M.`` and an id counted from 1, user by user.
User 1 is of 2026-01-01T00:00:00Z, each next one a second younger; posts are as old as their user.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from roadworthy.settings import SettingsError, load_settings

from .database import database_path
from .migrate import MigrationError, migrate

__all__ = ("SeedError", "main", "seed")

_FIRST = datetime(2026, 1, 1)


class SeedError(Exception):
    """The database holds users already; nothing was changed."""


def seed(path: Path, users: int, posts: int) -> None:
    """Fill an empty database with users and their posts, all of them or none.

    Parameters:
        path: the database file; it is created and migrated where needed.
        users: how many users.
        posts: how many posts each user gets.

    Raises:
        SeedError: there are users already.
        MigrationError: see :func:`reference.migrate.migrate`.
    """
    migrate(path)
    with closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT 1 FROM users LIMIT 1").fetchone():
            raise SeedError(f"{path} holds users already and was left as it is; seed an empty database")
        connection.executemany(
            "INSERT INTO users (id, name, email, created_at) VALUES (?, ?, ?, ?)",
            ((n, f"User {n}", f"user-{n}@example.com", _moment(n)) for n in range(1, users + 1)),
        )
        connection.executemany(
            "INSERT INTO posts (id, user_id, title, body, created_at) VALUES (?, ?, ?, ?, ?)",
            _posts(users, posts),
        )
        connection.execute("COMMIT")


def _posts(users: int, posts: int) -> Iterator[tuple[int, int, str, str, str]]:
    for user in range(1, users + 1):
        moment = _moment(user)
        for number in range(1, posts + 1):
            title = f"Post {number} of user {user}"
            yield (user - 1) * posts + number, user, title, f"This is the body of post {number}.", moment


def _moment(number: int) -> str:
    return (_FIRST + timedelta(seconds=number - 1)).isoformat(" ") + ".000000"


def _count(value: str) -> int:
    number = int(value)
    if number < 0:
        raise argparse.ArgumentTypeError("a count is not negative")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, fill the database and say what was done."""
    parser = argparse.ArgumentParser(prog="python -m reference.seed", description="Fill an empty database.")
    parser.add_argument("--users", type=_count, required=True, help="how many users")
    parser.add_argument("--posts", type=_count, required=True, help="how many posts each of them gets")
    chosen = parser.parse_args(arguments)
    try:
        path = database_path(load_settings().database_url.get_secret_value())
        seed(path, chosen.users, chosen.posts)
    except (SeedError, MigrationError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chosen.users} users with {chosen.posts} posts each in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
