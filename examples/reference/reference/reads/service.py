"""What is read together."""

from roadworthy.patterns import fan_out

from ..posts.repository import Posts
from ..users.repository import Users
from .dto import Batch, BatchResult, Overview

__all__ = ("ReadService",)

_POSTS = 20  # as many as a page of posts has by default
_CHUNK = 50  # users of one statement: a thousand are twenty statements, some of them at the same time


class ReadService:
    """Reads that are made of several reads at the same time."""

    def __init__(self, users: Users, posts: Posts) -> None:
        self._users = users
        self._posts = posts

    async def overview(self, user_id: int) -> Overview:
        """Return a user and the user's first posts.

        Raises:
            NotFoundError: there is no such user.
        """
        # Both at the same time, however small the pool is of which fan_out would take its limit.
        user, posts = await fan_out(
            self._users.get(user_id),
            self._posts.list(limit=_POSTS, where={"user_id": user_id}),
            limit=2,
        )
        return Overview(user=user, posts=[*posts.items])

    async def batch(self, asked: Batch) -> BatchResult:
        """Return many users, in the order asked."""
        chunks = (asked.ids[start : start + _CHUNK] for start in range(0, len(asked.ids), _CHUNK))
        found = await fan_out(self._users.get_many(chunk) for chunk in chunks)
        return BatchResult(items=[user for part in found for user in part])
