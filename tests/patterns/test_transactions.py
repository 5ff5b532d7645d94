"""A unit of work is committed as a whole before anyone hears of a success, or leaves nothing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError
from starlette.middleware.base import RequestResponseEndpoint

from roadworthy import ConflictError, NotFoundError, Settings, UnavailableError, roadworthy
from roadworthy.patterns import (
    Database,
    MemoryRepository,
    MemoryStore,
    Repository,
    TransactionError,
    current_unit,
    fan_out,
    transactional,
    unit_of_work,
)
from roadworthy.patterns.stores import Rules, Savepoint
from roadworthy.patterns.transactions import UnitOfWork
from tests.asgi_driver import Call, http_scope
from tests.patience import DEADLINE
from tests.served import served

from .accounts import Account, Accounts, later

pytestmark = pytest.mark.anyio


class Service:
    """A service as users write one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts = Accounts(database)

    async def emails(self) -> list[str]:
        return [one.email for one in (await self.accounts.list(limit=1000)).items]

    @transactional
    async def add(self, email: str) -> Account:
        return await self.accounts.insert({"email": email})

    @transactional(nested=True)
    async def try_to_add(self, email: str) -> Account:
        return await self.accounts.insert({"email": email})

    @transactional
    async def add_all(self, *emails: str) -> None:
        for email in emails:
            await self.add(email)

    @transactional
    async def break_at_commit(self) -> None:
        await self.add("broken@b.c")
        async with self.database.connection() as connection:
            await connection.execute(insert(later).values(account_id=12345))


@pytest.fixture
def service(database: Database) -> Service:
    """The service on a database."""
    return Service(database)


async def test_a_unit_that_raises_leaves_nothing(service: Service) -> None:
    """What was written before an error is undone, the parts that succeeded included."""
    with pytest.raises(ConflictError):
        await service.add_all("a@b.c", "b@b.c", "a@b.c")
    assert await service.emails() == []
    await service.add_all("a@b.c", "b@b.c")
    assert await service.emails() == ["a@b.c", "b@b.c"]


async def test_a_plain_function(service: Service) -> None:
    """A function is a unit of work as a method is, and keeps its name, its arguments and its result."""

    @transactional(isolation="serializable")
    async def add(email: str, *, twice: bool = False) -> int:
        """Add one."""
        await service.add(email)
        if twice:
            await service.add(f"2{email}")
        return 2 if twice else 1

    assert await add("a@b.c", twice=True) == 2
    assert (add.__name__, add.__doc__) == ("add", "Add one.")
    assert await service.emails() == ["a@b.c", "2a@b.c"]


async def test_a_unit_without_a_store() -> None:
    """A unit that touches no store holds nothing and ends well."""

    @transactional
    async def nothing() -> bool:
        return current_unit() is not None

    assert await nothing()
    assert current_unit() is None


async def test_a_caught_part_does_not_pass_unnoticed(service: Service) -> None:
    """A unit with a part that raised is not committed by whoever caught it, and says what would be right."""

    @transactional
    async def careless() -> None:
        await service.add("a@b.c")
        with pytest.raises(ConflictError):
            await service.add("a@b.c")

    with pytest.raises(TransactionError, match="nested=True"):
        await careless()
    assert await service.emails() == []


async def test_a_nested_part_fails_alone(service: Service) -> None:
    """A nested part that raised is undone alone, wherever in the unit it stands."""

    @transactional
    async def careful() -> None:
        for email in ("a@b.c", "a@b.c", "b@b.c", "b@b.c"):
            try:
                await service.try_to_add(email)
            except ConflictError:
                await service.add(f"2{email}")

    await careful()
    assert await service.emails() == ["a@b.c", "2a@b.c", "b@b.c", "2b@b.c"]


async def test_a_nested_part_that_begins_the_transaction(service: Service) -> None:
    """A nested part that was the first to touch the store is undone alone as well."""

    async def twice() -> None:
        async with unit_of_work(nested=True):
            await service.add_all("a@b.c", "a@b.c")

    @transactional
    async def careful() -> None:
        with pytest.raises(ConflictError):
            await twice()
        await service.add("b@b.c")

    await careful()
    assert await service.emails() == ["b@b.c"]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("kept", ["database", "memory"])
