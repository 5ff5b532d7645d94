"""What can be done with users."""

from datetime import UTC, datetime

from roadworthy.patterns import transactional

from ..fields import PageRequest
from .dto import User, UserInput, UserList
from .repository import Users

__all__ = ("UserService",)


class UserService:
    """Users, each change in one unit of work that is committed when the method returns."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def get(self, user_id: int) -> User:
        """Return one user.

        Raises:
            NotFoundError: there is no such user.
        """
        return await self._users.get(user_id)

    async def list(self, page: PageRequest) -> UserList:
        """Return one page of users."""
        found = await self._users.list(limit=page.limit, cursor=page.cursor)
        return UserList(items=[*found.items], next_cursor=found.next_cursor)

    @transactional
    async def create(self, values: UserInput) -> User:
        """Create a user.

        Raises:
            ConflictError: another user has this e-mail address.
        """
        return await self._users.insert({**values.model_dump(), "created_at": datetime.now(UTC)})

    @transactional
    async def replace(self, user_id: int, values: UserInput) -> User:
        """Replace a user's name and e-mail address.

        Raises:
            NotFoundError: there is no such user.
            ConflictError: another user has this e-mail address.
        """
        return await self._users.update(user_id, values.model_dump())

    @transactional
    async def delete(self, user_id: int) -> None:
        """Delete a user together with the user's posts.

        Raises:
            NotFoundError: there is no such user.
        """
        await self._users.delete(user_id)
