"""What is read together, on the wire."""

from typing import Annotated

from pydantic import Field

from ..fields import DTO, Id
from ..posts.dto import Post
from ..users.dto import User

__all__ = ("Batch", "BatchResult", "Overview")


class Overview(DTO):
    """A user and the user's first posts."""

    user: User
    posts: list[Post]


class Batch(DTO):
    """Users that are asked for."""

    ids: Annotated[list[Id], Field(max_length=1000)]


class BatchResult(DTO):
    """One entry for each id, in the order asked; null where there is no such user."""

    items: list[User | None]
