"""The table, what its rows become, and what every peer can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel
from sqlalchemy import Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ("LISTED", "ROWS", "Peer", "User", "UserRow")

ROWS = 1000
LISTED = 20


class Base(DeclarativeBase):
    """Of the table."""


class UserRow(Base):
    """A user, as the ORM has it."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(200), unique=True)
    age: Mapped[int] = mapped_column(Integer)


class User(BaseModel):
    """A user, as a handler returns it."""

    id: int
    name: str
    email: str
    age: int


class Peer(Protocol):
    """One way to do it."""

    async def open(self, url: str) -> None:
        """Open up to ten connections."""

    async def point(self, key: int) -> User:
        """Read one row by its key."""
        ...

    async def page(self, after: int) -> Sequence[User]:
        """Read the twenty rows after a key."""
        ...

    async def add(self, number: int) -> User:
        """Store a row in a transaction."""
        ...

    async def close(self) -> None:
        """Close the connections."""
