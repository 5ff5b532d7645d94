"""Success is told after COMMIT only; what fails, is cancelled or runs out of room leaves nothing."""

import asyncio
import random
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import func, insert, select, text

from roadworthy import Settings, roadworthy
from roadworthy.patterns import Database, TableAnswers, idempotent, transactional, unit_of_work

from ..patterns.accounts import Accounts, accounts, answers, create, emptied, later
from ..patterns.cutting import cutting
from ..patterns.stateful import compare
from ..patterns.test_transactions import cancel_many
from ..postgres_server import PostgresServer
from ..served import served

pytestmark = [pytest.mark.anyio, pytest.mark.proof]

Record = Callable[[str, object], None]
_REQUESTS = 1000


def test_model(record_property: Record, postgres: PostgresServer) -> None:
    """Units of work, repositories and keys do what a model in memory does, in any order of steps."""
    compare(examples=150, steps=40)
    compare(examples=150, steps=40, server=postgres.url)
    record_property("sequences of up to 40 steps", 150)


def _app(database: Database) -> FastAPI:
    app, repository = FastAPI(), Accounts(database)

    async def unit() -> AsyncIterator[None]:
        async with unit_of_work():
            yield

    @transactional
    async def add(email: str, broken: bool) -> int:
        row = await repository.insert({"email": email})
        if broken:
            async with database.connection() as connection:
                await connection.execute(insert(later).values(account_id=10**9))
        return row.id

    @app.post("/service", status_code=201)
    async def service(email: str, broken: bool = False) -> int:
        return await add(email, broken)

    @app.post("/dependency", status_code=201)
    async def dependency(_: Annotated[None, Depends(unit)], email: str, broken: bool = False) -> int:
        return await add(email, broken)

    app.add_middleware(idempotent, answers=TableAnswers(database, answers))
    return app


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind, with the tables and nothing in them."""
    if request.param == "sqlite":
        create(tmp_path / "data.db")
        return f"sqlite:///{tmp_path / 'data.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await emptied(server.url)


@asynccontextmanager
async def _serving(url: str, wait: float = 5.0) -> AsyncIterator[tuple[Database, httpx.AsyncClient]]:
    database = Database(url, wait=wait)
    settings = Settings(rate_limit="off", log_level="critical")
    async with served(roadworthy(_app(database), settings=settings, resources=[database])) as client:
        yield database, client


async def _statuses(client: httpx.AsyncClient, label: str, **more: Any) -> Counter[int]:
    # A third through the service, a third through a dependency with yield, a third with a key.
    limit = asyncio.Semaphore(20)

    async def ask(number: int) -> int:
        route = ("/service", "/dependency", "/service")[number % 3]
        headers = {"Idempotency-Key": f"{label}-{number}"} if number % 3 == 2 else {}
        parameters = {"email": f"{label}-{number}", **more}
        async with limit:
            return (await client.post(route, params=parameters, headers=headers)).status_code

    return Counter(await asyncio.gather(*(ask(number) for number in range(_REQUESTS))))


async def _rows(database: Database) -> int:
    async with database.connection() as connection:
        return int((await connection.execute(select(func.count()).select_from(accounts))).scalar_one())


async def test_commit_breaks_a_constraint(url: str, record_property: Record) -> None:
    """COMMIT fails in 1,000 requests by a deferred constraint: no 2xx, no row, and all works afterwards."""
    async with _serving(url) as (database, client):
        seen = await _statuses(client, "broken", broken=True)
        rows = await _rows(database)
        good = await _statuses(client, "good")
        assert await _rows(database) == _REQUESTS
    record_property("requests whose COMMIT fails", sum(seen.values()))
    record_property("answered 2xx", sum(count for status, count in seen.items() if status < 300))
    record_property("rows", rows)
    assert (seen, rows, good) == ({409: _REQUESTS}, 0, {201: _REQUESTS})


@pytest.mark.parametrize("before", [True, False])
async def test_commit_is_cut(postgres: PostgresServer, before: bool, record_property: Record) -> None:
    """In 1,000 requests COMMIT, or its answer, is lost: no 2xx, and what has a key is settled by it."""
    url = await emptied(postgres.url)
    async with cutting(postgres.port, before=before) as port:
        through = f"{url.replace(f':{postgres.port}/', f':{port}/')}?sslmode=disable"
        async with _serving(through) as (_, client):
            seen = await _statuses(client, "cut")
    async with _serving(url) as (database, client):
        rows = await _rows(database)
        again = Counter(
            [
                (
                    await client.post("/service", params={"email": email}, headers={"Idempotency-Key": email})
                ).status_code
                for email in (f"cut-{number}" for number in range(2, _REQUESTS, 3))
            ]
        )
        settled = await _rows(database)
    keys = len(range(2, _REQUESTS, 3))
    record_property("requests whose COMMIT is cut", sum(seen.values()))
    record_property("answered 2xx", sum(count for status, count in seen.items() if status < 300))
    record_property("rows", rows)
    record_property("sent again with the same key", keys)
    record_property("rows after that", settled)
    assert (seen, rows) == ({503: _REQUESTS}, 0 if before else _REQUESTS)
    assert (again, settled) == ({201: keys}, keys if before else _REQUESTS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB: the write-ahead log alone takes 4 before it is folded into the file."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_disk_full(small_disk: Path, record_property: Record) -> None:
    """On a full disk 1,000 requests get no 2xx and leave no row; with room again all works as before."""
    create(small_disk / "data.db")
    async with _serving(f"sqlite:///{small_disk / 'data.db'}") as (database, client):
        assert (await client.post("/service", params={"email": "first"})).status_code == 201
        with (small_disk / "ballast").open("wb", buffering=0) as ballast:
            step = 1 << 16
            while step:
                try:
                    ballast.write(b"x" * step)
                except OSError:
                    step //= 2
            # The write-ahead log has room for a few pages yet; what is acknowledged until it is full counts.
            known = 1
            while (await client.post("/service", params={"email": f"room-{known}"})).status_code == 201:
                known += 1
            before = await _rows(database)
            seen = await _statuses(client, "full")
            rows = await _rows(database) - before
        (small_disk / "ballast").unlink()
        good = await _statuses(client, "good")
        async with database.connection() as connection:
            assert (await connection.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"
    record_property("requests on a full disk", sum(seen.values()))
    record_property("answered 2xx", sum(count for status, count in seen.items() if status < 300))
    record_property("answered 503", seen[503])
    record_property("rows", rows)
    assert (before, seen, rows) == (known, {503: _REQUESTS}, 0)
    assert good == {201: _REQUESTS}


async def test_increments(tmp_path: Path, record_property: Record) -> None:
    """Fifty concurrent increments of one row through the repository are fifty, twenty rounds of twenty."""
    create(tmp_path / "data.db")
    database = Database(f"sqlite:///{tmp_path / 'data.db'}")
    await database.start()
    repository = Accounts(database)

    @transactional
    async def add_one() -> None:
        row = await repository.get(1)
        await asyncio.sleep(0)
        await repository.update(1, {"balance": row.balance + 1})

    try:
        async with unit_of_work():
            await repository.insert({"email": "a@b.c", "balance": 0})
        exact = 0
        for round_ in range(1, 21):
            await asyncio.gather(*(add_one() for _ in range(50)))
            exact += (await repository.get(1)).balance == 50 * round_
    finally:
        await database.stop()
    record_property("rounds", 20)
    record_property("exact", exact)
    assert exact == 20


async def test_cancelled_requests(url: str, record_property: Record) -> None:
    """1,000 requests cancelled at random times leave no transaction open and the pool as it was."""
    moments = random.Random(1000)
    cancelled = 0
    async with _serving(url, wait=2.0) as (database, client):

        async def one(number: int) -> None:
            nonlocal cancelled
            route = ("/service", "/dependency")[number % 2]
            headers = {"Idempotency-Key": str(number)} if number % 3 == 0 else {}
            task = asyncio.ensure_future(client.post(route, params={"email": str(number)}, headers=headers))
            await asyncio.sleep(moments.uniform(0, 0.02))
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            cancelled += isinstance(outcome, asyncio.CancelledError)

        for start in range(0, _REQUESTS, 4):
            await asyncio.gather(*(one(number) for number in range(start, start + 4)))
        await cancel_many(
            database, lambda number: client.post("/service", params={"email": f"m{number}"}), 60
        )
        stats = database.stats()
        assert stats is not None
        answer = await client.post("/service", params={"email": "last"})
    record_property("requests", _REQUESTS)
    record_property("cancelled before their answer", cancelled)
    record_property("connections in use afterwards", stats.in_use)
    assert (answer.status_code, stats.in_use) == (201, 0)
    assert cancelled > _REQUESTS // 10
