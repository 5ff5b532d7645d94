"""A request repeated with the same Idempotency-Key is carried out once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select, update
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.types import Receive, Scope, Send

from roadworthy import ConflictError, RequestInfo, Settings, roadworthy
from roadworthy.patterns import Database, TableAnswers, idempotent, transactional, unit_of_work
from roadworthy.patterns.idempotency import Answer
from roadworthy.patterns.transactions import current_unit
from tests.patience import DEADLINE
from tests.served import served

from .accounts import Accounts, answers

pytestmark = pytest.mark.anyio


class Unfinished(Response):
    """A response whose client left while it was sent, as Starlette's streams end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})


class Site:
    """An app with a route of each kind, and what a test holds of it."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.database = database
        self.accounts = Accounts(database)
        self.entered = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()
        self.in_background: list[object] = []
        app = self.app = FastAPI()
        app.add_middleware(idempotent, answers=TableAnswers(database, answers), **options)

        @transactional
        async def add(email: str) -> int:
            return (await self.accounts.insert({"email": email})).id

        @app.post("/accounts", status_code=201)
        async def create(request: Request, response: Response, tasks: BackgroundTasks) -> dict[str, int]:
            number = await add((await request.json())["email"])
            response.headers["Location"] = f"/accounts/{number}"
            response.set_cookie("seen", "1")
            tasks.add_task(lambda: self.in_background.append(current_unit()))
            return {"id": number}

        @app.post("/accounts/{id}/twins", status_code=201)
        async def twin(id: int) -> dict[str, int]:
            return {"id": await add(f"twin-{id}@b.c")}

        @app.post("/slow", status_code=201)
        async def slow() -> dict[str, int]:
            number = await add("slow@b.c")
            self.entered.release()
            await self.go_on.wait()
            return {"id": number}

        @app.post("/refused")
        async def refused() -> None:
            await add("refused@b.c")
            raise ConflictError("Not now", code="NOT_NOW")

        @app.post("/fails")
        async def fails() -> None:
            await add("fails@b.c")
            raise ZeroDivisionError

        @app.post("/stream", status_code=201)
        async def stream(parts: int) -> StreamingResponse:
            await add("stream@b.c")

            async def body() -> AsyncIterator[bytes]:
                for _ in range(parts):
                    yield b"x" * 1000

            return StreamingResponse(body(), 201)

        @app.post("/unfinished")
        async def unfinished() -> Response:
            await add("unfinished@b.c")
            return Unfinished()

        @app.post("/work", status_code=201)
        async def work(tasks: BackgroundTasks) -> int:
            tasks.add_task(self.go_on.wait)
            return await add("work@b.c")

        async def unit(nested: bool = False) -> AsyncIterator[None]:
            async with unit_of_work(nested=nested):
                yield

        @app.post("/dependency", status_code=201)
        async def dependency(_: Annotated[None, Depends(unit)]) -> int:
            return await add("dependency@b.c")

        @app.put("/accounts/{id}")
        async def put(id: int) -> None:
            await add(f"{time.perf_counter_ns()}@b.c")

    async def count(self) -> int:
        return len((await self.accounts.list(limit=1000)).items)


@asynccontextmanager
async def _client(site: Site, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = roadworthy(site.app, settings=Settings(rate_limit="off", **settings))
    async with served(app) as client:
        yield client


@pytest.fixture
async def site(database: Database) -> Site:
    """The app, every POST of which honours keys."""
    return Site(database)


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """The app behind the layer, asked by a client that keeps no cookies."""
    async with _client(site) as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


BODY = {"email": "a@b.c"}


def _key(value: str = "k", **fields: str) -> dict[str, str]:
    return {"Idempotency-Key": value, **fields}


async def test_replay(site: Site, client: httpx.AsyncClient) -> None:
    """A repetition gets the first status, fields and body, and is marked as one."""
    first = await client.post("/accounts", json=BODY, headers=_key())
    again = await client.post("/accounts", json=BODY, headers=_key())
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("location", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (
        None,
        "true",
    )
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await site.count() == 1
    assert site.in_background == [None]


async def test_what_was_for_one_client_is_not_kept(site: Site, client: httpx.AsyncClient) -> None:
    """A repetition sets no cookie, and has no field of the connection or the moment of the first response."""
    first, again = [await client.post("/accounts", json=BODY, headers=_key()) for _ in range(2)]
    assert "set-cookie" in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert "set-cookie" not in again.headers
    assert len(again.headers.get_list("date")) <= 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"authorization": "Bearer a"}, {"authorization": "Bearer b"}, False),
        ({"authorization": "Bearer a"}, {}, False),
        ({"authorization": "Bearer a"}, {"authorization": "Bearer a", "cookie": "session=b"}, True),
        ({"cookie": "session=a"}, {"cookie": "session=b"}, False),
        ({"cookie": "session=a"}, {}, False),
        ({"cookie": "session=a"}, {"cookie": "theme=dark; session=a"}, True),
        ({"cookie": "sessionid=a; csrftoken=1"}, {"cookie": "csrftoken=2; sessionid=a"}, True),
        ({"cookie": "connect.sid=a"}, {"cookie": "connect.sid=b"}, False),
        ({"cookie": "who=a"}, {"cookie": "who=b"}, False),
        ({"cookie": "who=a; lang=de"}, {"cookie": "lang=de; who=a"}, True),
        ({}, {}, True),
    ],
)
async def test_a_key_belongs_to_who_sent_it(
    site: Site, client: httpx.AsyncClient, one: dict[str, str], other: dict[str, str], same: bool
) -> None:
    """By default the credentials of a request decide, whichever it carries: the table of its kinds."""
    first = await client.post("/accounts", json={"email": "1@b.c"}, headers=_key(**one))
    again = await client.post(
        "/accounts", json={"email": "1@b.c" if same else "2@b.c"}, headers=_key(**other)
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert ("idempotency-replayed" in again.headers, first.content == again.content) == (same, same)
    assert await site.count() == (1 if same else 2)


async def test_without_a_key(site: Site, client: httpx.AsyncClient) -> None:
    """A request without a key is carried out each time."""
    assert [(await client.post("/accounts", json=BODY)).status_code for _ in range(2)] == [201, 409]


async def test_quoted_key(site: Site, client: httpx.AsyncClient) -> None:
    """A key in the draft's quotes and the same key without them are one."""
    for key in ('"k"', "k"):
        assert (await client.post("/accounts", json=BODY, headers=_key(key))).status_code == 201
    assert await site.count() == 1


