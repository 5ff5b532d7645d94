"""Posts in the database."""

from datetime import UTC, datetime

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from roadworthy import NotFoundError

from ..fields import Page
from ..schema import posts
from .dto import Post, PostInput

__all__ = ("PostRepository",)


class PostRepository:
    """Reads and writes posts over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, user_id: int, post_id: int) -> Post | None:
        """Return the user's post, None where there is none."""
        statement = select(posts).where(posts.c.id == post_id, posts.c.user_id == user_id)
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _post(row)

    async def list(self, user_id: int, page: Page) -> list[Post]:
        """Return the page's posts and, where there are more, one of the next page."""
        statement = (
            select(posts)
            .where(posts.c.user_id == user_id, posts.c.id > page.after)
            .order_by(posts.c.id)
            .limit(page.limit + 1)
        )
        return [_post(row) for row in (await self._connection.execute(statement)).mappings()]

    async def insert(self, user_id: int, values: PostInput) -> Post:
        """Store a new post.

        Raises:
            NotFoundError: there is no such user.
        """
        statement = insert(posts).values(user_id=user_id, **values.model_dump(), created_at=datetime.now(UTC))
        try:
            return _post((await self._connection.execute(statement.returning(posts))).mappings().one())
        except IntegrityError as error:  # the foreign key
            raise NotFoundError("User not found") from error


def _post(row: RowMapping) -> Post:
    return Post.model_validate(dict(row))
