"""Asks a MySQL or MariaDB server questions and has it do things, through PyMySQL (the extra ``check``)."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from .kinds import PORTS

__all__ = ("MysqlFailed", "MysqlSession", "database_of")

_SECONDS = 5.0
_WORKING = 60.0
_UNENCRYPTED = frozenset({"", "0", "false", "disabled", "disable", "preferred", "prefer"})
_VERIFIED = frozenset({"verify_ca", "verify_identity", "verify-ca", "verify-full"})


class MysqlFailed(Exception):
    """Raised when the server could not be asked; the text is the reason, without a password.

    Parameters:
        code: the number of the server's error; 0 where it was not the server that refused.
    """

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.code = code


class MysqlSession:
    """One session with a server, each statement a transaction of its own; use :meth:`connect`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Sign in.

        Parameters:
            url: ``mysql://user:password@host:port/database``. A driver in the scheme (``mysql+aiomysql``) and
                parameters other than ``ssl-mode``, ``sslmode`` or ``ssl`` are ignored.

        Raises:
            MysqlFailed: PyMySQL is missing, nobody answers, or the sign-in fails.
        """
        return cls(await asyncio.to_thread(_connect, url))

    async def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, none for one that gives none.

        Parameters:
            values: what stands for each ``%s``.

        Raises:
            MysqlFailed: the server refuses it, or does not answer in time.
        """
        return await asyncio.to_thread(_ask, self._connection, statement, values)

    async def close(self) -> None:
        """End the session."""
        await asyncio.to_thread(_close, self._connection)


def database_of(url: str) -> str:
    """Return the name of the database of a URL; empty without one."""
    return unquote(urlsplit(url).path).lstrip("/")


def _connect(url: str) -> Any:
    try:
        import pymysql
    except ImportError:
        raise MysqlFailed('the package PyMySQL is missing: pip install "roadworthy[check]"') from None
    parts = urlsplit(url)
    try:
        return pymysql.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or PORTS["mysql"],
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=database_of(url) or None,
            ssl=_encryption(url),
            autocommit=True,
            connect_timeout=_SECONDS,
            read_timeout=_WORKING,
            write_timeout=_WORKING,
            init_command=f"SET SESSION lock_wait_timeout = {_SECONDS:.0f}",
        )
    except (pymysql.MySQLError, OSError, RuntimeError, ValueError) as error:
        raise _failure(error) from None


def _ask(connection: Any, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    except (pymysql.MySQLError, OSError, ValueError) as error:
        raise _failure(error) from None


def _close(connection: Any) -> None:
    if connection.open:
        connection.close()


def _failure(error: Exception) -> MysqlFailed:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return MysqlFailed(str(error.args[1] if code and len(error.args) > 1 else error), code)


def _encryption(url: str) -> ssl.SSLContext | None:
    """Return how the session is encrypted: as the server is, unless the URL has its certificate verified."""
    query = parse_qs(urlsplit(url).query)
    mode = next(
        (query[name][0].lower() for name in ("ssl-mode", "sslmode", "ssl_mode", "ssl") if name in query), ""
    )
    if mode in _UNENCRYPTED:
        return None
    context = ssl.create_default_context()
    if mode not in _VERIFIED:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
