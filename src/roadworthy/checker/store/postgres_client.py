"""Asks a PostgreSQL server one question, through asyncpg (the extra ``check``)."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ("AskFailed", "ask")


class AskFailed(Exception):
    """Raised when the server could not be asked; the text is the reason, without a password."""


async def ask(url: str, statement: str, seconds: float = 5.0) -> list[tuple[Any, ...]]:
    """Return the rows of a statement.

    Parameters:
        url: ``postgresql://user:password@host:port/database``. A driver in the scheme
            (``postgresql+psycopg``) and parameters other than ``sslmode`` or ``ssl`` are ignored.
        seconds: how long all of it may take.

    Raises:
        AskFailed: asyncpg is missing, nobody answers, the sign-in fails, or the statement does.
    """
    try:
        import asyncpg  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise AskFailed('the package asyncpg is missing: pip install "roadworthy[check]"') from None
    driver: Any = asyncpg  # it has no types
    try:
        async with asyncio.timeout(seconds):
            connection = await driver.connect(**_options(url))
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close(timeout=1.0)
    except driver.PostgresError as error:
        raise AskFailed(f"{error.sqlstate or ''} {error}".strip()) from None
    except (OSError, ValueError, driver.InterfaceError, driver.InternalClientError) as error:
        raise AskFailed(str(error) or type(error).__name__) from None


def _options(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    user = unquote(parts.username or "postgres")
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 5432,
        "user": user,
        "password": unquote(parts.password) if parts.password else None,
        "database": unquote(parts.path).lstrip("/") or user,
        "ssl": next((query[name][0] for name in ("sslmode", "ssl") if name in query), None),
        # Named statements do not survive a pooler such as PgBouncer.
        "statement_cache_size": 0,
        "server_settings": {"application_name": "roadworthy-check"},
    }
