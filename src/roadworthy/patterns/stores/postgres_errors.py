"""What PostgreSQL's errors mean, by SQLSTATE (PostgreSQL, appendix A) and the fields beside it.

The text of an error is in the language of the server and may repeat values, so nothing is read from it but
the names of columns in ``Key (…)=(…)``, which every translation keeps.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError

from ...errors import ConflictError, TimeoutError, UnavailableError

__all__ = (
    "is_lost",
    "is_over",
    "is_passing",
    "is_read_only",
    "is_referred_to",
    "is_refused_commit",
    "missing_parent",
    "refusal_of",
    "unique_columns",
    "without_values",
)

_SERIALIZATION, _DEADLOCK = "40001", "40P01"
_UNIQUE, _FOREIGN_KEY, _RESTRICT = "23505", "23503", "23001"
_CONFLICTS = frozenset((_UNIQUE, _FOREIGN_KEY, _RESTRICT, "23514", "23P01"))
"""Besides unique and foreign keys: check and exclusion constraints. A missing value (23502) is a mistake."""
_READ_ONLY = "25006"
_OVER = "25P02"
_CANCELLED = "57014"  # by statement_timeout, or by an administrator
_NO_LOCK = "55P03"  # lock_timeout
_ENDS = frozenset(("57P01", "57P02", "57P03", "57P05", "25P03"))
"""The server ends the connection, or takes none: it stops, has crashed, starts, or found it idle too long."""
_FULL = "53"  # the class of insufficient resources: connections, memory, disk
_CONNECTION = "08"  # the class of connection exceptions

_DATA = "22"  # the class of values that are none of their type, which PostgreSQL repeats in quotes
_QUOTED = re.compile(r'"[^"]*"')
_ARGUMENT = re.compile(r"(query argument \$\d+)\b.*", re.DOTALL)
_KEY = re.compile(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)=\(")


def is_lost(error: BaseException) -> bool:
    """Return whether the connection broke or did not come about."""
    one = _driver_error(error)
    state = _state(one)
    if state:
        return state.startswith(_CONNECTION) or state in _ENDS
    # asyncpg: "the connection is closed" is an InterfaceError. The server's last words on an idle connection
    # make the next statement fail with an InternalClientError, before the socket is seen to be closed.
    kind = type(one).__name__
    return (
        kind in {"InternalClientError", "TargetServerAttributeNotMatched"}
        or (kind == "InterfaceError" and "connection is closed" in str(one))
        or (isinstance(one, OSError) and _is_of_driver(one))
    )


def is_passing(error: BaseException) -> bool:
    """Return whether the same transaction may succeed if it begins again."""
    one = _driver_error(error)
    # A migration has changed what a prepared statement was prepared for; the next one is prepared anew.
    stale = type(one).__name__ == "InvalidCachedStatementError"
    return stale or _state(one) in {_SERIALIZATION, _DEADLOCK} or is_lost(error)


def refusal_of(error: BaseException) -> Exception | None:
    """Return what clients get in place of ``error``, None where it is a mistake of the service."""
    state = _state(_driver_error(error))
    if state in _CONFLICTS:
        return ConflictError()
    if state == _CANCELLED:
        return TimeoutError("The database took too long")
    if state in {_SERIALIZATION, _DEADLOCK, _NO_LOCK} or state.startswith(_FULL):
        return UnavailableError("The database is busy")
    return UnavailableError("The database does not answer") if is_lost(error) else None


def is_refused_commit(error: BaseException) -> bool:
    """Return whether the server answered COMMIT with an error, so that nothing is committed.

    Past the point of no return it reports no ERROR any more: what comes then is FATAL or PANIC, which end the
    connection (RecordTransactionCommit in PostgreSQL's xact.c is a critical section).
    """
    severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    return severity == "ERROR"


def is_read_only(error: BaseException) -> bool:
    """Return whether a write was refused because the transaction must not write."""
    return _state(_driver_error(error)) == _READ_ONLY


def is_over(error: BaseException) -> bool:
    """Return whether a statement before it in the transaction has failed."""
    return _state(_driver_error(error)) == _OVER


def is_referred_to(error: BaseException) -> bool:
    """Return whether rows of other tables name the row."""
    return _state(_driver_error(error)) in {_FOREIGN_KEY, _RESTRICT}


def unique_columns(error: BaseException, table: Table) -> tuple[str, ...]:
    """Return the columns whose values another row has, () for other errors."""
    one = _driver_error(error)
    if _state(one) != _UNIQUE or not _is_of(one, table):
        return ()
    known = _named(one, table)
    constraint = str(getattr(one, "constraint_name", ""))
    declared: list[Any] = [*table.constraints, *table.indexes]
    for item in declared:
        if not known and item.name == constraint:
            known = tuple(column.name for column in item.columns)
    return known or tuple(table.primary_key.columns.keys())


def missing_parent(error: BaseException, table: Table) -> str | None:
    """Return the column that names a row of another table which is not there, None for other errors."""
    one = _driver_error(error)
    if _state(one) != _FOREIGN_KEY or not _is_of(one, table):
        return None
    # The same error is raised for the row that is referred to, with that row's key. In a table that refers to
    # itself the columns distinguish the two.
    named = set(_named(one, table))
    constraint = getattr(one, "constraint_name", None)
    for key in table.foreign_key_constraints:
        if named == set(key.column_keys) or (not named and key.name == constraint):
            return key.elements[0].parent.name
    return None


def without_values(*errors: BaseException | None) -> None:
    """Take out of the errors of one failure what clients have sent: their texts end up in records.

    "Key (email)=(ada@example.com) already exists", "Failing row contains (…)", and asyncpg's "invalid input
    for query argument $1: '…'".

    Parameters:
        errors: the driver's own, and those that SQLAlchemy made of it.
    """
    is_data = any(_state(one).startswith(_DATA) for one in errors if one is not None)
    for one in errors:
        if one is None:
            continue
        detail = getattr(one, "detail", None)
        if isinstance(detail, str):
            found = _KEY.search(detail)
            setattr(one, "detail", f"Key ({found[1]})=(…)" if found else None)  # noqa: B010 - not declared
        if one.args and isinstance(one.args[0], str):
            text = _ARGUMENT.sub(r"\1", one.args[0].partition("\nDETAIL")[0])
            one.args = (_QUOTED.sub('"…"', text) if is_data else text, *one.args[1:])


def _is_of_driver(error: BaseException) -> bool:
    """Return whether asyncpg has raised it: what the service's own code does may fail in the same way."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith("asyncpg."):
            return True
        trace = trace.tb_next
    return False


def _is_of(error: BaseException, table: Table) -> bool:
    return getattr(error, "table_name", None) == table.name


def _named(error: BaseException, table: Table) -> tuple[str, ...]:
    found = _KEY.search(str(getattr(error, "detail", None) or ""))
    words = () if found is None else re.findall(r'"([^"]+)"|(\w+)', found[1])
    return tuple(name for word in words if (name := word[0] or word[1]) in table.c)


def _driver_error(error: BaseException) -> BaseException:
    """Return asyncpg's own error below SQLAlchemy's two."""
    original = error.orig if isinstance(error, DBAPIError) else error
    below = None if original is None else original.__cause__
    if original is not None and type(original).__module__.startswith("sqlalchemy.") and below is not None:
        return below
    return error if original is None else original


def _state(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""
