"""What can be done with posts."""

from datetime import UTC, datetime

from roadworthy import NotFoundError
from roadworthy.patterns import transactional

from ..fields import PageRequest
from ..users.repository import Users
from .dto import Post, PostInput, PostList
from .repository import Posts

__all__ = ("PostService",)


class PostService:
    """Posts of users, each change in one unit of work that is committed when the method returns."""

    def __init__(self, users: Users, posts: Posts) -> None:
        self._users = users
        self._posts = posts

    async def get(self, user_id: int, post_id: int) -> Post:
        """Return one post.

        Raises:
            NotFoundError: there is no such post of this user.
        """
        post = await self._posts.get(post_id)
        if post.user_id != user_id:
            raise NotFoundError("Post not found")
        return post

    @transactional(read_only=True)
    async def list(self, user_id: int, page: PageRequest) -> PostList:
        """Return one page of a user's posts.

        Raises:
            NotFoundError: there is no such user.
        """
        found = await self._posts.list(limit=page.limit, cursor=page.cursor, where={"user_id": user_id})
        if not found.items:
            await self._users.get(user_id)  # only an empty page leaves open whether there is such a user
        return PostList(items=[*found.items], next_cursor=found.next_cursor)

    @transactional
    async def create(self, user_id: int, values: PostInput) -> Post:
        """Create a post.

        Raises:
            NotFoundError: there is no such user.
        """
        return await self._posts.insert(
            {"user_id": user_id, **values.model_dump(), "created_at": datetime.now(UTC)}
        )
