"""Clients of tests around the layer: with `ENV=test` they see what they see without it."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from asgiref.testing import ApplicationCommunicator
from starlette.applications import Starlette

from roadworthy import ConflictError, Layer, roadworthy
from roadworthy.types import ASGIApp, Receive, Scope, Send
from tests.asgi_driver import Call, ask, http_scope
from tests.patience import DEADLINE

with warnings.catch_warnings():
    # It wants another httpx than the one of our tests.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

pytestmark = pytest.mark.anyio


class AppError(Exception):
    """What the app raises."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail where the path says."""
    if scope["type"] == "lifespan":
        raise AssertionError("no lifespan")
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/after":
            await send({"type": "websocket.accept"})
        raise AppError
    match scope["path"]:
        case "/before":
            raise AppError
        case "/between":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise AppError
        case "/after":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"whole"})
            raise AppError
        case "/known":
            raise ConflictError("Taken")
        case "/silent":
            return
        case "/twice":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"whole"})
            await send({"type": "http.response.body", "body": b"more"})
        case "/trailers":
            await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
            await send({"type": "http.response.body", "body": b"whole"})
            await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})
        case "/early-trailers":
            await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
            await send({"type": "http.response.trailers", "headers": []})
        case "/left":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"whole"})
            asking: Any = receive()
            try:
                asking.send(None)
            except StopIteration as answer:
                scope["state"]["after"] = answer.value
        case "/echo":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})


def layered(env: str = "test", inner: ASGIApp = app, **settings: Any) -> Layer:
    """Put the layer around an app that keeps nothing between tests."""

    async def fresh(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    return roadworthy(fresh, env=env, rate_limit="off", **settings)


async def by_starlette(service: ASGIApp, path: str) -> int:
    """Ask with Starlette's client, which has an event loop of its own."""
    response = await asyncio.to_thread(lambda: TestClient(service).get(path))
    return int(response.status_code)


async def by_httpx(service: ASGIApp, path: str) -> int:
    """Ask with httpx."""
    transport = httpx.ASGITransport(app=service)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.get(path)).status_code


async def by_asgiref(service: Any, path: str) -> int:
    """Ask with the communicator of Django's and Channels' tests."""
    untyped: Any = ApplicationCommunicator
    communicator = untyped(service, http_scope(path=path))
    await communicator.send_input({"type": "http.request"})
    await communicator.wait(DEADLINE)
    start: dict[str, Any] = await communicator.receive_output(DEADLINE)
    return int(start["status"])


CLIENTS: tuple[Callable[[Any, str], Awaitable[int]], ...] = (by_starlette, by_httpx, by_asgiref)


@pytest.mark.parametrize("ask_by", CLIENTS)
@pytest.mark.parametrize("path", ["/before", "/between", "/after"])
async def test_what_the_app_raised_comes_out(ask_by: Callable[[Any, str], Awaitable[int]], path: str) -> None:
    """Whether the response has begun, has ended or is not there yet."""
    with pytest.raises(AppError):
        await ask_by(app, path)
    with pytest.raises(AppError):
        await ask_by(layered(), path)


@pytest.mark.parametrize("ask_by", CLIENTS)
async def test_an_error_that_is_an_answer_does_not(ask_by: Callable[[Any, str], Awaitable[int]]) -> None:
    """A conflict is 409, as for a real client."""
    assert await ask_by(layered(), "/known") == 409


@pytest.mark.parametrize("ask_by", CLIENTS)
@pytest.mark.parametrize("env", ["production", "development"])
async def test_it_stays_inside_elsewhere(ask_by: Callable[[Any, str], Awaitable[int]], env: str) -> None:
    """In the other environments a test sees what clients see."""
    assert await ask_by(layered(env), "/before") == 500


async def test_a_server_gets_no_exception() -> None:
    """With `ENV=test` too: a server would record it a second time."""
    assert (await ask(layered(), path="/before")).status == 500


@pytest.mark.parametrize("path", ["/before", "/after"])
@pytest.mark.parametrize("env", ["test", "production"])
def test_a_websocket_that_raises(env: str, path: str) -> None:
    """It raises in the client as well, before and after it is accepted; elsewhere it is closed."""

    def talk(service: Any) -> None:
        with TestClient(service).websocket_connect(path) as socket:
            socket.receive_text()

    with pytest.raises(AppError) if env == "test" else pytest.raises(Exception, match=r"1011|500|^$"):
        talk(layered(env))


def test_a_lifespan_that_raises_at_once() -> None:
    """A framework that has one does not raise for want of it: a middleware of the app is broken."""

    class Broken:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise AppError

    made = Starlette()
    made.add_middleware(Broken)
    with pytest.raises(AppError), TestClient(roadworthy(made, env="test", rate_limit="off")):
        pass
    # An app without a lifespan is served.
    with TestClient(layered()) as client:
        assert client.get("/readyz").status_code == 200


def test_a_lifespan_that_fails_at_its_end() -> None:
    """What it raises comes out of the client's block."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        yield
        raise AppError

    made = roadworthy(Starlette(lifespan=lifespan), env="test", rate_limit="off")
    with pytest.raises(AppError), TestClient(made):
        pass


def test_an_app_that_does_not_answer() -> None:
    """Starlette's client reports it in its own words."""
    with pytest.raises(AssertionError, match="did not receive any response"):
        TestClient(layered()).get("/silent")


@pytest.mark.parametrize(("path", "mistake"), [("/twice", "after"), ("/early-trailers", "before body")])
def test_messages_out_of_turn_are_found(path: str, mistake: str) -> None:
    """The server judges what the app sends, and the app gets what it raises."""
    for service in (app, layered()):
        with pytest.raises(AssertionError, match=mistake):
            TestClient(service).get(path)


async def test_trailers_come_after_the_body() -> None:
    """A response with trailers has no Content-Length, and they are handed on."""
    got = await ask(layered("production"), path="/trailers")
    assert [one["type"].rpartition(".")[2] for one in got.messages] == ["start", "body", "trailers"]
    assert "content-length" not in got.headers
    assert got.messages[1]["body"] == b"whole"


async def test_who_asks_after_the_response_is_told_that_it_is_over() -> None:
    """ASGI: `http.disconnect` when receive is called after the response has been sent; at once."""
    state: dict[str, Any] = {}
    call = Call(layered("production"), http_scope(path="/left", state=state))
    call.feed()
    await call.done()
    assert state["after"] == {"type": "http.disconnect"}


async def test_a_body_that_no_field_announces() -> None:
    """httpx streams without Content-Length and Transfer-Encoding; the messages say where the body ends."""

    async def pieces() -> Any:
        yield b"one "
        yield b"two"

    transport = httpx.ASGITransport(app=layered())
    host = {"host": "localhost"}
    async with httpx.AsyncClient(transport=transport) as client:
        request = httpx.Request("POST", "http://localhost/echo", headers=host, stream=_Unannounced(pieces()))
        assert (await client.send(request)).text == "one two"


class _Unannounced(httpx.AsyncByteStream):
    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Any:
        return self._pieces
