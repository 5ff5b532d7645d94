"""Fill an empty database: ``python -m reference.seed --users 1000 --posts 10`` (posts of each user).

The same arguments give the same rows on every machine, in every implementation: no random numbers, no clock.
User N has the id N, the name ``User N`` and the address ``user-N@example.com``; post M of user N is titled
``Post M of user N`` and has the body ``This is the body of post M.`` and an id counted from 1, user by user.
User 1 is of 2026-01-01T00:00:00Z, each next one a second younger; posts are as old as their user.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Table, insert, select, text

from roadworthy import patterns
from roadworthy.errors import UnavailableError
from roadworthy.patterns import unit_of_work
from roadworthy.settings import SettingsError, load_settings

from . import schema as tables
from .migrate import MigrationError, migrated

__all__ = ("SeedError", "main", "seed", "shown")

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_CHUNK = 1000  # rows that are held at once


class SeedError(Exception):
    """The database holds users already; nothing was changed."""


def seed(url: str, users: int, posts: int) -> None:
    """Fill an empty database with users and their posts, all of them or none.

    Parameters:
        url: of the database; a SQLite file is created, and each is migrated where needed.
        users: how many users.
        posts: how many posts each user gets.

    Raises:
        SeedError: there are users already.
        MigrationError, SettingsError, UnavailableError: see :func:`reference.migrate.migrated`.
    """
    asyncio.run(_seeded(url, users, posts))


async def _seeded(url: str, users: int, posts: int) -> None:
    await migrated(url)
    database = patterns.Database(url, wait=30.0)
    try:
        async with unit_of_work(), database.connection() as connection:
            if (await connection.execute(select(tables.users.c.id).limit(1))).first():
                raise SeedError(
                    f"{shown(url)} holds users already and was left as it is; seed an empty database"
                )
            rows: tuple[tuple[Table, int, Iterator[dict[str, Any]]], ...] = (
                (tables.users, users, _users(users)),
                (tables.posts, users * posts, _posts(users, posts)),
            )
            for table, last, given in rows:
                while chunk := list(islice(given, _CHUNK)):
                    await connection.execute(insert(table), chunk)
                if connection.dialect.name == "postgresql" and last:
                    # Ids that are given do not count in the sequence that gives the next one.
                    sequence = text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)")
                    await connection.execute(sequence, {"table": table.name, "last": last})
    finally:
        await database.stop()


def shown(url: str) -> str:
    """Return what a person may see of a database's URL: the file, or host and name."""
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite"):
        return url.partition(":///")[2]
    return f"{parts.hostname or 'localhost'}{parts.path}"


def _users(count: int) -> Iterator[dict[str, Any]]:
    for n in range(1, count + 1):
        yield {"id": n, "name": f"User {n}", "email": f"user-{n}@example.com", "created_at": _moment(n)}


def _posts(users: int, posts: int) -> Iterator[dict[str, Any]]:
    for user in range(1, users + 1):
        for number in range(1, posts + 1):
            yield {
                "id": (user - 1) * posts + number,
                "user_id": user,
                "title": f"Post {number} of user {user}",
                "body": f"This is the body of post {number}.",
                "created_at": _moment(user),
            }


def _moment(number: int) -> datetime:
    return _FIRST + timedelta(seconds=number - 1)


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
        settings = load_settings()
        patterns.Database.from_settings(settings)  # reports what is wrong with the URL
        url = settings.database_url.get_secret_value()
        seed(url, chosen.users, chosen.posts)
    except (SeedError, MigrationError, SettingsError, UnavailableError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chosen.users} users with {chosen.posts} posts each in {shown(url)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
