"""What a probe may take, and what is not counted."""

from __future__ import annotations

import asyncio

import pytest

from roadworthy.checker.bench.deadline import Deadline

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The deadline is one of asyncio."""
    return "asyncio"


async def test_the_clock_stands_still_while_a_service_starts() -> None:
    """Paused, nothing runs out; resumed, what was left is left, however often either is asked for."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60) as timeout:
        deadline = Deadline(timeout)
        deadline.pause()
        deadline.pause()
        assert timeout.when() is None
        await asyncio.sleep(0)
        deadline.resume()
        when = timeout.when()
        assert when is not None
        assert 0 < when - loop.time() <= 60
        deadline.resume()
        assert timeout.when() == when


async def _run_out() -> None:
    async with asyncio.timeout(0) as timeout:
        try:
            await asyncio.Event().wait()
        finally:
            deadline = Deadline(timeout)
            deadline.pause()
            deadline.resume()


async def test_what_has_run_out_stays_so() -> None:
    """A deadline that is over is not given back by a start that comes too late."""
    with pytest.raises(TimeoutError):
        await _run_out()


def test_a_bench_without_a_deadline_has_no_clock() -> None:
    """A bench beside the probe's own has nothing to stop."""
    deadline = Deadline()
    deadline.pause()
    deadline.resume()
    assert deadline.timeout is None
