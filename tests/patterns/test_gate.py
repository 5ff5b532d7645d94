"""The gate before a pool, and the one timer of all that wait."""

import asyncio

import pytest

from roadworthy.patterns.stores.gate import Gate
from roadworthy.patterns.stores.sweep import Sweep
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio

WAIT = 0.2


@pytest.fixture
async def taken() -> Gate:
    """A gate whose only place is taken."""
    gate = Gate(1, WAIT)
    await gate.enter()
    return gate


async def test_each_waits_as_long_as_it_may(taken: Gate) -> None:
    """Who comes later is refused later, in order, and each after its own time."""
    loop = asyncio.get_running_loop()
    refused: list[tuple[int, float]] = []

    async def wait(number: int) -> None:
        begun = loop.time()
        with pytest.raises(TimeoutError):
            await taken.enter()
        refused.append((number, loop.time() - begun))

    tasks = []
    for number in range(3):
        tasks.append(asyncio.create_task(wait(number)))
        await asyncio.sleep(WAIT / 4)
    await asyncio.gather(*tasks)
    assert [number for number, _ in refused] == [0, 1, 2]
    assert all(seconds >= WAIT - 0.02 for _, seconds in refused)
    assert not taken.waiting
    taken.leave()
    assert taken.enter_now()


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("moment", ["before", "with the place"])
async def test_a_place_is_never_lost(taken: Gate, which: int, moment: str) -> None:
    """Whoever of those who wait gives up, and when, the next one gets the place, and no two have it."""
    entered: list[int] = []

    async def enter(number: int) -> None:
        await taken.enter()
        entered.append(number)
        taken.leave()

    tasks = [asyncio.create_task(enter(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert taken.waiting == 3
    if moment == "before":
        tasks[which].cancel()
        await asyncio.sleep(0)
        taken.leave()
    else:
        taken.leave()
        tasks[which].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert entered == [number for number in range(3) if number != which]
    assert isinstance(ends[which], asyncio.CancelledError)
    assert taken.enter_now()
    assert not taken.enter_now()


async def test_a_sweep_calls_what_is_not_over() -> None:
    """Of many that began one after another only those that are not over are called, once, in their order."""
    late: list[int] = []
    sweep = Sweep(WAIT)
    watched = []
    for number in range(6):
        watched.append(sweep.watch(late.append, number))
        await asyncio.sleep(WAIT / 10)
    for number in (0, 2, 5):
        watched[number].is_over = True
    async with asyncio.timeout(DEADLINE):
        while len(late) < 3:
            await asyncio.sleep(0.01)
    await asyncio.sleep(WAIT)
    assert late == [1, 3, 4]


def test_a_sweep_outlives_its_event_loop() -> None:
    """What was watched in a loop that is closed neither keeps nor reaches what the next loop watches."""
    late: list[str] = []
    sweep = Sweep(WAIT)

    async def watch(name: str, seconds: float) -> None:
        sweep.watch(late.append, name)
        await asyncio.sleep(seconds)

    asyncio.run(watch("first", 0))
    asyncio.run(watch("second", WAIT * 2))
    assert late == ["second"]
