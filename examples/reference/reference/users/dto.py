"""Users on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from ..fields import DTO, NextCursor, Text

__all__ = ("Email", "User", "UserInput", "UserList")

Email = Annotated[
    Text,
    StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", to_lower=True),
]
"""At most 254 characters: the longest path that SMTP carries, without its brackets (RFC 5321 §4.5.3.1.3)."""


class UserInput(DTO):
    """What a client may set."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=100)]
    email: Email


class User(DTO):
    """A user."""

    id: int
    name: str
    email: str
    created_at: datetime


class UserList(DTO):
    """One page of users, in the order of their ids."""

    items: list[User]
    next_cursor: NextCursor
