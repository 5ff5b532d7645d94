"""Where everything is kept: the one place to change for another kind of storage."""

from __future__ import annotations

from dataclasses import dataclass

from roadworthy.patterns import TableAnswers
from roadworthy.patterns.idempotency import AnswerStore

from .database import Database
from .posts.repository import PostRepository, Posts
from .schema import answers
from .users.repository import UserRepository, Users

__all__ = ("Storage", "in_database")


@dataclass(frozen=True, slots=True)
class Storage:
    """The repositories of one store, so that a unit of work can span them."""

    users: Users
    posts: Posts
    answers: AnswerStore


def in_database(database: Database) -> Storage:
    """Keep everything in a database."""
    return Storage(UserRepository(database), PostRepository(database), TableAnswers(database, answers))
