"""Reads that are made of several reads at the same time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from reference.posts.repository import Posts
from reference.reads.dto import Batch
from reference.reads.service import ReadService
from reference.users.dto import User
from reference.users.repository import Users
from roadworthy import NotFoundError
from roadworthy.patterns.repository import Page

pytestmark = pytest.mark.anyio

ADA = User(id=1, name="Ada", email="ada@example.com", created_at=datetime.now(UTC))


class Meeting:
    """Both repositories; each read of an overview ends only when the other has begun."""

    def __init__(self) -> None:
        self.there = [asyncio.Event(), asyncio.Event()]
        self.running = self.most = 0

    async def get(self, key: int) -> User:
        """Wait for the list of posts."""
        self.there[0].set()
        await self.there[1].wait()
        if key != ADA.id:
            raise NotFoundError("User not found")
        return ADA

    async def list(self, **_: Any) -> Page[Any]:
        """Wait for the user."""
        self.there[1].set()
        await self.there[0].wait()
        return Page([], None)

    async def get_many(self, keys: Sequence[int]) -> Sequence[User | None]:
        """Count how many ask at once."""
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return [ADA if key == ADA.id else None for key in keys]


def _service(meeting: Meeting) -> ReadService:
    return ReadService(cast("Users", meeting), cast("Posts", meeting))


async def test_an_overview_reads_both_at_the_same_time() -> None:
    """One after the other they would wait for ever."""
    async with asyncio.timeout(5):
        overview = await _service(Meeting()).overview(1)
    assert (overview.user, overview.posts) == (ADA, [])


async def test_an_overview_of_nobody() -> None:
    """A missing user is what the repository says, as it is."""
    async with asyncio.timeout(5):
        with pytest.raises(NotFoundError, match="User not found"):
            await _service(Meeting()).overview(7)


@pytest.mark.parametrize("count", [0, 1, 50, 51, 1000])
async def test_a_batch_is_bounded_and_in_order(count: int) -> None:
    """However many ids, few statements run at once, and every id has its place."""
    meeting = Meeting()
    asked = [1 + number % 2 for number in range(count)]
    found = await _service(meeting).batch(Batch(ids=asked))
    assert [user and user.id for user in found.items] == [1 if number == 1 else None for number in asked]
    assert meeting.most <= 8
