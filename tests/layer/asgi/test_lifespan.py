"""The lifespan: what opens before the first request and closes after the last."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware

from roadworthy import Layer, RouteRule, roadworthy
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.pipeline import Pass
from roadworthy.layer.selftest import BrokenPromiseError, self_test
from roadworthy.patterns import Database
from roadworthy.types import Message, Receive, Scope, Send
from tests.asgi_driver import ask, http_scope
from tests.patience import DEADLINE, eventually
from tests.served import served

pytestmark = pytest.mark.anyio


class Service:
    """An app and a pool that note what happens to them."""

    def __init__(self, *, fail: str = "") -> None:
        self.name = "database"
        self.fail = fail
        self.happened: list[str] = []

    async def start(self) -> None:
        self.happened.append("pool opened")
        if self.fail == "pool":
            raise ConnectionError("no route to postgres://u:hunter2@db")

    async def ping(self) -> None: ...

    async def stop(self) -> None:
        self.happened.append("pool closed")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.happened.append("app started")
            if self.fail == "app":
                await send({"type": "lifespan.startup.failed", "message": "no"})
                return
            if self.fail == "app, raising":
                await send({"type": "lifespan.startup.failed", "message": "no"})
                raise OSError("no")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.happened.append("app stopped")
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        if scope["path"] == "/hang":
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


class Named:
    """A resource under another name."""

    def __init__(self, resource: Database) -> None:
        self.name = "rows"
        self.start, self.ping, self.stop = resource.start, resource.ping, resource.stop


async def _life(app: Layer, said: list[str] | None = None) -> list[str]:
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    said = [] if said is None else said

    async def send(message: Message) -> None:
        said.append(message["type"].removeprefix("lifespan."))
        if message["type"] == "lifespan.startup.complete":
            assert (await ask(app, path="/readyz")).status == 200
            inbox.put_nowait({"type": "lifespan.shutdown"})

    inbox.put_nowait({"type": "lifespan.startup"})
    async with asyncio.timeout(DEADLINE):
        await app({"type": "lifespan", "asgi": {}}, inbox.get, send)
    return said


async def test_pools_open_before_the_app_and_close_after_it() -> None:
    """The order at the end is that of the start, backwards; readiness is up in between."""
    service = Service()
    said = await _life(roadworthy(service, resources=[service], drain_delay=0))
    assert said == ["startup.complete", "shutdown.complete"]
    assert service.happened == ["pool opened", "app started", "app stopped", "pool closed"]


@pytest.mark.parametrize(
    ("fail", "happened", "raised"),
    [
        ("pool", ["pool opened"], "resource 'database' did not open: ConnectionError"),
        ("app", ["pool opened", "app started", "pool closed"], ""),
        ("app, raising", ["pool opened", "app started", "pool closed"], "no"),
    ],
)
async def test_a_start_that_fails_closes_what_was_open(fail: str, happened: list[str], raised: str) -> None:
    """The server gets the failure, a test client gets what was raised, and nothing stays open."""
    service = Service(fail=fail)
    app = roadworthy(service, resources=[service])
    said: list[str] = []
    with pytest.raises(Exception, match=f"^{raised}$") if raised else nullcontext():
        await _life(app, said)
    assert said == ["startup.failed"]
    assert service.happened == happened
    service.fail = ""
    assert await _life(app) == ["startup.complete", "shutdown.complete"]


def test_one_app_has_one_lifespan_after_another(tmp_path: Path) -> None:
    """Each serves as the first did, on whatever event loop: the kind is a test suite with one app."""
    service, store = Service(), Database(f"sqlite:///{tmp_path}/rows.db")
    rules = {"/hang": RouteRule(timeout=0.2)}
    app = roadworthy(service, resources=[service, Named(store)], routes=rules)
    checks: list[str] = []

    async def check() -> None:
        checks.append("ran")

    app.health.add("own", check, interval=0.01)

    async def whole() -> None:
        async with served(app) as client:
            for path, status in (("/readyz", 200), ("/startupz", 200), ("/", 204)):
                answer = await client.get(path)
                assert (answer.status_code, answer.headers.get("connection")) == (status, None)
            async with store.connection() as connection:
                assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1
            ran = len(checks)
            await eventually(lambda: len(checks) > ran, "checks go on")
            # The sweep runs on this loop, too.
            assert (await ask(app, path="/hang")).status == 504
            socket = await _accepted(app)
            assert socket == ["websocket.accept"]
        assert (await ask(app, path="/readyz")).status == 503

    for lifespan in range(1, 4):
        asyncio.run(whole())
        assert service.happened.count("pool opened") == service.happened.count("pool closed") == lifespan


async def _accepted(app: Layer) -> list[str]:
    said: list[str] = []
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "websocket.connect"})
    inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def send(message: Message) -> None:
        said.append(message["type"])

    scope = {**http_scope(path="/ws"), "type": "websocket", "scheme": "ws", "subprotocols": []}
    await app(scope, inbox.get, send)
    return said


def test_without_a_lifespan_each_request_may_have_an_event_loop_of_its_own() -> None:
    """Deadlines are kept, checks run and resources open on each, as a test client without a lifespan asks."""
    service = Service()
    app = roadworthy(service, resources=[service], routes={"/hang": RouteRule(timeout=0.1)})

    async def one(path: str) -> int:
        async with asyncio.timeout(DEADLINE):
            return (await ask(app, path=path)).status

    asked = ["/", "/readyz", "/hang", "/hang", "/readyz", "/"]
    assert [asyncio.run(one(path)) for path in asked] == [204, 200, 504, 504, 200, 204]
    assert service.happened.count("pool opened") == len(asked)


async def test_an_app_without_a_lifespan_is_served() -> None:
    """Raising on the lifespan scope means that the app has none, as for every server."""

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"

    assert await _life(roadworthy(bare)) == ["startup.complete", "shutdown.complete"]


async def test_without_a_lifespan_the_first_request_starts_the_service() -> None:
    """A server that sends no lifespan gets the same start, once."""
    service = Service()
    app = roadworthy(service, resources=[service])
    assert [one.status for one in await asyncio.gather(*(ask(app) for _ in range(5)))] == [204] * 5
    assert service.happened == ["pool opened"]


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None: ...


async def test_the_self_test_passes_on_every_shape_of_error() -> None:
    """The layer keeps its own promises, whatever the settings."""
    for settings in ({}, {"error_format": "envelope"}, {"error_format": "app"}, {"rate_limit": "off"}):
        await self_test(roadworthy(_nothing, **settings).pass_)  # type: ignore[arg-type]


async def test_a_middleware_that_breaks_context_and_disconnects_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The start names each BaseHTTPMiddleware of the app (Kludex/starlette#1678, Kludex/starlette#2093)."""

    class Timing(BaseHTTPMiddleware): ...

    app = Starlette(middleware=[Middleware(Timing), Middleware(GZipMiddleware)])
    await self_test(roadworthy(app).pass_)
    named = [record.getMessage() for record in caplog.records if record.name == "roadworthy.selftest"]
    assert len(named) == 1
    assert "Timing is a BaseHTTPMiddleware" in named[0]


async def test_a_limit_that_another_one_hides_stops_the_start() -> None:
    """Two rules for one path: the one that never acts is named."""
    rules = {"GET /a/{x}": RouteRule(rate_limit="1/hour"), "GET /a/{y}": RouteRule(rate_limit="2/hour")}
    with pytest.raises(BrokenPromiseError, match=r"GET,HEAD /a/\{y\}"):
        await self_test(roadworthy(_nothing, routes=rules).pass_)


async def test_a_layer_that_lost_an_item_is_refused() -> None:
    """Taking an item out of the pass is seen before the first request."""

    class Without(Pass):
        def respond(self, exchange: Exchange) -> None:
            pass

    pass_ = roadworthy(_nothing).pass_
    pass_.__class__ = Without
    with pytest.raises(BrokenPromiseError, match="x-request-id"):
        await self_test(pass_)
