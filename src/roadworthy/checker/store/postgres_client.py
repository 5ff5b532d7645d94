"""Asks a PostgreSQL server questions and has it do things, through asyncpg (the extra ``check``)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ("AskFailed", "PostgresSession", "ask")


class AskFailed(Exception):
    """Raised when the server could not be asked; the text is the reason, without a password.

    Parameters:
        code: the SQLSTATE of what the server refused; empty where it was not the server that did.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


class PostgresSession:
    """One session with a server, outside of any transaction; use :meth:`connect`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(
        cls, url: str, *, database: str = "", name: str = "roadworthy-check", seconds: float = 5.0
    ) -> Self:
        """Sign in.

        Parameters:
            url: ``postgresql://user:password@host:port/database``. A driver in the scheme
                (``postgresql+psycopg``) and parameters other than ``sslmode`` or ``ssl`` are ignored.
            database: another one than the URL's.
            name: by which the server lists the session (``application_name``).

        Raises:
            AskFailed: asyncpg is missing, nobody answers, or the sign-in fails.
        """
        driver = _driver()
        with _one_error(driver):
            async with asyncio.timeout(seconds):
                return cls(await driver.connect(**_options(url, database, name)))

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return bool(self._connection.is_closed())

    async def ask(self, statement: str, *values: Any, seconds: float = 5.0) -> list[tuple[Any, ...]]:
        """Return the rows of a statement.

        Raises:
            AskFailed: the server refuses it, or does not answer in time.
        """
        async with self._turn:
            with _one_error(_driver()):
                async with asyncio.timeout(seconds):
                    return [tuple(row) for row in await self._connection.fetch(statement, *values)]

    async def run(self, statement: str, seconds: float = 60.0) -> None:
        """Have the server do something that gives no rows and may take a while.

        Raises:
            AskFailed: the server refuses it, or is not done in time.
        """
        async with self._turn:
            with _one_error(_driver()):
                async with asyncio.timeout(seconds):
                    await self._connection.execute(statement)

    async def close(self) -> None:
        """End the session."""
        with contextlib.suppress(OSError, TimeoutError):
            await self._connection.close(timeout=1.0)


async def ask(url: str, statement: str, seconds: float = 5.0) -> list[tuple[Any, ...]]:
    """Return the rows of a statement.

    Parameters:
        url: as for :meth:`PostgresSession.connect`.
        seconds: how long all of it may take.

    Raises:
        AskFailed: asyncpg is missing, nobody answers, the sign-in fails, or the statement does.
    """
    try:
        async with asyncio.timeout(seconds):
            session = await PostgresSession.connect(url, seconds=seconds)
            try:
                return await session.ask(statement, seconds=seconds)
            finally:
                await session.close()
    except TimeoutError:
        raise AskFailed(f"no answer within {seconds:g} s") from None


def _driver() -> Any:
    try:
        import asyncpg  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise AskFailed('the package asyncpg is missing: pip install "roadworthy[check]"') from None
    return asyncpg  # it has no types


@contextlib.contextmanager
def _one_error(driver: Any) -> Generator[None]:
    """Turn whatever the driver raises into the error of this module."""
    try:
        yield
    except driver.PostgresError as error:
        code = str(error.sqlstate or "")
        raise AskFailed(f"{code} {error}".strip(), code) from None
    except (OSError, ValueError, driver.InterfaceError, driver.InternalClientError) as error:
        raise AskFailed(str(error) or type(error).__name__) from None


def _options(url: str, database: str, name: str) -> dict[str, Any]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    user = unquote(parts.username or "postgres")
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 5432,
        "user": user,
        "password": unquote(parts.password) if parts.password else None,
        "database": database or unquote(parts.path).lstrip("/") or user,
        "ssl": next((query[name][0] for name in ("sslmode", "ssl") if name in query), None),
        # Named statements do not survive a pooler such as PgBouncer.
        "statement_cache_size": 0,
        "server_settings": {"application_name": name},
    }