async def test_nested_parts_side_by_side(database: Database, kept: str, begun: bool) -> None:
    """A nested part that is undone takes nothing with it that its siblings did at the same time."""
    memory = MemoryRepository[Account, int](
        MemoryStore(), Account, int, label="Account", unique={"email": None}, version="version"
    )
    accounts: Repository[Account, int] = Accounts(database) if kept == "database" else memory

    async def add(email: str) -> None:
        await accounts.insert({"email": email, "balance": 0})

    @transactional(nested=True)
    async def part(email: str, fails: bool) -> None:
        await add(email)
        for _ in range(20):
            await asyncio.sleep(0)
        await fan_out(add(f"1{email}"), add(f"2{email}"))
        if fails:
            raise ConflictError

    @transactional
    async def unit() -> None:
        if begun:
            await add("begun")
        parts = [part("a", True), part("b", False), add("plain"), part("c", True), part("d", False)]
        await fan_out(parts, limit=5, partial=True)

    async with asyncio.timeout(DEADLINE):
        await unit()
    found = sorted(one.email for one in (await accounts.list(limit=100)).items)
    assert found == ["1b", "1d", "2b", "2d", "b", *(["begun"] if begun else []), "d", "plain"]


async def test_failing_commit(service: Service) -> None:
    """When COMMIT fails the caller hears of it, without the SQL, and nothing stays."""
    with pytest.raises(ConflictError) as caught:
        await service.break_at_commit()
    assert str(caught.value) == ConflictError.default_message
    assert await service.emails() == []
    await service.add("a@b.c")


async def test_a_mistake_is_no_conflict(service: Service) -> None:
    """A value that is left out is a mistake of the service, which no 409 hides."""

    @transactional
    async def mistaken() -> None:
        await service.accounts.insert({"email": None})

    with pytest.raises(IntegrityError, match=r"(?i)not.null"):
        await mistaken()


async def test_two_stores(service: Service) -> None:
    """A unit of work that would span two stores is refused by both their names."""
    memory = MemoryRepository(MemoryStore("cache"), Account, int, label="Account")

    @transactional
    async def both() -> None:
        await service.add("a@b.c")
        await memory.insert({"email": "", "balance": 0, "version": 1})

    with pytest.raises(TransactionError, match="'database' and cannot take in 'cache'"):
        await both()
    assert await service.emails() == []


async def test_isolation_is_not_lowered(service: Service) -> None:
    """A part that asks for more isolation than the unit it joins is refused."""

    @transactional(isolation="serializable")
    async def strict() -> None:
        await service.add("a@b.c")

    @transactional(isolation="read committed")
    async def loose() -> None:
        await strict()

    with pytest.raises(TransactionError, match="serializable"):
        await loose()
    await strict()


async def test_read_only(service: Service) -> None:
    """A unit that is read_only refuses to write, its parts included, and says so."""

    @transactional(read_only=True)
    async def read() -> None:
        await service.emails()
        await service.add("a@b.c")

    with pytest.raises(TransactionError, match="read_only"):
        await read()
    assert await service.emails() == []