async def test_still_running(site: Site, client: httpx.AsyncClient) -> None:
    """A repetition while the first is being carried out is 409 with Retry-After, and then gets its answer."""
    first = asyncio.create_task(client.post("/slow", headers=_key()))
    await site.entered.acquire()
    again = await client.post("/slow", headers=_key())
    assert (again.status_code, again.json()["code"]) == (409, "IDEMPOTENCY_KEY_IN_USE")
    assert again.headers["retry-after"] == "1"
    site.go_on.set()
    assert (await first).status_code == 201
    assert (await client.post("/slow", headers=_key())).content == (await first).content
    assert await site.count() == 1


@pytest.mark.parametrize(
    ("route", "body"),
    [("/accounts", {"email": "canary@b.c"}), ("/accounts/1/twins", BODY), ("/accounts?x=1", BODY)],
)
async def test_another_request(site: Site, client: httpx.AsyncClient, route: str, body: object) -> None:
    """A key that came with another path, query or body is 422 in the one shape, and nothing is done."""
    await client.post("/accounts", json=BODY, headers=_key())
    answer = await client.post(route, json=body, headers=_key())
    (told,) = answer.json()["errors"]
    assert (answer.status_code, told["code"]) == (422, "idempotency_key_reused")
    assert "canary" not in answer.text
    assert await site.count() == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "\x7f", '""'])
async def test_bad_key(site: Site, client: httpx.AsyncClient, key: str) -> None:
    """A key that is none is 422, and nothing is done."""
    headers = [(b"idempotency-key", key.encode())]
    answer = await client.post("/accounts", json=BODY, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "header/idempotency-key")
    assert await site.count() == 0


