"""A failure has one record, with its stack and the id of its request, wherever it ends."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from roadworthy import roadworthy
from roadworthy.types import Receive, Scope, Send
from tests.asgi_driver import ask
from tests.patience import DEADLINE, until

from ..server.service import Running, get, running

ROOT = Path(__file__).parents[2]


def _start(folder: Path, **settings: str) -> Any:
    env = {
        "PYTHONPATH": str(ROOT),
        "PORT": "0",
        "ROADWORTHY_OPS_PORT": "0",
        "ROADWORTHY_DRAIN_DELAY": "0",
        "ROADWORTHY_LOG_FORMAT": "json",
        **settings,
    }
    return running("run", "tests.apps.failing:app", cwd=folder, env=env)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str, str]]:
    """The failing service: the process, its URL and that of its operations listener."""
    with _start(tmp_path_factory.mktemp("failing")) as process:
        record = process.record("listening")
        yield process, record["url"], record["operations_url"]


def records_of(process: Running, place: str) -> list[dict[str, Any]]:
    """Return the records in which the failure of a place stands, with or without a stack."""
    return [record for record in process.records if f"canary-{place}" in json.dumps(record)]


def ask_for(url: str, path: str) -> tuple[int, str]:
    """Ask; return status and request id. The connection may be cut in the middle."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        with suppress(http.client.IncompleteRead):
            assert b"canary" not in response.read()
        return response.status, response.headers["X-Request-Id"]
    finally:
        connection.close()


def _is_of_another(record: dict[str, Any], place: str) -> bool:
    # "task" is the beginning of "task-logged".
    return f"canary-{place}-" in json.dumps(record)


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("handler", 500),
        ("logged", 500),
        ("child", 500),
        ("sibling", 200),
        ("offloaded", 500),
        ("worker", 500),
        ("task", 200),
        ("task-logged", 200),
        ("callback", 200),
        ("stream", 200),
    ],
)
def test_a_failure_has_one_record(service: tuple[Running, str, str], place: str, status: int) -> None:
    """One record bears the exception with its stack and the request's id; no other record repeats it."""
    process, url, _ = service
    got, request_id = ask_for(url, f"/{place}")
    assert got == status
    until(lambda: records_of(process, place), f"a record of {place}")
    # Whoever would record it a second time has had the chance: the loop has served another request since.
    assert ask_for(url, "/nothing")[0] == 404
    found = [one for one in records_of(process, place) if not _is_of_another(one, place)]
    assert [(one["level"], one["request_id"]) for one in found] == [("error", request_id)]
    assert f"canary-{place}" in found[0]["exception"]["stack"]
    assert ", line " in found[0]["exception"]["stack"]


def test_a_failure_after_the_response_has_a_record(service: tuple[Running, str, str]) -> None:
    """What fails in a background task of the framework is in one record beside that of its request."""
    process, url, _ = service
    status, request_id = ask_for(url, "/background")
    assert status == 200
    until(
        lambda: [one for one in process.records if one.get("request_id") == request_id and "status" in one],
        "the record of the request",
    )
    (record,) = records_of(process, "background")
    assert (record["level"], record["request_id"]) == ("error", request_id)


def test_a_failure_in_a_websocket_has_one_record(service: tuple[Running, str, str]) -> None:
    """A WebSocket is an exchange like the others."""
    process, url, _ = service
    with connect(url.replace("http", "ws") + "/socket") as socket, suppress(Exception):
        socket.recv()
    until(lambda: records_of(process, "socket"), "a record of the WebSocket")
    (record,) = records_of(process, "socket")
    assert "canary-socket" in record["exception"]["stack"]
    assert record["request_id"]


def test_a_failure_outside_of_requests_has_one_record(service: tuple[Running, str, str]) -> None:
    """A loop of the service's own that logs and passes on is not recorded again."""
    process, _, _ = service
    (record,) = records_of(process, "loop")
    assert record["message"] == "the service's own words"


def test_unhandled_failures_are_counted(service: tuple[Running, str, str]) -> None:
    """Tasks and callbacks that failed are a metric, recorded by themselves or not."""
    process, url, operations = service
    for path in ("/task", "/task-logged", "/callback"):
        ask_for(url, path)

    def counted(kind: str) -> float:
        page = get(operations, "/metrics")[1].decode()
        (line,) = [one for one in page.splitlines() if f'unhandled_exceptions_total{{kind="{kind}"}}' in one]
        return float(line.split()[-1])

    until(lambda: counted("task") >= 3 and counted("callback") >= 1, "the counters")
    assert process.process.poll() is None


def test_the_end_of_the_lifespan(tmp_path: Path) -> None:
    """What fails while the app ends is recorded once, and the process ends all the same."""
    with _start(tmp_path) as process:
        process.record("listening")
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        (record,) = records_of(process, "shutdown")
        assert record["level"] == "error"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_process_ends_only_when_asked(tmp_path: Path, workers: str) -> None:
    """With exit_on_unhandled a failed task ends the process with code 1; a worker is replaced instead."""
    with _start(tmp_path, ROADWORTHY_EXIT_ON_UNHANDLED="true", WEB_CONCURRENCY=workers) as process:
        ask_for(process.record("listening")["url"], "/task")
        if workers == "1":
            assert process.exit_code() == 1
            assert process.record_of("lifespan ended")
        else:
            until(lambda: len([r for r in process.records if r["message"] == "worker ready"]) > 2, "others")
            assert process.process.poll() is None
        assert process.record_of("the process ends: exit_on_unhandled is set")["level"] == "critical"


class _App:
    """A bare ASGI app."""

    def __init__(self, fails: str) -> None:
        self.fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            if self.fails == "start":
                raise RuntimeError("canary-start")
            await send({"type": "lifespan.startup.complete"})
            if self.fails == "middle":
                raise RuntimeError("canary-middle")
            await receive()
            if self.fails == "end":
                raise RuntimeError("canary-end")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.anyio
@pytest.mark.parametrize("fails", ["start", "middle", "end"])
async def test_a_bare_lifespan_that_fails_has_a_record(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    """An app that took the first message and raises without an answer is served on (ASGI), and recorded."""
    app = roadworthy(_App(fails), drain_delay=0)
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    said: list[str] = []

    async def send(message: Any) -> None:
        said.append(message["type"])
        if message["type"] == "lifespan.startup.complete":
            assert (await ask(app)).status == 204
            inbox.put_nowait({"type": "lifespan.shutdown"})

    inbox.put_nowait({"type": "lifespan.startup"})
    await app({"type": "lifespan", "asgi": {}}, inbox.get, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == f"canary-{fails}"


@pytest.mark.anyio
async def test_a_handler_of_the_services_own_stays(caplog: pytest.LogCaptureFixture) -> None:
    """Who has set the loop's exception handler keeps recording, and gets it back."""
    seen: list[str] = []
    loop = asyncio.get_running_loop()

    def own(_: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        seen.append(str(told["exception"]))

    loop.set_exception_handler(own)
    app = roadworthy(_App(""), drain_delay=0)
    await ask(app)
    failed = asyncio.ensure_future(_fail())
    await asyncio.wait([failed])
    del failed
    gc.collect()
    assert seen == ["canary-own"]
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    loop.set_exception_handler(None)


async def _fail() -> None:
    raise RuntimeError("canary-own")