async def test_a_task_that_is_still_at_work(service: Service) -> None:
    """A unit does not commit half of what a task that it started is still doing."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    @transactional
    async def part() -> None:
        await service.add("half@b.c")
        begun.set()
        await go_on.wait()

    @transactional
    async def unit() -> asyncio.Task[None]:
        task = asyncio.create_task(part())
        await begun.wait()
        return task

    with pytest.raises(TransactionError, match="still at work"):
        await unit()
    go_on.set()
    assert await service.emails() == []


async def test_a_task_that_outlives_its_unit(service: Service) -> None:
    """A task started inside a unit that has ended gets a unit of its own."""
    go_on = asyncio.Event()

    async def late() -> None:
        await go_on.wait()
        assert current_unit() is None
        await service.add("late@b.c")

    @transactional
    async def unit() -> asyncio.Task[None]:
        await service.add("a@b.c")
        return asyncio.create_task(late())

    task = await unit()
    go_on.set()
    await task
    assert await service.emails() == ["a@b.c", "late@b.c"]


async def test_it_begins_again_when_the_store_was_busy(path: Path) -> None:
    """A unit that met the lock of another process runs again, and a part of it does not by itself."""
    database = Database(f"sqlite:///{path}", wait=0.02)
    await database.start()
    service, attempts = Service(database), 0
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    @transactional(retries=10)
    async def unit() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            other.execute("ROLLBACK")
        await service.add("a@b.c")

    try:
        await unit()
        assert attempts == 3
        assert await service.emails() == ["a@b.c"]
    finally:
        other.close()
        await database.stop()


async def test_it_gives_up(path: Path) -> None:
    """After the last attempt a busy store is 503, with Retry-After."""
    database = Database(f"sqlite:///{path}", wait=0.01)
    await database.start()
    attempts = 0

    @transactional(retries=2)
    async def unit() -> None:
        nonlocal attempts
        attempts += 1
        await Accounts(database).insert({"email": "a@b.c"})

    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError) as caught:
                await unit()
        assert (attempts, caught.value.headers["Retry-After"]) == (3, "1")
    finally:
        await database.stop()


def test_mistakes_at_import() -> None:
    """What cannot be a unit of work is refused when it is decorated, with what is allowed."""
    decorate: Any = transactional
    with pytest.raises(TypeError, match="async function"):
        decorate(lambda: None)
    with pytest.raises(ValueError, match="retries is between 0 and 10"):
        decorate(retries=11)
    with pytest.raises(ValueError, match="'serializable'"):
        decorate(isolation="snapshot")


# -- with the layer, as a service runs


def _app(database: Database, middleware: int = 0) -> FastAPI:
    app, service = FastAPI(), Service(database)

    async def in_a_task(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    for _ in range(middleware):
        app.middleware("http")(in_a_task)

    async def unit() -> AsyncIterator[None]:
        async with unit_of_work():
            yield

    in_unit = Annotated[None, Depends(unit)]

    @app.post("/add", status_code=201)
    async def add(email: str) -> str:
        return (await service.add(email)).email

    @app.post("/breaks", status_code=201)
    async def breaks() -> None:
        await service.break_at_commit()

    @app.post("/dependency", status_code=201)
    async def dependency(_: in_unit, email: str, broken: bool = False) -> str:
        await (service.break_at_commit() if broken else service.add(email))
        return email

    @app.post("/stream", status_code=201)
    async def stream(_: in_unit, broken: bool = False) -> StreamingResponse:
        await (service.break_at_commit() if broken else service.add("stream@b.c"))

        async def parts() -> AsyncIterator[str]:
            yield "1"
            yield "2"

        return StreamingResponse(parts(), 201)

    @app.post("/export")
    async def export(read_only: bool) -> StreamingResponse:
        async def rows() -> AsyncIterator[str]:
            async with unit_of_work(read_only=read_only):
                for _ in range(3):
                    emails = await service.emails()
                    yield str(len(emails)) if current_unit() else "ended"

        return StreamingResponse(rows())

    @app.post("/refused")
    async def refused(_: in_unit) -> JSONResponse:
        await service.add("refused@b.c")
        return JSONResponse({"why": "not now"}, 409)

    @app.post("/missing")
    async def missing(_: in_unit) -> None:
        await service.add("missing@b.c")
        raise NotFoundError

    @app.post("/background", status_code=201)
    async def background(_: in_unit, tasks: BackgroundTasks) -> None:
        await service.add("a@b.c")
        tasks.add_task(service.add, "background@b.c")

    @app.post("/slow")
    async def slow() -> None:
        async with unit_of_work():
            await service.add("slow@b.c")
            await asyncio.Event().wait()

    @app.get("/emails")
    async def emails() -> list[str]:
        return await service.emails()

    return app


@asynccontextmanager
async def _served(
    database: Database, middleware: int = 0, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    app = roadworthy(_app(database, middleware), settings=Settings(rate_limit="off", **settings))
    async with served(app) as client:
        yield client


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """The app behind the layer."""
    async with _served(database) as client:
        yield client


# A BaseHTTPMiddleware runs what is inside it in a task of its own.
in_tasks = pytest.mark.parametrize("middleware", [0, 1, 2])


@in_tasks
@pytest.mark.parametrize("route", ["/add?email=a", "/dependency?email=a", "/stream"])
async def test_committed_before_the_response(
    database: Database, url: str, route: str, middleware: int
) -> None:
    """When the head of a success leaves, another connection sees the row (fastapi/fastapi#11143, #3620)."""
    rows: list[int] = []
    inner = roadworthy(_app(database, middleware), settings=Settings(rate_limit="off"))
    other = Database(url)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def looked(message: Any) -> None:
            if message["type"] == "http.response.start":
                rows.append((await _query(other, "SELECT count(*) FROM accounts"))[0][0])
            await send(message)

        await inner(scope, receive, looked)

    async with served(app) as client:
        answer = await client.post(route)
    await other.stop()
    assert (answer.status_code, rows) == (201, [1])


async def _query(database: Database, statement: str) -> list[Any]:
    async with database.connection() as connection:
        return list((await connection.execute(text(statement))).all())


@pytest.mark.parametrize("route", ["/breaks", "/dependency?email=a&broken=1", "/stream?broken=1"])
@in_tasks
async def test_a_commit_that_fails_is_no_success(database: Database, route: str, middleware: int) -> None:
    """A COMMIT that fails is an error in the one shape, wherever the unit was opened, and leaves nothing."""
    async with _served(database, middleware) as client:
        answer = await client.post(route)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
        assert "FOREIGN" not in answer.text
        assert (await client.get("/emails")).json() == []


@in_tasks
@pytest.mark.parametrize(("route", "status"), [("/refused", 409), ("/missing", 404)])
async def test_a_refusal_is_rolled_back(database: Database, route: str, status: int, middleware: int) -> None:
    """A request that is refused leaves nothing, whether the refusal was raised or returned."""
    async with _served(database, middleware) as client:
        assert (await client.post(route)).status_code == status
        assert (await client.get("/emails")).json() == []


@pytest.mark.parametrize(("read_only", "middleware"), [(True, 0), (True, 1), (False, 0)])
async def test_a_unit_inside_a_stream(
    database: Database, read_only: bool, middleware: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A unit that is opened while the response is streamed lasts as long as its block."""
    async with _served(database, middleware) as client:
        assert (await client.post("/add?email=a")).status_code == 201
        assert (await client.post("/export", params={"read_only": read_only})).text == "111"
    assert "roadworthy.transactions" not in capfd.readouterr().out


async def test_a_background_task_has_a_unit_of_its_own(client: httpx.AsyncClient) -> None:
    """What runs after the response is committed by itself."""
    assert (await client.post("/background")).status_code == 201
    assert (await client.get("/emails")).json() == ["a@b.c", "background@b.c"]


async def test_a_deadline_rolls_back(database: Database) -> None:
    """A unit whose request ran out of time is undone, and its connection is free again."""
    async with _served(database, request_timeout=0.1) as client:
        assert (await client.post("/slow")).status_code == 504
    async with _served(database) as client:
        assert (await client.post("/add", params={"email": "a@b.c"})).status_code == 201
        assert (await client.get("/emails")).json() == ["a@b.c"]


@in_tasks
async def test_a_client_that_leaves(database: Database, middleware: int) -> None:
    """With cancel_on_disconnect, a unit whose client has left is undone, and its connection is free again."""
    settings = Settings(rate_limit="off", cancel_on_disconnect=True)
    app = roadworthy(_app(database, middleware), settings=settings)
    async with served(app) as client:
        call = Call(app, http_scope("POST", "/slow"))
        async with asyncio.timeout(DEADLINE):
            while (stats := database.stats()) is None or not stats.in_use:
                await asyncio.sleep(0.005)
            call.leave()
            await asyncio.gather(call.task, return_exceptions=True)
            assert (await client.post("/add", params={"email": "a@b.c"})).status_code == 201
        assert (await client.get("/emails")).json() == ["a@b.c"]


async def test_the_deadline_bounds_the_attempts(path: Path) -> None:
    """A unit does not begin again when its request has no time left for it."""
    database = Database(f"sqlite:///{path}", wait=0.2)
    await database.start()
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with _served(database, request_timeout=0.35) as client:
                answer = await client.post("/add", params={"email": "a@b.c"})
        assert answer.status_code in (503, 504)
        assert float(answer.elapsed.total_seconds()) < 5
    finally:
        await database.stop()


async def test_cancelled_requests(database: Database, client: httpx.AsyncClient) -> None:
    """Requests cancelled at any moment leave no transaction open and every connection in the pool."""
    await cancel_many(database, lambda n: client.post("/add", params={"email": f"{n}@b.c"}), 50)
    assert (await client.post("/add", params={"email": "last@b.c"})).status_code == 201


async def cancel_many(database: Database, ask: Callable[[int], Awaitable[object]], count: int) -> None:
    """Cancel requests after ever longer times, and wait until nothing is in use."""
    for number in range(count):
        task = asyncio.ensure_future(ask(number))
        await asyncio.sleep(0.0001 * (number % 60))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(DEADLINE):
        while (stats := database.stats()) is None or stats.in_use:
            await asyncio.sleep(0.005)


class _Refusing:
    """A store and its transaction, whose COMMIT is refused when the test says so."""

    name = "refusing"

    def __init__(self, ends_by_itself: bool) -> None:
        self.ends_by_itself = ends_by_itself
        self.asked, self.refuse = asyncio.Event(), asyncio.Event()

    async def begin(self, rules: Rules) -> "_Refusing":
        return self

    async def commit(self) -> None:
        self.asked.set()
        await self.refuse.wait()
        raise ConflictError

    async def rollback(self) -> None: ...

    async def savepoint(self) -> Savepoint:
        raise NotImplementedError

    def is_passing(self, error: Exception) -> bool:
        return False

    def translate(self, error: Exception) -> Exception | None:
        return None


@pytest.mark.parametrize("ends_by_itself", [True, False])
async def test_who_waits_besides_hears_how_commit_ended(ends_by_itself: bool) -> None:
    """A COMMIT that fails while its own task is cancelled is no success for who waits besides."""
    store, unit = _Refusing(ends_by_itself), UnitOfWork(Rules())
    async with unit.use(store):
        pass
    first = asyncio.ensure_future(unit.commit())
    await store.asked.wait()
    second = asyncio.ensure_future(unit.commit())
    first.cancel()
    store.refuse.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(ConflictError):
        await second