async def test_two_keys(client: httpx.AsyncClient) -> None:
    """Two keys in one request are 422: it would be unclear which one counts."""
    headers = [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")]
    assert (await client.post("/accounts", json=BODY, headers=headers)).status_code == 422


@pytest.mark.parametrize(("route", "status"), [("/refused", 409), ("/fails", 500)])
async def test_a_refusal_is_not_kept(site: Site, client: httpx.AsyncClient, route: str, status: int) -> None:
    """What was refused or failed has done nothing, so a repetition is a new attempt."""
    for _ in range(2):
        assert (await client.post(route, headers=_key())).status_code == status
    assert await site.count() == 0
    assert (await client.post("/accounts", json=BODY, headers=_key())).status_code == 201


async def test_principals(database: Database) -> None:
    """A key belongs to whoever sent it: nobody gets another one's answer."""

    def principal(request: RequestInfo) -> str | None:
        return request.headers.get("authorization")

    site = Site(database, principal=principal)
    async with _client(site) as client:
        ids = [
            (
                await client.post("/accounts", json={"email": f"{who}@b.c"}, headers=_key(authorization=who))
            ).json()["id"]
            for who in ("ada", "ben", "a" * 300)
        ]
        again = await client.post("/accounts", json={"email": "ben@b.c"}, headers=_key(authorization="ben"))
    assert (len(set(ids)), again.json()["id"]) == (3, ids[1])


@pytest.mark.parametrize("root", ["mounted", "root_path", "both"])
async def test_paths_are_those_of_the_app(database: Database, root: str) -> None:
    """Where a prefix stands before the app, by a mount or by its server, its own paths honour keys."""
    site = Site(database, paths=["/accounts/{id}/twins"])
    app, path = site.app, "/accounts/7/twins"
    if root != "root_path":
        app = FastAPI()
        app.mount("/shop", site.app)
        path = f"/shop{path}"
    if root != "mounted":
        app.root_path = "/behind"
        path = f"/behind{path}"
    layer = roadworthy(app, settings=Settings(rate_limit="off"))
    async with served(layer) as client:
        answers_ = [await client.post(path, headers=_key()) for _ in range(2)]
    assert [one.status_code for one in answers_] == [201, 201]
    assert "idempotency-replayed" in answers_[1].headers
    assert await site.count() == 1


async def test_paths_and_methods(database: Database, capfd: pytest.CaptureFixture[str]) -> None:
    """Only the paths and methods that were chosen honour keys; a repetition is counted under its route."""
    site = Site(database, paths=["/accounts/{id}/twins"])
    async with _client(site) as client:
        answers_ = [await client.post("/accounts/7/twins", headers=_key()) for _ in range(2)]
        assert [one.status_code for one in answers_] == [201, 201]
        assert [
            (await client.post("/accounts", json=BODY, headers=_key("x"))).status_code for _ in range(2)
        ] == [201, 409]
        for _ in range(2):
            assert (await client.put("/accounts/1", headers=_key("y"))).status_code == 200
    assert await site.count() == 4
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    routes = [one["route"] for one in records if one["path"] == "/accounts/7/twins"]
    assert routes == ["/accounts/{id}/twins"] * 2


async def test_a_template_of_many_segments(database: Database) -> None:
    """A path parameter that takes slashes is one here too, as it is for the rules of routes."""
    async with _client(Site(database, paths=["/accounts/{rest:path}"])) as client:
        got = [await client.post("/accounts/7/twins", headers=_key()) for _ in range(2)]
    assert [one.status_code for one in got] == [201, 201]


async def test_expiry(site: Site, client: httpx.AsyncClient) -> None:
    """An answer that has expired is forgotten, and its row goes with the next one that is kept."""
    for number in range(3):
        await client.post("/accounts", json={"email": f"{number}@b.c"}, headers=_key(str(number)))
    async with unit_of_work(), site.database.connection() as connection:
        await connection.execute(update(answers).values(expires=time.time() - 1))
    again = await client.post("/accounts", json={"email": "new@b.c"}, headers=_key("0"))
    assert "idempotency-replayed" not in again.headers
    async with site.database.connection() as connection:
        assert (await connection.execute(select(func.count()).select_from(answers))).scalar_one() == 1


async def test_a_stream_is_kept_whole(site: Site, client: httpx.AsyncClient) -> None:
    """A response of several parts is kept as one; one that is too long is undone and names the setting."""
    first = await client.post("/stream?parts=3", headers=_key())
    again = await client.post("/stream?parts=3", headers=_key())
    assert first.content == again.content == b"x" * 3000
    async with unit_of_work():
        await site.accounts.delete(1)
    assert (await client.post("/stream?parts=1100", headers=_key("long"))).status_code == 500
    assert await site.count() == 0


async def test_a_commit_that_fails(site: Site, client: httpx.AsyncClient) -> None:
    """When the answer cannot be kept the write is undone, and the client is told of no success."""

    class Full(TableAnswers):
        async def add(self, principal: str, key: str, answer: Answer, now: float) -> None:
            await super().add(principal, key, answer, now)
            await super().add(principal, key, answer, now)  # breaks the primary key

    other = Site(site.database)
    other.app.user_middleware.clear()
    other.app.add_middleware(idempotent, answers=Full(site.database, answers))
    async with _client(other) as client_:
        answer = await client_.post("/accounts", json=BODY, headers=_key())
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert await site.count() == 0
    assert other.in_background == []
    assert (await client.post("/accounts", json=BODY, headers=_key())).status_code == 201


async def test_an_unfinished_response(site: Site, client: httpx.AsyncClient) -> None:
    """What has no answer to be kept is undone, so that a repetition is a new attempt and not a second one."""
    for _ in range(2):
        assert (await client.post("/unfinished", headers=_key())).status_code == 500
        assert await site.count() == 0


async def test_work_after_the_response(site: Site, client: httpx.AsyncClient) -> None:
    """A repetition gets the answer while the first request's background work is still going on."""
    first = asyncio.create_task(client.post("/work", headers=_key()))
    async with asyncio.timeout(DEADLINE):
        while not await site.count():
            await asyncio.sleep(0.005)
        while (again := await client.post("/work", headers=_key())).status_code == 409:
            await asyncio.sleep(0.005)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    site.go_on.set()
    assert (await first).content == again.content


@pytest.mark.parametrize(("nested", "middleware"), [(False, False), (True, False), (False, True)])
async def test_with_a_unit_of_the_request(
    database: Database, nested: bool, middleware: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A unit that a dependency keeps open takes part, below a BaseHTTPMiddleware as well."""
    site = Site(database)
    if middleware:
        _serve_in_a_task(site)
    async with _client(site) as client:
        for _ in range(2):
            answer = await client.post("/dependency", params={"nested": nested}, headers=_key())
            assert (answer.status_code, answer.json()) == (201, 1)
    assert await site.count() == 1
    assert '"error"' not in capfd.readouterr().out


async def test_a_nested_part_of_the_request_in_a_task(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """A nested part that ends after the response, in another task, is told at once instead of waited for."""
    site = Site(database)
    _serve_in_a_task(site)
    async with _client(site) as client, asyncio.timeout(DEADLINE):
        answer = await client.post("/dependency", params={"nested": True}, headers=_key())
    assert answer.status_code == 500
    assert await site.count() == 0
    assert "a part with nested=True is still open where the response leaves" in capfd.readouterr().out


def _serve_in_a_task(site: Site) -> None:
    async def in_a_task(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    (kept,) = site.app.user_middleware
    site.app.user_middleware[:] = [kept, Middleware(BaseHTTPMiddleware, dispatch=in_a_task)]


async def test_two_processes(site: Site, client: httpx.AsyncClient, url: str) -> None:
    """Between processes the transaction is the lock: fifty at once are carried out once, none fails."""
    database = Database(url)
    await database.start()
    try:
        async with _client(Site(database)) as other:
            got = await asyncio.gather(
                *(one.post("/accounts", json=BODY, headers=_key()) for one in (client, other) * 25)
            )
    finally:
        await database.stop()
    assert {one.status_code for one in got} <= {201, 409}
    assert {one.json()["code"] for one in got if one.status_code == 409} <= {"IDEMPOTENCY_KEY_IN_USE"}
    assert {one.json()["id"] for one in got if one.status_code == 201} == {1}
    assert await site.count() == 1


async def test_a_deadline_frees_the_key(database: Database) -> None:
    """A request that ran out of time has done nothing and holds its key no longer."""
    site = Site(database)
    async with _client(site, request_timeout=0.1) as client:
        assert (await client.post("/slow", headers=_key())).status_code == 504
    assert await site.count() == 0
    site.go_on.set()
    async with _client(site) as client:
        assert (await client.post("/slow", headers=_key())).status_code == 201


async def test_bad_options(database: Database) -> None:
    """A lifetime below a second is refused when the app is made."""
    with pytest.raises(ValueError, match="at least 1 second"):
        idempotent(FastAPI(), answers=TableAnswers(database, answers), expires_after=0)
