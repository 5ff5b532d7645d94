"""The pass as a whole around a FastAPI app: what services have broken on in production."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from math import inf
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.security import HTTPBearer
from litestar import Litestar
from pydantic import BaseModel, SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from roadworthy import Layer, RouteRule, roadworthy
from roadworthy.layer.selftest import BrokenPromiseError, self_test
from roadworthy.types import Headers, Receive, Scope, Send
from tests.asgi_driver import Call, Driven, ask, http_scope
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio
ORIGIN = "https://app.example"
SECRET = "hunter2-5d1e"
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}
JSON = (b"content-type", b"application/json")
seen: ContextVar[str] = ContextVar("seen", default="nothing")


class Account(BaseModel):
    email: str
    password: SecretStr
    pin: int = 0


def service() -> FastAPI:
    """Make an app whose routes fail in every way that a service does."""
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/limited")
    async def limited() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/accounts")
    async def create(account: Account) -> dict[str, str]:
        return {"email": account.email}

    @app.get("/private")
    async def private(token: Annotated[Any, Depends(HTTPBearer())]) -> None: ...

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError(SECRET)

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(60)

    return app


def layered(app: FastAPI | None = None, **settings: Any) -> Layer:
    """Put the layer around the app, with one route that is limited and one that is late."""
    rules = {} if app else {"/limited": RouteRule(rate_limit="1/hour"), "/slow": RouteRule(timeout=0.05)}
    return roadworthy(app or service(), routes=rules, cors_origins=ORIGIN, drain_delay=0, **settings)


async def request(
    app: Layer, method: str, path: str, *fields: tuple[bytes, bytes], body: bytes = b""
) -> Driven:
    """Send one request of a page of the allowed origin."""
    return await ask(app, method, path, [(b"origin", ORIGIN.encode()), *fields], body)


def assert_the_shape(got: Driven, status: int, code: str) -> None:
    """Check what every error of the service has, whoever made it."""
    assert (got.status, got.json()["status"], got.json()["code"]) == (status, status, code)
    assert got.json().keys() - {"errors"} == MEMBERS
    assert ("errors" in got.json()) is (code == "VALIDATION_ERROR")
    assert got.json()["request_id"] == got.headers["x-request-id"]
    assert got.headers["content-type"] == "application/problem+json"
    assert got.headers["access-control-allow-origin"] == ORIGIN
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert SECRET.encode() not in got.body


@pytest.mark.parametrize(
    ("status", "code", "method", "path", "fields", "body"),
    [
        (400, "BAD_REQUEST", "POST", "/accounts", [JSON], b'{"email":'),
        (401, "UNAUTHORIZED", "GET", "/private", [], b""),
        (404, "NOT_FOUND", "GET", "/nowhere", [], b""),
        (405, "METHOD_NOT_ALLOWED", "DELETE", "/ok", [], b""),
        (413, "PAYLOAD_TOO_LARGE", "POST", "/accounts", [JSON], b'"%s"' % (b"x" * 2_000)),
        (414, "URI_TOO_LONG", "GET", "/ok?" + "x" * 20_000, [], b""),
        (415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/accounts", [(b"content-type", b"text/plain")], b"x"),
        (421, "MISDIRECTED_REQUEST", "GET", "/ok", [(b"host", b"other.example")], b""),
        (422, "VALIDATION_ERROR", "POST", "/accounts", [JSON], b'{"password":"%s"}' % SECRET.encode()),
        (422, "VALIDATION_ERROR", "POST", "/accounts", [JSON], b'{"email":"\\u0000"}'),
        (429, "RATE_LIMITED", "GET", "/limited", [], b""),
        (431, "HEADERS_TOO_LARGE", "GET", "/ok", [(b"x-long", b"x" * 100_000)], b""),
        (500, "INTERNAL_ERROR", "GET", "/fail", [], b""),
        (504, "TIMEOUT", "GET", "/slow", [], b""),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_every_producer_of_an_error_has_one_shape(
    status: int, code: str, method: str, path: str, fields: Headers, body: bytes
) -> None:
    """Router, validation, auth, limiter, limits, crash and deadline answer alike (spring-boot#48392)."""
    app = layered(body_limit=1_000, allowed_hosts="localhost")
    if status == 429:
        await request(app, method, path)
    assert_the_shape(await request(app, method, path, *fields, body=body), status, code)


async def test_a_stalled_body_and_a_full_service_have_the_same_shape() -> None:
    """408 and 503, which depend on time and load, look like every other error (spring-boot#48392)."""
    origin = (b"origin", ORIGIN.encode())
    app = layered(body_timeout=0.05, max_in_flight=1, queue_size=0)
    stalled = Call(app, http_scope("POST", "/accounts", [origin, JSON, (b"content-length", b"9")]))
    async with asyncio.timeout(DEADLINE):
        while app.pass_.overload.in_flight == 0:
            await asyncio.sleep(0)
    assert_the_shape(await request(app, "GET", "/ok"), 503, "UNAVAILABLE")
    assert_the_shape(await stalled.done(), 408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("DELETE", "/ok"), ("GET", "/fail")])
