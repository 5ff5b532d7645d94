"""What a service learns of its PostgreSQL before it serves: whether it may connect, and how many times."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ...errors import UnavailableError
from ...settings import Problem, SettingsError
from .postgres_errors import is_lost

__all__ = ("Capacity", "ParsedUrl", "check", "connected", "parsed_url")

_logger = logging.getLogger("roadworthy.database")

_OLDEST = 13
"""Major version. Older ones get no fixes any more (https://www.postgresql.org/support/versioning/)."""
_AGAIN = 0.25
"""Seconds between two attempts to connect at the start."""

_ATTRIBUTES = {"read-write": "primary", "read-only": "standby"}

_REFUSALS = {
    "28P01": "the server refuses the password",
    "28000": "the server refuses the user, or connections from here (pg_hba.conf)",
    "3D000": "the server has no database of this name",
    "42501": "the user may not connect to this database",
    "42704": "the server does not know a parameter of the URL",
    "22023": "the server refuses the value of a parameter of the URL",
}
"""By SQLSTATE: what is wrong with the URL. None of the texts repeats any of it."""

_ROOM = """
SELECT current_setting('max_connections')::int AS most,
    current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS of_user,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS of_database
"""


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """A URL as the driver takes it.

    Parameters:
        texts: ``postgresql://…``, without what is not the driver's, one for each host that is named.
        given: names of its parameters.
        pgbouncer: it leads to PgBouncer, or another pooler, in transaction mode.
    """

    texts: tuple[str, ...]
    given: frozenset[str]
    pgbouncer: bool


def parsed_url(url: str) -> ParsedUrl:
    """Take our own parameter, ``pgbouncer=true``, out of a URL, and its hosts apart.

    Which of several hosts is wanted is asked of the server: sessions of ours are READ ONLY by default, so to
    ask whether one may write, as libpq and asyncpg do, would pass over the primary.

    Raises:
        ValueError: it is none; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(
            "this is not the URL of a database; write postgresql://user:password@host/name"
        ) from None
    values = dict(pairs)
    asked = values.pop("pgbouncer", "false").lower()
    if asked not in ("true", "false"):
        raise ValueError("pgbouncer, a parameter of the URL, is true or false")
    wanted = values.get("target_session_attrs")
    if wanted in _ATTRIBUTES:
        values["target_session_attrs"] = _ATTRIBUTES[wanted]
    account, at, hosts = parts.netloc.rpartition("@")
    # Which one is preferred can be decided only where all are known.
    each = [hosts] if wanted == "prefer-standby" else hosts.split(",")
    query = urlencode(values)
    texts = tuple(urlunsplit(parts._replace(netloc=f"{account}{at}{host}", query=query)) for host in each)
    return ParsedUrl(texts, frozenset(values), asked == "true")


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many connections a service wants.

    Parameters:
        size: of one worker.
        workers: of one instance.
        instances: of the service.
    """

    size: int
    workers: int
    instances: int

    def check(self, room: Mapping[str, Any]) -> None:
        """Compare with what the server gives.

        Parameters:
            room: the row of the question above.

        Raises:
            SettingsError: this instance alone wants more.
        """
        free = room["most"] - room["reserved"]
        shown = f"{free} (max_connections {room['most']} - {room['reserved']} reserved)"
        for name in ("user", "database"):
            limit = room[f"of_{name}"]
            if limit is not None and 0 <= limit < free:
                free, shown = limit, f"{limit} (the limit of this {name})"
        here = self.workers * self.size
        sum_here = f"{self.workers} workers x {self.size} connections = {here}"
        if here > free:
            raise SettingsError(
                [
                    Problem(
                        "ROADWORTHY_POOL_SIZE",
                        f"{sum_here}, and PostgreSQL gives {shown}: lower it or ROADWORTHY_WORKERS, or raise "
                        "max_connections",
                    )
                ]
            )
        if here * self.instances > free:
            _logger.warning(
                "ROADWORTHY_INSTANCES: %d instances x %s = %d connections, and PostgreSQL gives %s: lower "
                "ROADWORTHY_POOL_SIZE, or put PgBouncer in front",
                self.instances,
                sum_here.partition(" =")[0],
                here * self.instances,
                shown,
            )


async def connected(connect: Callable[[], Awaitable[Any]], wait: float, setting: str) -> Any:
    """Return a connection, trying for a while where nobody answers yet.

    Parameters:
        connect: opens one.
        wait: seconds to try.
        setting: that holds the URL.

    Raises:
        SettingsError: the server refuses, or the URL cannot be used. The message repeats none of it.
        UnavailableError: nobody has answered.
    """
    until = asyncio.get_running_loop().time() + wait
    while True:
        try:
            return await connect()
        except (OSError, ValueError, TimeoutError, ssl.SSLError) as error:
            problem = _problem(error)
            passing = isinstance(error, OSError | TimeoutError)
        except Exception as error:
            problem = _problem(error)
            passing = is_lost(error) or str(getattr(error, "sqlstate", "")).startswith("53")
            if problem is None and not passing:
                raise
        if problem is not None:
            raise SettingsError([Problem(setting, problem)]) from None
        if not passing or asyncio.get_running_loop().time() + _AGAIN > until:
            raise UnavailableError("Nobody answers at the address of the database") from None
        await asyncio.sleep(_AGAIN)


async def check(driver: Any, capacity: Capacity | None, setting: str) -> None:
    """Check version and room.

    Parameters:
        driver: a connection.
        capacity: None behind a pooler, which has connections of its own.
        setting: that holds the URL.

    Raises:
        SettingsError: the server is too old, or gives too few connections.
    """
    version = driver.get_server_version()
    if version.major < _OLDEST:
        raise SettingsError(
            [Problem(setting, f"the server is PostgreSQL {version.major}; {_OLDEST} or newer is needed")]
        )
    if capacity is not None:
        capacity.check(await driver.fetchrow(_ROOM))


def _problem(error: BaseException) -> str | None:
    if isinstance(error, socket.gaierror):
        return "the host's name does not resolve"
    if isinstance(error, ssl.SSLError) or "rejected SSL upgrade" in str(error):
        return "the server's certificate is not trusted, or it does not speak TLS (sslmode)"
    state = getattr(error, "sqlstate", None)
    if state in _REFUSALS:
        return _REFUSALS[state]
    if isinstance(error, ValueError):  # also what asyncpg finds wrong with the URL
        return "this is not the URL of a database; write postgresql://user:password@host/name"
    return None
