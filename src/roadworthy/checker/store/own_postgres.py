"""Databases of the check's own on a PostgreSQL server: copies of the declared one.

Source: PostgreSQL documentation, "CREATE DATABASE", "DROP DATABASE" and "Template Databases".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from .own import PREFIX, CannotOwn, OwnServer
from .postgres_client import AskFailed, PostgresSession

__all__ = ("OwnPostgres",)

_SESSION = "roadworthy-check-"
"""The beginning of the name that the session of a run has on the server: it lives as long as the run."""
_MOST_BYTES = 256 << 20
"""A larger database takes longer to copy for each of dozens of starts than what it is copied for."""
_COPYING = 120.0
_DENIED = "42501"
_TABLES = """
SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
"""
# Whose session is gone was killed. Only what this user made can be removed by this user.
_ABANDONED = f"""
SELECT datname FROM pg_database
WHERE datname LIKE replace('{PREFIX}', '_', '\\_') || '%' AND pg_get_userbyid(datdba) = current_user
AND split_part(datname, '_', 3) NOT IN (
    SELECT split_part(application_name, '-', 3) FROM pg_stat_activity
    WHERE application_name LIKE '{_SESSION}%'
)
"""  # noqa: S608


class OwnPostgres(OwnServer):
    """Makes databases beside the one that a URL names.

    Parameters:
        marker: of the run; letters and digits.
    """

    def __init__(self, url: str, marker: str) -> None:
        self._url = url
        self._marker = marker
        self._parts = urlsplit(url)
        self._numbers = itertools.count(1)
        self._session: PostgresSession | None = None
        self._base = f"{PREFIX}{marker}_base"
        self._filling = asyncio.Lock()
        self._filled = False
        self._is_empty = False
        self._over = False

    async def prepare(self) -> None:
        """Copy the declared database once: all others are made from this copy, to which nobody connects."""
        try:
            size, tables = await self._look_at_declared()
            session = await self._connected()
            for (name,) in await session.ask(_ABANDONED):
                with contextlib.suppress(AskFailed):
                    await self._drop(str(name))
            copied = size <= _MOST_BYTES and await self._copy()
            if not copied:
                await self._run(f"CREATE DATABASE {_quoted(self._base)}")
            if size <= _MOST_BYTES and tables and not copied:
                copied = await asyncio.to_thread(_dump, self._url, self._base)
                if not copied:  # half a copy is worse than none
                    await self._drop(self._base)
                    await self._run(f"CREATE DATABASE {_quoted(self._base)}")
        except AskFailed as failed:
            why = str(failed)
            if failed.code == _DENIED:
                why = "its user may not create databases (ALTER ROLE … CREATEDB lets it)"
            raise CannotOwn(why) from None
        self.doubtful = bool(tables) and not copied
        self._is_empty = not (tables and copied)

    async def make(self) -> str:
        """Make a copy of the copy."""
        name = f"{PREFIX}{self._marker}_{next(self._numbers)}"
        try:
            await self._run(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(self._base)}")
        except AskFailed as failed:
            raise CannotOwn(str(failed)) from None
        return self._named(name)

    async def remove(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        if self._over:
            return
        with contextlib.suppress(AskFailed):
            await self._drop(_database(url))

    async def fill(self, run: Callable[[str], Awaitable[None]]) -> bool:
        """Prepare the copy that the others are made from, once."""
        async with self._filling:
            if not self._filled:
                await run(self._named(self._base))
                self._filled, self.doubtful = True, False
        return True

    async def is_filled(self, url: str) -> bool:
        """Return whether the service has made tables in it."""
        try:
            session = await PostgresSession.connect(url)
            try:
                return bool((await session.ask(_TABLES))[0][0])
            finally:
                await session.close()
        except AskFailed:
            return False

    async def adopt(self, url: str) -> bool:
        """Copy the tables that a service has made instead of having each start make them."""
        if self._filled or not self._is_empty or not await self.is_filled(url):
            return False
        self._base, self._is_empty = _database(url), False
        return True

    async def close(self) -> None:
        """Drop all that this run has made, and end its session."""
        self._over = True
        try:
            session = await self._connected()
            pattern = f"{PREFIX}{self._marker}_".replace("_", "\\_") + "%"
            for (name,) in await session.ask(
                "SELECT datname FROM pg_database WHERE datname LIKE $1", pattern
            ):
                await self._drop(str(name))
        except AskFailed:
            pass  # the next check on this server drops it
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _look_at_declared(self) -> tuple[int, int]:
        """Return how many bytes and tables the declared database has."""
        session = await PostgresSession.connect(self._url)
        try:
            ((size,),) = await session.ask("SELECT pg_database_size(current_database())")
            ((tables,),) = await session.ask(_TABLES)
            return int(size), int(tables)
        finally:
            await session.close()

    async def _connected(self) -> PostgresSession:
        """Return the run's session, away from the declared database, which is not copied while it is used."""
        if self._session is None or self._session.over:
            name = f"{_SESSION}{self._marker}"
            try:
                self._session = await PostgresSession.connect(self._url, database="postgres", name=name)
            except AskFailed:
                self._session = await PostgresSession.connect(self._url, name=name)
        return self._session

    async def _run(self, statement: str) -> None:
        await (await self._connected()).run(statement, _COPYING)

    async def _copy(self) -> bool:
        """Copy the declared database as files; not possible while anybody is connected to it."""
        declared = unquote(self._parts.path).lstrip("/") or unquote(self._parts.username or "postgres")
        try:
            await self._run(f"CREATE DATABASE {_quoted(self._base)} TEMPLATE {_quoted(declared)}")
        except AskFailed:
            return False
        return True

    async def _drop(self, name: str) -> None:
        await self._run(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def _named(self, database: str) -> str:
        return urlunsplit(self._parts._replace(path=f"/{quote(database)}"))


def _database(url: str) -> str:
    return unquote(urlsplit(url).path).lstrip("/")


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _dump(url: str, database: str) -> bool:
    """Copy what a database holds into another one on its server; False where the programs cannot."""
    writer, reader = shutil.which("pg_dump"), shutil.which("psql")
    if writer is None or reader is None:
        return False
    parts = urlsplit(url)
    place = ["-w", "-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 5432)]
    place += ["-U", unquote(parts.username or "postgres"), "-d"]
    environment = {**os.environ, "PGPASSWORD": unquote(parts.password or "")}
    with tempfile.TemporaryDirectory(prefix="roadworthy-dump-") as folder:
        file = str(Path(folder) / "dump.sql")
        declared = _database(url)
        commands = (
            [writer, *place, declared, "--no-owner", "--no-privileges", "-f", file],
            [reader, *place, database, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file],
        )
        for command in commands:
            try:
                done = subprocess.run(  # noqa: S603
                    command, env=environment, capture_output=True, check=False, timeout=_COPYING
                )
            except (OSError, subprocess.TimeoutExpired):
                return False
            if done.returncode:
                return False
    return True
