"""What can be done with users."""

from roadworthy import NotFoundError

from ..database import Database
from ..fields import Page, next_cursor
from .dto import User, UserInput, UserList
from .repository import UserRepository

__all__ = ("UserService",)


class UserService:
    """Users, each change in one unit of work that is committed when the method returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: int) -> User:
        """Return one user.

        Raises:
            NotFoundError: there is no such user.
        """
        async with self._database.read() as connection:
            return _found(await UserRepository(connection).find(user_id))

    async def list(self, page: Page) -> UserList:
        """Return one page of users."""
        async with self._database.read() as connection:
            users = await UserRepository(connection).list(page)
        return UserList(items=users[: page.limit], next_cursor=next_cursor([user.id for user in users], page))

    async def create(self, values: UserInput) -> User:
        """Create a user.

        Raises:
            ConflictError: another user has this e-mail address.
        """
        async with self._database.write() as connection:
            return await UserRepository(connection).insert(values)

    async def replace(self, user_id: int, values: UserInput) -> User:
        """Replace a user's name and e-mail address.

        Raises:
            NotFoundError: there is no such user.
            ConflictError: another user has this e-mail address.
        """
        async with self._database.write() as connection:
            return _found(await UserRepository(connection).update(user_id, values))

    async def delete(self, user_id: int) -> None:
        """Delete a user together with the user's posts.

        Raises:
            NotFoundError: there is no such user.
        """
        async with self._database.write() as connection:
            if not await UserRepository(connection).delete(user_id):
                raise NotFoundError("User not found")


def _found(user: User | None) -> User:
    if user is None:
        raise NotFoundError("User not found")
    return user
