"""Databases of the check's own on a MySQL or MariaDB server: loaded from a dump of the declared one.

Sources: MySQL Reference Manual, "CREATE DATABASE Statement", "Locking Functions", "mysqldump"; MariaDB Server
Documentation, "mariadb-dump". These servers have no templates, so what others are made from is a file.
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
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from .kinds import PORTS
from .mysql_client import MysqlFailed, MysqlSession, database_of
from .own import PREFIX, CannotOwn, OwnServer

__all__ = ("OwnMysql",)

_LOCK = "roadworthy-check-"
"""The beginning of the name of a lock that the session of a run holds: it is free once the run is gone."""
_MOST_BYTES = 256 << 20
"""A larger database takes longer to load for each of dozens of starts than what it is loaded for."""
_COPYING = 120.0
_DENIED = frozenset({1044, 1227})
"""ER_DBACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR."""
_PROGRAMS = (("mariadb-dump", "mariadb"), ("mysqldump", "mysql"))
_DUMP = ("--single-transaction", "--no-tablespaces", "--skip-comments", "--triggers", "--hex-blob")
_TABLES = """
SELECT COUNT(*), COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables
WHERE table_schema = DATABASE()
"""
_OURS = "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, %s) = %s"


class OwnMysql(OwnServer):
    """Makes databases beside the one that a URL names.

    Parameters:
        marker: of the run; letters and digits.
    """

    def __init__(self, url: str, marker: str) -> None:
        self._url = url
        self._marker = marker
        self._numbers = itertools.count(1)
        self._session: MysqlSession | None = None
        self._copies = _Copies(url)
        self._filling = asyncio.Lock()
        self._filled = False
        self._over = False

    async def prepare(self) -> None:
        """Write the declared database into a file that all others are loaded from."""
        try:
            ((tables, size),) = await self._run(_TABLES)
            await self._remove_abandoned()
            await self._create(first := self._next())
            await self._drop(first)
        except MysqlFailed as failed:
            why = str(failed)
            if failed.code in _DENIED:
                why = f"its user may not create databases (GRANT ALL ON `{PREFIX}%`.* TO … lets it)"
            raise CannotOwn(why) from None
        copied = bool(tables) and int(size) <= _MOST_BYTES and await self._copies.take(self._url)
        self.doubtful = bool(tables) and not copied

    async def make(self) -> str:
        """Make a database and load the file into it."""
        name = self._next()
        url = self._named(name)
        try:
            await self._create(name)
        except MysqlFailed as failed:
            raise CannotOwn(str(failed)) from None
        if self._copies and not await self._copies.load(url):
            raise CannotOwn("what the declared database holds could not be loaded into a new one")
        return url

    async def remove(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        if not self._over:
            with contextlib.suppress(MysqlFailed):
                await self._drop(database_of(url))

    async def fill(self, run: Callable[[str], Awaitable[None]]) -> bool:
        """Prepare one database, and write it into the file that the others are loaded from."""
        async with self._filling:
            if not self._filled and self._copies.possible:
                url = await self.make()
                await run(url)
                self._filled = await self._copies.take(url)
                self.doubtful = self.doubtful and not self._filled
                await self.remove(url)
        return self._filled

    async def is_filled(self, url: str) -> bool:
        """Return whether the service has made tables in it."""
        try:
            ((tables, _),) = await self._run(_TABLES, url=url)
        except MysqlFailed:
            return False
        return bool(tables)

    async def adopt(self, url: str) -> bool:
        """Write the tables that a service has made into the file instead of having each start make them."""
        if self._filled or self._copies or not await self.is_filled(url):
            return False
        return await self._copies.take(url)

    async def close(self) -> None:
        """Drop all that this run has made, and end its session."""
        self._over = True
        with contextlib.suppress(MysqlFailed):  # the next check on this server drops it
            for name in await self._made(f"{PREFIX}{self._marker}_"):
                await self._drop(name)
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._copies.close()

    def _next(self) -> str:
        return f"{PREFIX}{self._marker}_{next(self._numbers)}"

    async def _run(self, statement: str, *values: object, url: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a statement, in a session of its own."""
        session = await MysqlSession.connect(url or self._url)
        try:
            return await session.ask(statement, *values)
        finally:
            await session.close()

    async def _made(self, beginning: str) -> list[str]:
        return [str(name) for (name,) in await self._run(_OURS, len(beginning), beginning)]

    async def _remove_abandoned(self) -> None:
        """Drop what a check has left whose session is gone: it was killed."""
        self._session = await MysqlSession.connect(self._url)
        await self._session.ask("SELECT GET_LOCK(%s, 0)", _LOCK + self._marker)
        for name in await self._made(PREFIX):
            owner = name.removeprefix(PREFIX).partition("_")[0]
            ((free,),) = await self._session.ask("SELECT IS_FREE_LOCK(%s)", _LOCK + owner)
            if free:
                with contextlib.suppress(MysqlFailed):
                    await self._drop(name)

    async def _create(self, name: str) -> None:
        """Make an empty database with the character set and the collation of the declared one."""
        ((charset, collation),) = await self._run("SELECT @@character_set_database, @@collation_database")
        await self._run(f"CREATE DATABASE {_quoted(name)} CHARACTER SET {charset} COLLATE {collation}")

    async def _drop(self, name: str) -> None:
        # DROP waits for transactions that have used a table, and a session that hangs has its open for ever.
        for (number,) in await self._run("SELECT id FROM information_schema.processlist WHERE db = %s", name):
            with contextlib.suppress(MysqlFailed):
                await self._run(f"KILL {number}")
        await self._run(f"DROP DATABASE IF EXISTS {_quoted(name)}")

    def _named(self, database: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{quote(database)}"))


class _Copies:
    """A file with what a database holds, written and read by the programs that come with the server.

    Parameters:
        url: of a database on the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._folder: Path | None = None
        self._file: Path | None = None
        found = (pair for pair in _PROGRAMS if all(map(shutil.which, pair)))
        self._writer, self._reader = next(found, ("", ""))

    def __bool__(self) -> bool:
        return self._file is not None

    @property
    def possible(self) -> bool:
        """Whether the programs are there."""
        return bool(self._writer)

    async def take(self, url: str) -> bool:
        """Write a database into the file; False where that is not possible, and the file stays as it was."""
        return self.possible and await asyncio.to_thread(self._take, url)

    async def load(self, url: str) -> bool:
        """Load the file into a database."""
        return await asyncio.to_thread(self._load, url)

    def close(self) -> None:
        """Remove the file."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _take(self, url: str) -> bool:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="roadworthy-dump-"))
        new = self._folder / "new.sql"
        # Not every user may read routines, and not every database has any.
        for options in ((*_DUMP, "--routines"), _DUMP):
            with new.open("wb") as sink:
                if self._run([self._writer, *options], url, sink=sink):
                    self._file = new.rename(self._folder / "dump.sql")
                    return True
        return False

    def _load(self, url: str) -> bool:
        if self._file is None:
            return False
        with self._file.open("rb") as source:
            return self._run([self._reader], url, source=source)

    def _run(
        self,
        command: list[str],
        url: str,
        *,
        source: IO[bytes] | int = subprocess.DEVNULL,
        sink: IO[bytes] | int = subprocess.DEVNULL,
    ) -> bool:
        parts = urlsplit(self._url)
        host, port = parts.hostname or "127.0.0.1", parts.port or PORTS["mysql"]
        place = [f"--host={host}", f"--port={port}", "--protocol=tcp"]
        place.append(f"--user={unquote(parts.username or '')}")
        environment = {**os.environ, "MYSQL_PWD": unquote(parts.password or "")}
        try:
            done = subprocess.run(  # noqa: S603
                [command[0], *place, *command[1:], database_of(url)],
                env=environment,
                stdin=source,
                stdout=sink,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=_COPYING,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def _quoted(name: str) -> str:
    escaped = name.replace("`", "``")
    return f"`{escaped}`"
