"""Users in the database."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from roadworthy import ConflictError

from ..fields import Page
from ..schema import users
from .dto import User, UserInput

__all__ = ("UserRepository",)


class UserRepository:
    """Reads and writes users over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, user_id: int) -> User | None:
        """Return the user, None where there is none."""
        row = (
            (await self._connection.execute(select(users).where(users.c.id == user_id)))
            .mappings()
            .one_or_none()
        )
        return None if row is None else _user(row)

    async def list(self, page: Page) -> list[User]:
        """Return the page's users and, where there are more, one of the next page."""
        statement = select(users).where(users.c.id > page.after).order_by(users.c.id).limit(page.limit + 1)
        return [_user(row) for row in (await self._connection.execute(statement)).mappings()]

    async def insert(self, values: UserInput) -> User:
        """Store a new user.

        Raises:
            ConflictError: another user has this e-mail address.
        """
        statement = insert(users).values(**values.model_dump(), created_at=datetime.now(UTC))
        with _unique_email():
            return _user((await self._connection.execute(statement.returning(users))).mappings().one())

    async def update(self, user_id: int, values: UserInput) -> User | None:
        """Replace what the client may set; None where there is no such user.

        Raises:
            ConflictError: another user has this e-mail address.
        """
        statement = update(users).where(users.c.id == user_id).values(**values.model_dump())
        with _unique_email():
            row = (await self._connection.execute(statement.returning(users))).mappings().one_or_none()
        return None if row is None else _user(row)

    async def delete(self, user_id: int) -> bool:
        """Delete the user and, by the foreign key, the user's posts; False where there is no such user."""
        return (await self._connection.execute(delete(users).where(users.c.id == user_id))).rowcount == 1


def _user(row: RowMapping) -> User:
    return User.model_validate(dict(row))


@contextmanager
def _unique_email() -> Generator[None]:
    # Asking first whether the address is free would leave a moment in which another takes it.
    try:
        yield
    except IntegrityError as error:
        raise ConflictError("Email is already in use", code="EMAIL_TAKEN") from error
