"""A loop that exits raised in it do not end: the server's own work goes on."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import uvloop

from roadworthy.server.process.event_loop import run_to_the_end

LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
KINDS = [SystemExit, KeyboardInterrupt]

Factory = Callable[[], asyncio.AbstractEventLoop]


def _leave(kind: type[BaseException]) -> NoReturn:
    raise kind("by the app")


async def _leave_in_task(kind: type[BaseException]) -> None:
    _leave(kind)


@pytest.fixture(autouse=True)
def owned() -> Any:
    """SIGINT belongs to the server, as it does while one runs."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_was_ready_still_runs(loop: Factory, kind: type[BaseException]) -> None:
    """Of a hundred tasks and callbacks that exit among others, none takes another with it."""
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda loop, told: None)
        tasks: list[asyncio.Future[Any]] = []
        for number in range(100):
            running.call_soon(_leave, kind)
            tasks += [asyncio.ensure_future(work(number)), asyncio.ensure_future(_leave_in_task(kind))]
        failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if one is not None]
        assert {type(one) for one in failed} == {kind}
        assert len(failed) == 100

    run_to_the_end(main(), loop)
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", KINDS)
def test_whoever_awaits_hears_of_it_and_the_loop_of_callbacks(
    loop: Factory, kind: type[BaseException]
) -> None:
    """A task's exit is its result; a callback's goes to the exception handler, once."""
    told: list[BaseException] = []

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        with pytest.raises(kind):
            await asyncio.ensure_future(_leave_in_task(kind))
        running.call_soon(_leave, kind)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_to_the_end(main(), loop)
    assert [type(one) for one in told] == [kind]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", [*KINDS, RuntimeError])
def test_what_the_server_raises_itself_is_raised(loop: Factory, kind: type[BaseException]) -> None:
    """The end of the server is the end of the loop."""
    with pytest.raises(kind):
        run_to_the_end(_leave_in_task(kind), loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_signal_handler_raises_is_raised(loop: Factory, kind: type[BaseException]) -> None:
    """It was asked for from outside, and happens to be raised amid a task."""

    def handle(number: int, frame: object) -> None:
        _leave(kind)

    async def app() -> None:
        signal.raise_signal(signal.SIGUSR1)
        sys.exit("the handler has not run")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: None)
        # Awaited for its end only: it is not the server that raises.
        await asyncio.wait([asyncio.ensure_future(app())])

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(kind, match="by the app"):
            run_to_the_end(main(), loop)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_that_nobody_else_owns_ends_the_loop(loop: Factory) -> None:
    """Python's own handler leaves no frame, so with it every KeyboardInterrupt may be Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: None)
        await asyncio.wait([asyncio.ensure_future(_leave_in_task(KeyboardInterrupt))])

    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(main(), loop)
