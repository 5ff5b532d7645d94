"""What can be done with posts."""

from roadworthy import NotFoundError

from ..database import Database
from ..fields import Page, next_cursor
from ..users.repository import UserRepository
from .dto import Post, PostInput, PostList
from .repository import PostRepository

__all__ = ("PostService",)


class PostService:
    """Posts of users, each change in one unit of work that is committed when the method returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: int, post_id: int) -> Post:
        """Return one post.

        Raises:
            NotFoundError: there is no such post of this user.
        """
        async with self._database.read() as connection:
            post = await PostRepository(connection).find(user_id, post_id)
        if post is None:
            raise NotFoundError("Post not found")
        return post

    async def list(self, user_id: int, page: Page) -> PostList:
        """Return one page of a user's posts.

        Raises:
            NotFoundError: there is no such user.
        """
        async with self._database.read() as connection:
            posts = await PostRepository(connection).list(user_id, page)
            # Only an empty page leaves open whether there is such a user.
            if not posts and await UserRepository(connection).find(user_id) is None:
                raise NotFoundError("User not found")
        return PostList(items=posts[: page.limit], next_cursor=next_cursor([post.id for post in posts], page))

    async def create(self, user_id: int, values: PostInput) -> Post:
        """Create a post.

        Raises:
            NotFoundError: there is no such user.
        """
        async with self._database.write() as connection:
            return await PostRepository(connection).insert(user_id, values)
