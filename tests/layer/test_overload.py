"""Overload: a ceiling with a short queue."""

import asyncio

import pytest

from roadworthy import Settings
from roadworthy.errors import Limit
from roadworthy.layer.overload import Overload
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio


def _item(ceiling: int = 1, queue: int = 1, timeout: float = 5.0) -> Overload:
    return Overload(Settings(max_in_flight=ceiling, queue_size=queue, queue_timeout=timeout))


async def _waiting(item: Overload, count: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while item.waiting != count:
            await asyncio.sleep(0)


async def test_a_place_is_taken_and_given_back() -> None:
    """As many places as the ceiling says, and each comes back."""
    item = _item(2)
    assert item.enter()
    assert item.enter()
    assert not item.enter()
    item.leave()
    assert item.enter()


async def test_the_queue_hands_a_place_over() -> None:
    """The first in the queue gets the place that becomes free, before anybody new."""
    item = _item()
    assert item.enter()
    waiter = asyncio.ensure_future(item.wait())
    await _waiting(item, 1)
    item.leave()
    assert not item.enter()
    assert await waiter is None
    assert item.in_flight == 1
    item.leave()
    assert item.in_flight == 0


async def test_a_full_queue_is_503_at_once() -> None:
    """Beyond ceiling and queue a request is refused with Retry-After."""
    item = _item(queue=0)
    assert item.enter()
    refused = await item.wait()
    assert refused is not None
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert item.shed == 1


async def test_waiting_has_an_end() -> None:
    """A request that waited queue_timeout in vain is refused, and leaves the queue."""
    item = _item(timeout=0.01)
    assert item.enter()
    refused = await item.wait()
    assert refused is not None
    assert refused.limit == Limit("QUEUE_TIMEOUT", 0.01, "seconds")
    assert item.waiting == 0


async def test_a_client_that_leaves_the_queue_takes_no_place_with_it() -> None:
    """Cancelling a waiter at any moment loses no place, also when it was just handed over."""
    item = _item(queue=2)
    assert item.enter()
    first = asyncio.ensure_future(item.wait())
    await _waiting(item, 1)
    item.leave()  # handed over, and in the same turn:
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert item.in_flight == 0
    assert item.enter()
