"""The tables. The migrations build exactly these; a test compares both."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

from roadworthy.patterns import answers_table

__all__ = ("BigId", "UTCDateTime", "answers", "metadata", "posts", "users")

metadata = MetaData()

# SQLite gives out row ids by itself only for a column declared INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, always in UTC: SQLite stores no offset, so none but UTC may be stored."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC before it is stored."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Say that what was stored is UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


users = Table(
    "users",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False, unique=True),
    Column("created_at", UTCDateTime, nullable=False),
    # AUTOINCREMENT: the id of a deleted user is never given to another one.
    sqlite_autoincrement=True,
)

posts = Table(
    "posts",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Index("posts_by_user", "user_id", "id"),
    sqlite_autoincrement=True,
)

answers = answers_table(metadata)
"""The answers to requests with an Idempotency-Key."""
