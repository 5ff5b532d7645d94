"""Which exceptions of drivers mean that the other side is away, or full: the service works, and answers 503.

What is wrong with the service itself stays a 500: a table that is missing, a password that is wrong, a
statement that is refused. Drivers are known by package and class name, so that none is imported to be asked.
"""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .kinds import kinds_of

__all__ = ("Outage", "cause_of", "is_of_database", "outage_of")


@dataclass(frozen=True, slots=True)
class Outage:
    """The other side is away.

    Parameters:
        cause: in a few words, without an address or a name of the service's.
        untouched: it has taken nothing: the connection was refused, or the statement was not begun.
    """

    cause: str
    untouched: bool


_DATABASES = frozenset(
    ("asyncpg", "psycopg", "psycopg2", "psycopg_pool", "pymysql", "aiomysql", "sqlalchemy")
)

_STATES = {
    "08001": ("connection refused", True),  # the client could not connect
    "08004": ("connection rejected", True),
    "53300": ("too many connections", True),
    "57P03": ("the database is starting or stopping", True),
    "57P01": ("the database is shutting down", False),
    "57P02": ("the database has crashed", False),
}
"""SQLSTATE (PostgreSQL, appendix A): what it means, and whether nothing was begun."""
_CONNECTION = "08"
"""The class of connection exceptions: any other of it broke a connection that was in use."""

_BUSY = 5
"""SQLITE_BUSY, the low byte of its extended codes: another process writes."""

_REFUSED = "connection refused", True
_LOST = "connection lost", False
_FAILED = "connection refused or lost", False
_TIMED_OUT = "connecting took too long", True
_CLASSES: dict[tuple[str, str], tuple[str, bool]] = {
    ("redis", "BusyLoadingError"): ("the server is loading its data", True),
    ("redis", "ClusterDownError"): ("the cluster is down", True),
    ("redis", "MasterDownError"): ("the primary is down", True),
    ("redis", "ConnectionError"): _FAILED,
    ("redis", "TimeoutError"): ("no answer in time", False),
    ("httpx", "ConnectError"): _REFUSED,
    ("httpx", "ConnectTimeout"): _TIMED_OUT,
    ("httpx", "PoolTimeout"): ("no connection became free in time", True),
    ("httpx", "NetworkError"): _LOST,
    ("aiohttp", "ClientConnectorError"): _REFUSED,
    ("aiohttp", "ServerDisconnectedError"): _LOST,
    ("asyncpg", "ConnectionDoesNotExistError"): _LOST,
}
"""Package and class. Of an exception's classes the first counts; valkey's are those of redis."""
_OWN_FAULTS = frozenset(
    (
        ("redis", "AuthenticationError"),
        ("redis", "AuthorizationError"),
        ("redis", "MaxConnectionsError"),
        ("aiohttp", "ClientConnectorCertificateError"),
        ("aiohttp", "ClientConnectorSSLError"),
    )
)
"""Derived from an outage's class, and none: waiting does not mend a password."""
_SYSTEM: tuple[tuple[type[OSError], tuple[str, bool]], ...] = (
    (ConnectionRefusedError, _REFUSED),
    (ConnectionResetError, _LOST),
    (ConnectionAbortedError, _LOST),
)


def outage_of(error: BaseException) -> Outage | None:
    """Return what ``error`` says of the other side, None where the mistake is the service's own."""
    for one in _chain(error):
        found = _outage(one)
        if found is not None or _is_own_fault(one):
            return found
    return None


def cause_of(error: BaseException) -> str:
    """Return a short cause for operations: the class, and what is known of an outage; never the text."""
    name = type(error).__name__
    found = outage_of(error)
    if found is not None:
        return f"{name}: {found.cause}"
    state = next((state for one in _chain(error) if (state := _state(one))), "")
    return f"{name}: SQLSTATE {state}" if state else name


def is_of_database(error: BaseException) -> bool:
    """Return whether a driver of a database has raised it."""
    return any(package in _DATABASES for package, _ in kinds_of(error))


def _outage(error: BaseException) -> Outage | None:
    state = _state(error)
    if state:
        if state in _STATES:
            return Outage(*_STATES[state])
        return Outage(*_LOST) if state.startswith(_CONNECTION) else None
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", 0)
        return Outage("the database is locked by another writer", True) if code & 0xFF == _BUSY else None
    for key in _kinds(error):
        if key in _OWN_FAULTS:
            return None
        if key in _CLASSES:
            return None if _is_certificate(error) else Outage(*_CLASSES[key])
        # A failure that has no state came from the client's side of the connection.
        if key == ("psycopg", "OperationalError"):
            return Outage(*_FAILED)
    return next((Outage(*found) for kind, found in _SYSTEM if isinstance(error, kind)), None)


def _is_own_fault(error: BaseException) -> bool:
    return not _OWN_FAULTS.isdisjoint(_kinds(error))


def _is_certificate(error: BaseException) -> bool:
    return any(isinstance(one, ssl.SSLCertVerificationError) for one in _chain(error))


def _state(error: BaseException) -> str:
    for name in ("sqlstate", "pgcode"):
        state: Any = getattr(error, name, None)
        if isinstance(state, str) and len(state) == 5:
            return state
    return ""


def _kinds(error: BaseException) -> Iterator[tuple[str, str]]:
    return (("redis" if package == "valkey" else package, name) for package, name in kinds_of(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and those it was raised from. What was merely handled meanwhile is another story."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        original = getattr(one, "orig", None)
        one = original if isinstance(original, BaseException) else one.__cause__
