"""What can be done with the posts of two users at once."""

from roadworthy import ConflictError, NotFoundError
from roadworthy.patterns import transactional

from ..posts.repository import Posts
from ..users.repository import Users
from .dto import Transfer, TransferResult

__all__ = ("TransferService",)


class TransferService:
    """Moves posts between users, all that are named or none."""

    def __init__(self, users: Users, posts: Posts) -> None:
        self._users = users
        self._posts = posts

    @transactional
    async def transfer(self, order: Transfer) -> TransferResult:
        """Move posts from one user to another.

        Raises:
            NotFoundError: there is no such user, or no such post.
            ConflictError: a post belongs to somebody else.
        """
        await self._users.get(order.from_user)
        await self._users.get(order.to_user)
        wanted = list(dict.fromkeys(order.post_ids))
        if None in await self._posts.get_many(wanted):
            raise NotFoundError("Post not found")
        moved = await self._posts.move(wanted, order.from_user, order.to_user)
        if moved != len(wanted):
            raise ConflictError("A post does not belong to from_user", code="NOT_OWNER")
        return TransferResult(moved=moved)
