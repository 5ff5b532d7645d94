"""SystemExit and its like, raised wherever code of the service runs: no other request notices."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.patience import DEADLINE, until
from tests.patterns.test_async_errors import ask_for
from tests.servers import ROOT

from .service import Running, get, running

KINDS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "OwnExit")
ENDING = KINDS[:2]
"""Those that asyncio lets out of the event loop."""

FRAMEWORKS = {
    "fastapi": ["handler", "sync", "dependency", "awaited", "group", "fan_out", "offload", "error"],
    "behind": ["handler", "sync", "dependency", "awaited", "error"],
    "starlette": ["handler", "sync"],
    "litestar": ["handler", "sync"],
    "django": ["handler", "sync"],
    "plain": ["handler", "awaited"],
}
"""The places where the response has not begun."""
STREAMS = ("fastapi", "starlette", "litestar", "django", "plain")
LATE = {
    "fastapi": ["background", "task", "callback"],
    "starlette": ["background"],
    "plain": ["background", "task", "callback"],
}
"""The places where the response is complete, or does not depend on it."""


def _silent(place: str, kind: str) -> bool:
    # asyncio's meaning of a cancelled task is that somebody wanted it: TaskGroup and others say nothing.
    return (kind == "CancelledError" and place in ("task", "group", "fan_out")) or (
        # What the worker process cannot send back by its class.
        place == "offload" and kind not in ENDING
    )


CELLS = [
    *((app, place, kind, 500) for app, places in FRAMEWORKS.items() for place in places for kind in KINDS),
    *((app, "stream", kind, 200) for app in STREAMS for kind in KINDS),
    *((app, place, kind, 200) for app, places in LATE.items() for place in places for kind in KINDS),
]


def _serve(folder: Path, name: str, *arguments: str, **settings: str) -> Any:
    env = {
        "PYTHONPATH": str(ROOT),
        "PORT": "0",
        "ROADWORTHY_OPS_PORT": "off",
        "ROADWORTHY_DRAIN_DELAY": "0",
        "ROADWORTHY_LOG_FORMAT": "json",
        **settings,
    }
    module = {"plain": "exits", "django": "exits", "litestar": "exits_litestar"}.get(name, "exits_fastapi")
    return running("run", f"tests.apps.{module}:{name}", *arguments, cwd=folder, env=env)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """The services, each started when the first test asks for it."""
    started: dict[str, Any] = {}

    class Started(dict[str, Running]):
        def __missing__(self, name: str) -> Running:
            folder = tmp_path_factory.mktemp(name)
            started[name] = _serve(folder, name)
            self[name] = started[name].__enter__()
            return self[name]

    try:
        yield Started()
    finally:
        for one in started.values():
            one.__exit__(None, None, None)


def _failures(process: Running, kind: str, request_id: str, place: str) -> list[dict[str, Any]]:
    """Return the records of this failure: with its class, and with the request's id where it is known."""
    texts = [kind]
    if kind == "CancelledError":
        # A task group takes a cancelled child for one that has ended: half a response is left, or none.
        texts += ["left its response unfinished", "No response returned."]
    return [
        one
        for one in process.records
        if any(text in json.dumps(one.get("exception", "")) for text in texts)
        and (one.get("request_id") == request_id or (place == "callback" and "request_id" not in one))
    ]


@pytest.mark.parametrize(
    ("app", "place", "kind", "status"), [cell for cell in CELLS if not _silent(cell[1], cell[2])]
)
def test_an_exit_ends_what_raised_it_and_has_one_record(
    services: dict[str, Running], app: str, place: str, kind: str, status: int
) -> None:
    """It is answered as any failure is, recorded once with its class, and the process serves on."""
    process = services[app]
    url = process.record("listening")["url"]
    before = len(_failures(process, kind, "", place))
    got, request_id = ask_for(url, f"/{place}/{kind}")
    assert got == status
    found = until(
        lambda: _failures(process, kind, request_id, place)[before:], f"a record of {kind} in {place}"
    )
    # Whoever would record it a second time has had the chance.
    assert ask_for(url, "/nothing")[0] in (200, 404)
    found = _failures(process, kind, request_id, place)[before:]
    assert [one["level"] for one in found] == ["error"]
    assert process.process.poll() is None


