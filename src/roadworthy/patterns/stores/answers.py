"""Where the answers to requests with an Idempotency-Key are kept."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    tuple_,
)

from ..idempotency import Answer, KeyInUseError
from ..transactions import current_unit
from .database import Database

__all__ = ("TableAnswers", "answers_table")

_FORGOTTEN_AT_ONCE = 100
"""Expired answers that one new answer removes: more than come in, so that they go, and few enough to be
quick."""


def answers_table(metadata: MetaData, name: str = "idempotency_keys") -> Table:
    """Declare the table of :class:`TableAnswers`; a migration of the service creates it.

    Parameters:
        metadata: of the service.
        name: of the table.
    """
    return Table(
        name,
        metadata,
        Column("principal", String(255), primary_key=True),
        Column("key", String(255), primary_key=True),
        Column("fingerprint", String(64), nullable=False),
        Column("status", Integer, nullable=False),
        Column("headers", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("expires", Float, nullable=False),
        Index(f"{name}_by_expiry", "expires"),
    )


class TableAnswers:
    """Answers in a table of the database that holds the rows.

    Parameters:
        database: of the rows.
        table: from :func:`answers_table`.
    """

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table

    async def find(self, principal: str, key: str, now: float) -> Answer | None:
        """Return the unexpired answer, or None.

        Inside a unit of work that may write, the key is kept for it until it ends.

        Raises:
            KeyInUseError: the unit of another process has it.
        """
        table = self._table
        unit = current_unit()
        statement = select(table).where(
            table.c.principal == principal, table.c.key == key, table.c.expires > now
        )
        async with self._database.connection() as connection:
            if unit is not None and not unit.rules.read_only:
                # Before it is looked for: an answer that is committed now is then found.
                name = f"idempotency {table.fullname} {principal} {key}"
                if not await self._database.backend.lock(connection, name):
                    raise KeyInUseError(headers={"Retry-After": "1"})
            row: Any = (await connection.execute(statement)).mappings().first()
        if row is None:
            return None
        headers = tuple((name, value) for name, value in json.loads(row["headers"]))
        return Answer(row["fingerprint"], row["status"], headers, bytes(row["body"]), row["expires"])

    async def add(self, principal: str, key: str, answer: Answer, now: float) -> None:
        """Keep an answer, inside the current unit of work, and forget some of what has expired."""
        table = self._table
        primary = tuple_(table.c.principal, table.c.key)
        expired = (
            select(table.c.principal, table.c.key)
            .where(table.c.expires <= now)
            .order_by(table.c.expires)
            .limit(_FORGOTTEN_AT_ONCE)
        )
        async with self._database.connection() as connection:
            await connection.execute(delete(table).where(primary.in_(expired)))
            same = (table.c.principal == principal, table.c.key == key)
            await connection.execute(delete(table).where(*same, table.c.expires <= now))
            await connection.execute(
                insert(table).values(
                    principal=principal,
                    key=key,
                    fingerprint=answer.fingerprint,
                    status=answer.status,
                    headers=json.dumps(answer.headers),
                    body=answer.body,
                    expires=answer.expires,
                )
            )
