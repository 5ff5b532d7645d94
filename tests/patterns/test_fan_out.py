"""Fan-out: bounded, in order or as completed, nobody left behind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

import roadworthy
from roadworthy import ConflictError, NotFoundError, Settings
from roadworthy.errors import APIError, UnavailableError
from roadworthy.layer.connection_pooling import ConnectionPooling
from roadworthy.layer.resources import SqlAlchemyPool
from roadworthy.patterns import Database, fan_out, transactional, unit_of_work

pytestmark = pytest.mark.anyio


class Children:
    """Coroutines that count themselves and note how they ended."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.ended: list[object] = []

    async def child(self, result: object = None, ticks: int = 3) -> Any:
        """Return the result after some turns of the loop, or raise it."""
        async with self._counted(result):
            for _ in range(ticks):
                await asyncio.sleep(0)
            if isinstance(result, BaseException):
                raise result
            return result

    async def hang(self, name: str = "hung") -> object:
        """Run until cancelled."""
        async with self._counted(name):
            return await asyncio.Event().wait()

    @asynccontextmanager
    async def _counted(self, name: object) -> AsyncGenerator[None]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield
        except asyncio.CancelledError:
            self.ended.append(("cancelled", name))
            raise
        else:
            self.ended.append(name)
        finally:
            self.running -= 1


@pytest.fixture
def children() -> Children:
    """Children of one test."""
    return Children()


async def test_several_awaitables_are_a_tuple_in_order(children: Children) -> None:
    """Results come in the order of the arguments, and the arguments run at the same time."""
    user, posts = await fan_out(children.child("user", 9), children.child("posts", 1))
    assert (user, posts) == ("user", "posts")
    assert children.most == 2
    assert children.ended == ["posts", "user"]


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_no_more_than_the_limit_run_at_once(children: Children, limit: int) -> None:
    """Of fifty children as many run at once as are allowed; the results are in order."""
    assert await fan_out((children.child(n, 3 + n % 7) for n in range(50)), limit=limit) == list(range(50))
    assert children.most == limit


async def test_a_generator_is_asked_only_when_there_is_room(children: Children) -> None:
    """A thousand ids are not a thousand coroutines: one is made when it can begin."""
    ahead: list[int] = []

    def made() -> Iterator[Any]:
        for number in range(100):
            ahead.append(number - len(children.ended))
            yield children.child(number)

    await fan_out(made(), limit=4)
    assert max(ahead) < 4


async def test_as_completed(children: Children) -> None:
    """Inside a block results come as they complete, each with its place."""
    async with fan_out([children.child("slow", 9), children.child("fast", 1)]) as results:
        seen = [(index, result) async for index, result in results]
    assert seen == [(1, "fast"), (0, "slow")]


async def test_a_slow_reader_slows_the_children_down(children: Children) -> None:
    """Results that nobody takes do not pile up: no more children begin than fit the bound."""
    async with fan_out((children.child(n, 0) for n in range(50)), limit=3) as results:
        async for index, _ in results:
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(children.ended) <= index + 1 + 3


async def test_leaving_the_block_ends_the_children(children: Children) -> None:
    """A caller who has seen enough leaves nothing running behind."""
    async with fan_out([children.child("first"), children.hang(), children.hang()], limit=3) as results:
        async for _ in results:
            break
    assert children.running == 0
    assert children.ended.count(("cancelled", "hung")) == 2


async def test_the_first_failure_is_raised_as_it_is_and_ends_the_siblings(children: Children) -> None:
    """The caller catches what the child raised; siblings have ended by then, further ones never begin."""
    unbegun = children.child("never")
    with pytest.raises(NotFoundError, match="no such user"):
        await fan_out([children.hang(), children.child(NotFoundError("no such user")), unbegun], limit=2)
    assert children.ended == [("cancelled", "hung")]
    # Closed, else it warns that it was never awaited.
    assert inspect.getcoroutinestate(unbegun) == inspect.CORO_CLOSED


async def test_siblings_are_told_at_the_failure_even_while_nobody_asks(children: Children) -> None:
    """Going through the results slowly does not let the work that is in vain go on."""
    async with fan_out([children.child(KeyError("x")), children.hang()], limit=2) as results:
        asking = asyncio.ensure_future(anext(results))
        while children.running or not children.ended:
            await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await asking
    assert children.ended == [("cancelled", "hung")]


async def test_a_second_failure_is_recorded(children: Children, caplog: pytest.LogCaptureFixture) -> None:
    """What fails while it is cancelled is not lost behind the first failure: a record holds its stack."""

    async def clumsy() -> None:
        try:
            await children.hang()
        finally:
            raise OSError("the second")

    with pytest.raises(ValueError, match="the first"):
        await fan_out(clumsy(), children.child(ValueError("the first")))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the second"