async def test_an_error_does_not_depend_on_who_looks_and_where(method: str, path: str) -> None:
    """Browser or client, development or production: one error, one document (quarkusio/quarkus#12256)."""
    documents: list[dict[str, Any]] = []
    for env in ("production", "development"):
        for accept in (b"*/*", b"application/json", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"):
            got = await request(layered(env=env), method, path, (b"accept", accept))
            assert got.headers["content-type"] == "application/problem+json"
            document = got.json()
            # The stack of a 500 is what development adds, and all that it adds.
            assert (document.pop("stack", None) is not None) is (env == "development" and path == "/fail")
            del document["request_id"]
            documents.append(document)
    assert all(document == documents[0] for document in documents)


@pytest.mark.parametrize("error_format", ["problem", "envelope", "app"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"password":"%s"}',  # the sibling is missing: FastAPI returns the whole body
        b'{"email":["%s"],"password":"x"}',
        b'{"email":"a@b.example","password":{"%s":1}}',
        b'{"email":"a@b.example","password":"x","pin":"%s"}',
        b'["%s"]',
    ],
)
async def test_a_422_repeats_nothing_of_the_body(body: bytes, error_format: str) -> None:
    """No secret, also not next to a missing field (fastapi/fastapi#14064, langflow-ai/langflow#15038)."""
    sent = body % SECRET.encode()
    got = await request(layered(error_format=error_format), "POST", "/accounts", JSON, body=sent)
    assert got.status == 422
    assert got.json()
    assert SECRET.encode() not in got.body


async def test_context_variables_cross_the_layer_both_ways() -> None:
    """What is set around the layer reaches the handler, and the reverse (Kludex/starlette#1525)."""
    app = FastAPI()

    @app.get("/")
    async def handler() -> str:
        before = seen.get()
        seen.set("inside")
        return before

    service = layered(app)

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        seen.set("outside")
        await service(scope, receive, send)
        assert seen.get() == "inside"

    assert (await ask(around)).json() == "outside"


async def test_a_background_task_delays_nothing_and_outlives_its_client() -> None:
    """The response does not wait for the task, nor the task for the client (Kludex/starlette#2943)."""
    app = FastAPI()
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    @app.get("/")
    async def handler(tasks: BackgroundTasks) -> str:
        tasks.add_task(work)
        return "accepted"

    call = Call(layered(app), http_scope())
    call.feed()
    sent = await call.until_sent(2)
    assert sent[-1]["body"] == b'"accepted"'
    assert not sent[-1].get("more_body", False)
    assert not call.task.done()
    call.leave()
    go.set()
    await call.done()
    assert done.is_set()


async def test_a_route_may_stop_working_for_a_client_that_has_left() -> None:
    """With cancel_on_disconnect on its rule, a handler ends when its client leaves (fastapi/fastapi#3766)."""
    app = FastAPI()
    began, ended = asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def handler() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    service = roadworthy(app, routes={"GET /": RouteRule(cancel_on_disconnect=True)})
    call = Call(service, http_scope())
    call.feed()
    async with asyncio.timeout(DEADLINE):
        await began.wait()
    call.leave()
    assert (await call.done()).messages == []
    assert ended.is_set()


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/health", "/debug", "/debug/pprof", "/env", "/actuator/env", "/config", "/routes"],
)
async def test_operations_are_not_public(path: str) -> None:
    """No metrics, details or debug pages in public (openzipkin/zipkin#3382, spring-boot#45624)."""
    assert_the_shape(await request(layered(), "GET", path), 404, "NOT_FOUND")


async def test_a_public_probe_tells_one_word() -> None:
    """Which dependency fails, and how, is not for the public (spring-projects/spring-boot#45624)."""

    async def check() -> None:
        raise OSError(SECRET)

    app = layered()
    app.health.add("billing-database", check)
    got = await request(app, "GET", "/readyz")
    assert (got.status, got.json()) == (503, {"status": "unavailable"})
    await app.pass_.health.stop()


async def test_a_pool_without_a_free_connection_is_503(tmp_path: Path) -> None:
    """Who waited for a connection in vain is told when to come back (full-stack-fastapi-template#104)."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'pool.db'}"
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    app = FastAPI()

    @app.get("/query")
    async def query() -> int:
        async with engine.connect() as connection:
            return int((await connection.execute(text("SELECT 1"))).scalar_one())

    service = layered(app)
    try:
        async with engine.connect():
            got = await request(service, "GET", "/query")
        assert_the_shape(got, 503, "UNAVAILABLE")
        assert int(got.headers["retry-after"]) >= 1
        assert (await request(service, "GET", "/query")).status == 200
    finally:
        await engine.dispose()


@pytest.mark.parametrize("settings", [{"cancel_on_disconnect": True}, {"request_timeout": 0.05}], ids=str)
async def test_what_runs_after_the_response_is_not_interrupted(settings: dict[str, Any]) -> None:
    """A background task answers nobody, so it is neither late nor left alone (Kludex/starlette#1438)."""
    app = FastAPI()
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    @app.get("/")
    async def handler(tasks: BackgroundTasks) -> str:
        tasks.add_task(work)
        return "accepted"

    service = layered(app, **settings)
    call = Call(service, http_scope())
    call.feed()
    await call.until_sent(2)
    # Servers say http.disconnect as soon as the response is complete, whether or not the client is there.
    call.leave()
    async with asyncio.timeout(DEADLINE):
        (live,) = service.pass_.live
        while "request_timeout" in settings and live.exchange.deadline != inf:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
    go.set()
    await call.done()
    assert done.is_set()


@pytest.mark.parametrize("app", [FastAPI(debug=True), Litestar(debug=True)], ids=["fastapi", "litestar"])
async def test_an_app_that_shows_stacks_is_not_served_in_production(app: Any) -> None:
    """An app left in debug mode stops the start where env is production (quarkusio/quarkus#12256)."""
    with pytest.raises(BrokenPromiseError, match="debug on"):
        await self_test(roadworthy(app).pass_)
    await self_test(roadworthy(app, env="development").pass_)
