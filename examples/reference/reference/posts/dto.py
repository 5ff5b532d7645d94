"""Posts on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from ..fields import DTO, NextCursor, Text

__all__ = ("Post", "PostInput", "PostList")


class PostInput(DTO):
    """What a client may set."""

    title: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    body: Annotated[Text, StringConstraints(max_length=10_000)]


class Post(DTO):
    """A post of a user."""

    id: int
    user_id: int
    title: str
    body: str
    created_at: datetime


class PostList(DTO):
    """One page of a user's posts, in the order of their ids."""

    items: list[Post]
    next_cursor: NextCursor