@pytest.mark.parametrize(
    ("first", "second", "recorded"),
    [
        (UnavailableError("no store"), UnavailableError("no store"), False),
        (UnavailableError("no store"), UnavailableError("no mail"), True),
        (APIError("no", 502, "NO_STORE"), APIError("no", 502, "NO_STORE"), False),
        (APIError("no", 502, "NO_STORE"), APIError("no", 502, "NO_MAIL"), True),
        (APIError("no", 502, "NO_STORE"), APIError("no", 500, "NO_STORE"), True),
        (UnavailableError("down"), roadworthy.TimeoutError("down"), True),
        (UnavailableError("no store"), KeyError("no store"), True),
        (KeyError("no store"), UnavailableError("no store"), True),
        (KeyError("x"), KeyError("x"), True),
        (UnavailableError("no store"), NotFoundError("no such user"), False),
        (KeyError("x"), NotFoundError("no such user"), False),
    ],
)
async def test_what_says_the_same_is_one_failure(
    first: Exception,
    second: Exception,
    recorded: bool,
    children: Children,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An outage that several children meet leaves one record, and any other failure its own."""
    with pytest.raises(type(first)):
        await fan_out(children.child(first), children.child(second))
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [second] * recorded


async def test_a_failure_in_a_block_that_catches_it_is_recorded(
    children: Children, caplog: pytest.LogCaptureFixture
) -> None:
    """Who goes through the results and goes on after a failure has the others recorded."""
    away = [UnavailableError("no store"), UnavailableError("no store")]
    async with fan_out([children.child(each) for each in away]) as results:
        with pytest.raises(UnavailableError):
            await anext(results)
    assert len(caplog.records) == 1


async def test_partial_results(children: Children, caplog: pytest.LogCaptureFixture) -> None:
    """On request a failure stands in its place, the siblings finish, and nothing is recorded."""
    failure = ValueError("one")
    found = await fan_out([children.child(1), children.child(failure), children.child(3, 9)], partial=True)
    assert found == [1, failure, 3]
    assert not caplog.records


async def test_the_deadline_ends_the_children(children: Children) -> None:
    """When the time is over the children are cancelled and the error is the one that becomes 504."""
    with pytest.raises(roadworthy.TimeoutError) as told:
        await fan_out([children.child(1), children.hang()], timeout=0.25)
    assert told.value.status == 504
    assert children.ended == [1, ("cancelled", "hung")]


async def test_partial_results_at_the_deadline(children: Children) -> None:
    """What is done is kept; those that ran and those that never began have the deadline's error."""
    waiting = [children.child(1), children.hang(), children.hang(), children.child(4), children.child(5)]
    first, *rest = await fan_out(waiting, limit=2, timeout=0.25, partial=True)
    assert first == 1
    assert [type(one) for one in rest] == [roadworthy.TimeoutError] * 4
    assert children.running == 0


async def test_a_child_that_refuses_to_end_is_named_and_left(
    children: Children, caplog: pytest.LogCaptureFixture
) -> None:
    """The deadline holds even for a child that swallows its cancellation; a record names it."""
    over = asyncio.Event()

    async def stubborn() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    stubborn_child = asyncio.ensure_future(stubborn())
    try:
        found = await fan_out([stubborn_child, children.child(2)], timeout=0.25, partial=True)
    finally:
        over.set()
        await stubborn_child
    assert [type(found[0]), found[1]] == [roadworthy.TimeoutError, 2]
    assert [record.__dict__["children"] for record in caplog.records] == [[stubborn.__qualname__]]


async def test_cancelling_the_caller_ends_the_children(children: Children) -> None:
    """A client that leaves, or a request's deadline, reaches every child."""
    caller = asyncio.ensure_future(children_of(children))
    while children.running < 2:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert children.ended == [("cancelled", "hung")] * 2


async def children_of(children: Children) -> None:
    """Wait for two children that hang."""
    await fan_out(children.hang(), children.hang())


async def test_a_child_that_somebody_else_cancels_does_not_cancel_the_caller(children: Children) -> None:
    """asyncio.gather passes a child's cancellation on as if the caller had been cancelled; this does not."""
    other = asyncio.ensure_future(children.hang())
    asyncio.get_running_loop().call_soon(other.cancel)
    with pytest.raises(RuntimeError, match="cancelled from outside"):
        await fan_out(other, children.hang())
    assert children.running == 0


async def test_children_have_the_context_of_their_caller() -> None:
    """Request id and trace are context variables: children see them, and what they set stays theirs."""
    variable: ContextVar[str] = ContextVar("variable", default="")

    async def child(number: int) -> str:
        seen = variable.get()
        variable.set(f"child {number}")
        await asyncio.sleep(0)
        assert variable.get() == f"child {number}"
        return seen

    variable.set("request")
    assert await fan_out((child(number) for number in range(5)), limit=2) == ["request"] * 5
    assert variable.get() == "request"


async def test_a_generator_that_fails_ends_the_children(children: Children) -> None:
    """An exception of the iterable itself is raised, and what had begun is ended."""

    def made() -> Iterator[Any]:
        yield children.hang()
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await fan_out(made())
    assert children.running == 0


async def test_the_same_task_twice(children: Children) -> None:
    """A task that stands in two places gives its result to both."""
    shared = asyncio.ensure_future(children.child("shared", 5))
    assert await fan_out([shared, children.child(1), shared], limit=3) == ["shared", 1, "shared"]


async def test_what_is_no_awaitable(children: Children) -> None:
    """A None among the children, as of a function that is not async, is told and hides none of them."""
    wrong: Any = [children.child(1), None, children.child(2)]
    with pytest.raises(TypeError, match="awaitable"):
        await fan_out(wrong)


async def test_an_empty_fan_out() -> None:
    """Nothing to wait for is an empty result."""
    nothing: list[Coroutine[Any, Any, int]] = []
    assert await fan_out(nothing) == []
    assert await fan_out() == ()  # type: ignore[call-overload]


async def test_wrong_use_is_told(children: Children) -> None:
    """A single awaitable, a limit of 0, a deadline of 0, reading outside of the block, using it twice."""
    with pytest.raises(TypeError, match="several awaitables, or one iterable"):
        fan_out(children.child())  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="at least 1"):
        fan_out([], limit=0)
    with pytest.raises(ValueError, match="more than 0 seconds"):
        fan_out([], timeout=0)
    with pytest.raises(RuntimeError, match="async with fan_out"):
        await anext(fan_out([]))
    nothing: list[Coroutine[Any, Any, int]] = []
    once = fan_out(nothing)
    await once
    with pytest.raises(RuntimeError, match="used once"):
        await once


