"""Where posts are kept."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import update

from roadworthy.patterns import Repository, TableRepository

from ..database import Database
from ..schema import posts
from .dto import Post

__all__ = ("PostRepository", "Posts")

_CHUNK = 500  # ids in one statement: every SQLite takes 999 variables


class Posts(Repository[Post, int], Protocol):
    """What services ask of the store of posts."""

    async def move(self, post_ids: Sequence[int], from_user: int, to_user: int) -> int:
        """Give those of the posts that ``from_user`` has to ``to_user``; return how many they were."""
        ...


class PostRepository(TableRepository[Post, int]):
    """Posts in the database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, posts, Post, label="Post", parents={"user_id": "User"})

    async def move(self, post_ids: Sequence[int], from_user: int, to_user: int) -> int:
        """Give those of the posts that ``from_user`` has to ``to_user``; return how many they were."""
        moved = 0
        for start in range(0, len(post_ids), _CHUNK):
            chosen = posts.c.id.in_(post_ids[start : start + _CHUNK]), posts.c.user_id == from_user
            moved += await self.execute(update(posts).where(*chosen).values(user_id=to_user))
        return moved
