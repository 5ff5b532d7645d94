"""Work that is done to its end, whatever happens to whoever waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from roadworthy.patterns._to_the_end import to_the_end, to_the_end_here
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio


async def _in_a_task(work: Any, ended: asyncio.Future[None]) -> None:
    async def reported() -> None:
        try:
            await work
        except Exception as error:
            ended.set_exception(error)
            raise
        ended.set_result(None)

    await to_the_end(reported())


async def _nested(work: Any, ended: asyncio.Future[None]) -> None:
    inner = asyncio.get_running_loop().create_future()
    await to_the_end_here(to_the_end_here(work, inner), ended)


_WAYS: list[Callable[..., Awaitable[None]]] = [_in_a_task, to_the_end_here, _nested]


@pytest.mark.parametrize("way", _WAYS, ids=["task", "here", "nested"])
@pytest.mark.parametrize("waits_for", ["an answer", "a failure", "two answers", "others", "nothing"])
@pytest.mark.parametrize("cancelled", [0, 1, 3])
async def test_a_cancellation_waits_for_the_end(
    way: Callable[..., Awaitable[None]], waits_for: str, cancelled: int
) -> None:
    """The work is done once and as a whole; then who was cancelled meanwhile is, with the first message."""
    loop = asyncio.get_running_loop()
    answers = [loop.create_future() for _ in range(2)]
    ended = loop.create_future()
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        if waits_for == "others":
            for _ in range(3):
                await asyncio.sleep(0)
        for answer in answers[: {"an answer": 1, "a failure": 1, "two answers": 2}.get(waits_for, 0)]:
            await answer
        steps.append("done")

    task = asyncio.ensure_future(way(work(), ended))
    while not steps:
        await asyncio.sleep(0)
    waited = not task.done()
    for number in range(cancelled):
        task.cancel(f"message {number}")
        await asyncio.sleep(0)
    assert not waited or waits_for in {"others", "nothing"} or not task.done()
    if waits_for == "a failure":
        answers[0].set_exception(LookupError())
    for answer in answers:
        await asyncio.sleep(0)
        if not answer.done():
            answer.set_result(None)
    (end,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), DEADLINE)
    fails = waits_for == "a failure"
    assert steps == (["begun"] if fails else ["begun", "done"])
    assert isinstance(ended.exception(), LookupError if fails else type(None))
    if cancelled and waited:
        assert task.cancelled()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.value.args in {("message 0",), ()}
    else:
        assert isinstance(end, LookupError if fails else type(None))


async def test_a_deadline_passes_after_the_end() -> None:
    """``asyncio.timeout`` around it takes effect when the work is done, and knows its own cancellation."""
    loop = asyncio.get_running_loop()
    answer, ended = loop.create_future(), loop.create_future()

    async def work() -> None:
        await answer

    loop.call_later(0.1, answer.set_result, None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await to_the_end_here(work(), ended)
    assert answer.done()
    assert ended.done()
    await asyncio.sleep(0)


async def test_work_of_a_task_that_nobody_ends() -> None:
    """What is dropped half-way with its event loop is closed, and not waited for."""
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    waiting = to_the_end_here(work(), asyncio.get_running_loop().create_future())
    waiting.send(None)
    waiting.close()
    assert closed == [True]
