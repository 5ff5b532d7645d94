"""Where users are kept."""

from typing import Protocol

from roadworthy.patterns import Repository, TableRepository

from ..database import Database
from ..schema import users
from .dto import User

__all__ = ("UserRepository", "Users")


class Users(Repository[User, int], Protocol):
    """What services ask of the store of users: what every repository has."""


class UserRepository(TableRepository[User, int]):
    """Users in the database. Their posts go with them, by the foreign key."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, users, User, label="User", codes={"email": "EMAIL_TAKEN"})
