"""Statements that are made anew for each run: SQLAlchemy's own cache key finds the compiled one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.sql import ClauseElement

from .driver import Query
from .driver.compiler import RefusedStatementError, compile_plan

__all__ = ("Compiled", "is_expression")

_MOST = 500
"""Statements that are kept compiled; SQLAlchemy's engines keep as many."""


class Compiled:
    """The compiled statements of one kind of row.

    Parameters:
        dialect: of the database.
        kind: of row.
    """

    def __init__(self, dialect: Dialect, kind: type[Any]) -> None:
        self._dialect = dialect
        self._kind = kind
        self._kept: dict[Any, Query] = {}

    def find(self, construct: Any) -> tuple[Query, str, Sequence[Any]]:
        """Return the compiled statement, its text and the values of its parameters.

        Raises:
            RefusedStatementError: it cannot be compiled here.
        """
        statement: Any = construct  # the key of SQLAlchemy's own cache has no public name
        key = statement._generate_cache_key() if isinstance(construct, ClauseElement) else None
        if key is not None and getattr(key, "params", None):
            raise RefusedStatementError("the statement has params()")
        query = None if key is None else self._kept.get(key.key)
        if query is None:
            query = Query(compile_plan(construct, self._dialect, cache_key=key), self._kind)
            if key is not None:
                if len(self._kept) >= _MOST:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[key.key] = query
        sql, parameters = query.plan.bind_like(None if key is None else key.bindparams)
        return query, sql, parameters


def is_expression(value: object) -> bool:
    """Return whether a value is computed by the database."""
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")
