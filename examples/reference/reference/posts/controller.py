"""The routes of posts: one class, whose constructor receives the service."""

from fastapi import APIRouter, Response

from ..fields import IDEMPOTENT, PageQuery, PostId, UserId
from .dto import Post, PostInput, PostList
from .service import PostService

__all__ = ("PostController",)


class PostController:
    """Posts of a user. ``router`` is what the application includes."""

    def __init__(self, posts: PostService) -> None:
        self._posts = posts
        self.router = APIRouter(prefix="/api/users/{id}/posts", tags=["posts"])
        self.router.get("")(self.list_posts)
        self.router.post("", status_code=201, dependencies=IDEMPOTENT)(self.create_post)
        self.router.get("/{post_id}")(self.get_post)

    async def list_posts(self, user_id: UserId, page: PageQuery) -> PostList:
        """List a user's posts in the order of their ids."""
        return await self._posts.list(user_id, page)

    async def create_post(self, user_id: UserId, values: PostInput, response: Response) -> Post:
        """Create a post of a user."""
        post = await self._posts.create(user_id, values)
        response.headers["Location"] = f"/api/users/{user_id}/posts/{post.id}"
        return post

    async def get_post(self, user_id: UserId, post_id: PostId) -> Post:
        """Return one post of a user."""
        return await self._posts.get(user_id, post_id)