@pytest.mark.parametrize(("size", "bound"), [(1, 1), (3, 2), (10, 5)])
async def test_the_bound_is_half_of_the_pool(
    tmp_path: Path, children: Children, size: int, bound: int
) -> None:
    """Without a limit, one request takes at most half of the smallest open pool."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/pool.db", pool_size=size, max_overflow=0)
    pooling = ConnectionPooling(Settings(_env_file=None), [SqlAlchemyPool(engine)])
    await pooling.start()
    try:
        await fan_out(children.child() for _ in range(30))
    finally:
        await pooling.stop()
    assert children.most == bound


async def test_without_a_pool_eight_run_at_once(children: Children) -> None:
    """The bound where nothing limits connections."""
    await fan_out(children.child() for _ in range(30))
    assert children.most == 8


async def test_children_take_part_in_their_callers_unit_of_work(tmp_path: Path) -> None:
    """What children write is committed with the caller's unit, and undone with it when one of them fails."""
    database = Database(f"sqlite:///{tmp_path}/unit.db")
    await database.start()

    async def write(number: int) -> None:
        async with database.connection() as connection:
            await connection.execute(text("INSERT INTO rows VALUES (:n)"), {"n": number})

    @transactional
    async def write_all(numbers: list[int]) -> None:
        await fan_out((write(number) for number in numbers), limit=5)

    async def count() -> int:
        async with database.connection() as connection:
            return int((await connection.execute(text("SELECT count(*) FROM rows"))).scalar_one())

    try:
        async with unit_of_work(), database.connection() as connection:
            await connection.execute(text("CREATE TABLE rows (n INTEGER PRIMARY KEY)"))
        await write_all(list(range(20)))
        assert await count() == 20
        with pytest.raises(ConflictError):
            await write_all([30, 31, 5, 32])
        assert await count() == 20
    finally:
        await database.stop()


async def test_a_thousand_reads_need_no_more_connections_than_the_pool_has(tmp_path: Path) -> None:
    """A batch never waits for a connection of the pool while it holds one, and is complete."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/pool.db", pool_size=4, max_overflow=0)
    pool = SqlAlchemyPool(engine)
    pooling = ConnectionPooling(Settings(_env_file=None), [pool])
    await pooling.start()
    used: list[int] = []

    async def read(number: int) -> int:
        async with engine.connect() as connection:
            stats = pool.stats()
            assert stats is not None
            used.append(stats.in_use)
            return int((await connection.execute(text("SELECT :n"), {"n": number})).scalar_one())

    try:
        assert await fan_out(read(number) for number in range(200)) == list(range(200))
    finally:
        await pooling.stop()
    assert max(used) == 2