@pytest.mark.parametrize("app", FRAMEWORKS)
def test_requests_in_flight_are_answered(tmp_path: Path, app: str) -> None:
    """Exits of every kind cut no other request, and SIGTERM still ends the service with a drain and 0."""
    with _serve(tmp_path, app) as process, ThreadPoolExecutor(1) as pool:
        url = process.record("listening")["url"]
        held = pool.submit(ask_for, url, "/hold")
        assert ask_for(url, "/holding")[0] == 200
        places = [*FRAMEWORKS[app], *(["stream"] if app in STREAMS else [])]
        for place in places:
            for kind in KINDS:
                ask_for(url, f"/{place}/{kind}")
        assert ask_for(url, "/release")[0] == 200
        assert held.result(30)[0] == 200
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert "lifespan ended" in [one["message"] for one in process.records]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("app", ["fastapi", "plain"])
def test_a_websocket_handler_that_exits_closes_its_own(
    services: dict[str, Running], app: str, kind: str
) -> None:
    """The WebSocket is closed with 1011 (RFC 6455 §7.4.1) and has a record."""
    process = services[app]
    url = process.record("listening")["url"]
    before = len(process.records)
    with connect(url.replace("http", "ws") + f"/ws/{kind}") as ws:
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=DEADLINE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    until(
        lambda: [one for one in process.records[before:] if kind in json.dumps(one.get("exception", ""))],
        f"a record of {kind} in a WebSocket",
    )
    assert process.process.poll() is None


def test_a_worker_survives_its_handlers(tmp_path: Path) -> None:
    """With several workers none is lost, and none is started in its place."""
    with _serve(tmp_path, "plain", "--workers", "2") as process:
        url = process.record("listening")["url"]
        for kind in KINDS:
            for place in ("handler", "awaited"):
                ask_for(url, f"/{place}/{kind}")
        assert not [one for one in process.records if one["message"].startswith("worker ended")]
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "OwnExit"])
@pytest.mark.parametrize("place", ["call", "startup"])
def test_a_start_that_exits_is_refused(tmp_path: Path, place: str, kind: str) -> None:
    """The service does not start, ends with 1 whatever the exit's own code, and the message has the class."""
    with _serve(tmp_path, "plain", LEAVE=f"{place} {kind}") as process:
        assert process.exit_code() == 1
        assert kind in process.output
        assert "the app's lifespan raised" in process.output
        assert "listening" not in [one["message"] for one in process.records]


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "OwnExit"])
def test_an_end_that_exits_ends_in_order(tmp_path: Path, kind: str) -> None:
    """The steps after it are taken, and the record has the class."""
    with _serve(tmp_path, "plain", LEAVE=f"shutdown {kind}") as process:
        process.record("listening")
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert kind in process.record_of("lifespan ended")["message"] + process.output


SIGNALLED = """
import os, signal, sys
from roadworthy import roadworthy

async def serve(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(7))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    os.kill(os.getpid(), signal.SIGUSR1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

app = roadworthy(serve)
"""


def test_an_exit_by_a_signal_handler_of_the_service_ends_it(tmp_path: Path) -> None:
    """Somebody outside has asked for it, wherever the handler happens to run."""
    (tmp_path / "main.py").write_text(SIGNALLED)
    env = {"PORT": "0", "ROADWORTHY_OPS_PORT": "off", "ROADWORTHY_LOG_FORMAT": "json"}
    with running("run", "main:app", cwd=tmp_path, env=env) as process:
        url = process.record("listening")["url"]
        with suppress(OSError, HTTPException):
            get(url)
        assert process.exit_code() == 1
