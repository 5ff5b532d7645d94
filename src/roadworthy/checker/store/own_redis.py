"""Numbered databases of the check's own on a Redis or Valkey server: those that are empty and unused.

Sources: Redis documentation, "RESP protocol specification", SELECT, DBSIZE, FLUSHDB, CLIENT LIST.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from .kinds import PORTS
from .own import PREFIX, CannotOwn, OwnServer

__all__ = ("OwnRedis",)

_SESSION = "roadworthy-check-"
_CLAIM = f"{PREFIX}owner"
"""A key in each database that the check has taken, with the run's name as its value."""
_MOST = 64
_PATIENCE = 5.0


class _Refused(Exception):
    """Raised when the server answers with an error."""


class _Client:
    """One connection, one command on one database at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self.over = False

    @classmethod
    async def connect(cls, url: str, name: str) -> _Client:
        """Sign in, and take a name in the server's list of clients."""
        parts = urlsplit(url)
        secure = ssl.create_default_context() if parts.scheme == "rediss" else None
        host, port = parts.hostname or "127.0.0.1", parts.port or PORTS["redis"]
        async with asyncio.timeout(_PATIENCE):
            self = cls(*await asyncio.open_connection(host, port, ssl=secure))
        login = [unquote(parts.username)] if parts.username else []
        if parts.password:
            await self.run(None, "AUTH", *login, unquote(parts.password))
        await self.run(None, "CLIENT", "SETNAME", name)
        return self

    async def run(self, number: int | None, *words: str) -> str | int:
        """Return what the server answers to a command on a numbered database.

        Raises:
            _Refused: it answers with an error.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(_PATIENCE):
                    if number is not None:
                        await self._exchange("SELECT", str(number))
                    return await self._exchange(*words)
            except _Refused:
                raise
            except BaseException:
                # The answer that is still to come would be taken for that of the next command.
                self.abort()
                raise

    async def _exchange(self, *words: str) -> str | int:
        parts = [word.encode() for word in words]
        request = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self._writer.write(b"*%d\r\n" % len(parts) + request)
        await self._writer.drain()
        line = await self._reader.readuntil(b"\r\n")
        kind, text = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"-":
            raise _Refused(text)
        if kind == b":":
            return int(text)
        if kind == b"$" and text != "-1":
            return (await self._reader.readexactly(int(text) + 2))[:-2].decode("utf-8", "replace")
        return text if kind == b"+" else ""

    def abort(self) -> None:
        self.over = True
        self._writer.transport.abort()

    async def close(self) -> None:
        self.over = True
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class OwnRedis(OwnServer):
    """Takes numbered databases of the server that a URL names.

    Parameters:
        marker: of the run; letters and digits.
    """

    def __init__(self, url: str, marker: str) -> None:
        self._url = url
        self._name = f"{_SESSION}{marker}"
        self._parts = urlsplit(url)
        self._client: _Client | None = None
        self._taken: dict[int, int] = {}
        self._turn = asyncio.Lock()

    async def prepare(self) -> None:
        """Take the first database: others are taken as starts need them, as long as there are free ones."""
        try:
            await self._empty_abandoned()
        except _ERRORS as error:
            raise CannotOwn(str(error) or type(error).__name__) from None
        first = await self._take()
        if first is None:
            raise CannotOwn("none of its numbered databases is empty and unused")
        self._taken[first] = 0

    async def make(self) -> str:
        """Take a database that nobody else has; where none is left, share one with another start."""
        async with self._turn:
            unused = next((number for number, users in self._taken.items() if not users), None)
            number = await self._take() if unused is None else unused
            if number is None:
                number = min(self._taken, key=lambda one: self._taken[one])
            self._taken[number] = self._taken.get(number, 0) + 1
        return self._numbered(number)

    async def remove(self, url: str) -> None:
        """Empty the database when no start uses it any more; it stays taken until the end."""
        number = _number(url)
        if number not in self._taken:
            return
        self._taken[number] -= 1
        if not self._taken[number]:
            with contextlib.suppress(*_ERRORS):
                await self._empty(number)
                await self._run(number, "SET", _CLAIM, self._name)

    async def close(self) -> None:
        """Empty all that were taken."""
        for number in self._taken:
            with contextlib.suppress(*_ERRORS):
                await self._empty(number)
        self._taken.clear()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _run(self, number: int, *words: str) -> str | int:
        if self._client is None or self._client.over:
            self._client = await _Client.connect(self._url, self._name)
        return await self._client.run(number, *words)

    async def _take(self) -> int | None:
        """Claim a database that is empty, that no client has chosen, and that is not the declared one."""
        with contextlib.suppress(*_ERRORS):
            busy = set(map(int, re.findall(r"\bdb=(\d+)", str(await self._run(0, "CLIENT", "LIST")))))
            for number in range(_MOST):
                if number in busy or number in self._taken or number == _number(self._url):
                    continue
                # SET … NX: of two checks that see it empty one gets it.
                if not await self._run(number, "DBSIZE") and await self._run(
                    number, "SET", _CLAIM, self._name, "NX"
                ):
                    return number
        return None

    async def _empty_abandoned(self) -> None:
        """Empty what was taken by checks whose connection is gone: they were killed."""
        alive = str(await self._run(0, "CLIENT", "LIST"))
        with contextlib.suppress(_Refused):  # the number of databases is known by the first error
            for number in range(_MOST):
                owner = await self._run(number, "GET", _CLAIM)
                if str(owner).startswith(_SESSION) and f"name={owner} " not in alive:
                    await self._run(number, "FLUSHDB")

    async def _empty(self, number: int) -> None:
        # Without the key the service has emptied it; with the key of another check it is no longer ours.
        if await self._run(number, "GET", _CLAIM) in {"", self._name}:
            await self._run(number, "FLUSHDB")

    def _numbered(self, number: int) -> str:
        query = re.sub(r"(^|&)db=\d+", "", self._parts.query).lstrip("&")
        return urlunsplit(self._parts._replace(path=f"/{number}", query=query))


def _number(url: str) -> int:
    """Return the number of a URL's database, in its path or its query; 0 without one."""
    parts = urlsplit(url)
    given = parse_qs(parts.query).get("db", [parts.path.strip("/")])[0]
    return int(given) if given.isdecimal() else 0


_ERRORS = (OSError, ValueError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, _Refused)
