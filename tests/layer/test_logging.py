"""Logging: one record per request, and none that a client can forge."""

from __future__ import annotations

import asyncio
import json
import logging as stdlib_logging
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from roadworthy.errors import NotFoundError, UnavailableError
from roadworthy.layer.exchange import current_exchange
from roadworthy.layer.logging import Logging
from roadworthy.layer.logs.writer import LogWriter
from roadworthy.settings import Settings
from tests.patience import DEADLINE

from .logs.stream import Stream, raised, served


def test_the_record_of_a_request(stream: Stream) -> None:
    """One request is one line with who asked what and how it ended."""
    stream.item.finish(served(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331"))
    record = stream.one()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert 0 <= record.pop("duration_ms") < 60_000
    assert record == {
        "level": "info",
        "logger": "roadworthy.access",
        "message": "request",
        "method": "GET",
        "route": "/users/{id}",
        "path": "/users/42",
        "status": 200,
        "bytes": 7,
        "client": "203.0.113.7",
        "request_id": "00000000000000000000000000000001",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
    }


def test_the_two_ways_to_make_a_record_agree(make: Callable[..., Stream]) -> None:
    """A record made by formatting has the fields, in order, of one made from a dictionary."""
    stream = make()
    stream.item.finish(served())
    stream.item.finish(served(path="/" + "x" * 600))
    short, long = stream.records()
    assert list(short) == list(long)
    assert {**short, "time": 0, "duration_ms": 0, "path": 0} == {
        **long,
        "time": 0,
        "duration_ms": 0,
        "path": 0,
    }


def test_an_unmatched_path_has_no_route(stream: Stream) -> None:
    """A request that no route took says so with null."""
    stream.item.finish(served(route=None, status=404))
    assert stream.one()["route"] is None


_HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\r\n\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\"\\'{}[],:\ud800\udfff\ufeff\U0001f600"),
    ),
    max_size=300,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=_HOSTILE, route=_HOSTILE, method=_HOSTILE, client=_HOSTILE, request_id=_HOSTILE)
def test_no_text_forges_a_record(
    stream: Stream, path: str, route: str, method: str, client: str, request_id: str
) -> None:
    """Whatever a client sends, there is exactly one line of printable ASCII, and it says what was sent."""
    stream.item.finish(
        served(path=path, route=route, method=method, client=client, request_id=request_id, trace_id=path)
    )
    data = stream.take()
    assert data.count(b"\n") == 1
    assert data.endswith(b"}\n")
    assert data[:-1].decode("ascii").isprintable()
    record = json.loads(data)
    if record["message"] != "request":
        pytest.fail("the record could not be made")
    if len(data) < 3_900:
        plain = [
            re.sub("[\ud800-\udfff]", "\ufffd", text) for text in (path, route, method, client, request_id)
        ]
        assert [record[name] for name in ("path", "route", "method", "client", "request_id")] == plain


@pytest.mark.parametrize(
    "path",
    [
        '/%0a{"level":"info","message":"FORGED"}',
        '/\n{"level":"info","message":"FORGED"}\n',
        "/\r\n\x1b[31mred\u2028",
    ],
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_paths_of_attackers_stay_on_their_line(
    make: Callable[..., Stream], path: str, log_format: str
) -> None:
    """Decoded line breaks and escapes in a path (granian and hypercorn write them raw) change nothing."""
    stream = make(log_format=log_format)
    stream.item.finish(served(path=path))
    data = stream.take()
    assert data.count(b"\n") == 1
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", data)
    assert "\u2028" not in data.decode()


def test_a_query_is_never_written(stream: Stream) -> None:
    """Query strings carry tokens (bluesky/tiled#1440), so no form of the record has them."""
    for status, exception in ((200, None), (404, None), (500, raised(ValueError("x")))):
        stream.item.finish(served(status=status, exception=exception, query=b"token=canary"))
    assert b"canary" not in stream.take()


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", [200, 404, 500]),
        ("info", [200, 404, 500]),
        ("warning", [500]),
        ("error", [500]),
        ("critical", []),
    ],
)
def test_the_level_decides_what_is_written(
    make: Callable[..., Stream], level: str, written: list[int]
) -> None:
    """Below the level there is no record; failures of the service stand at error, refusals below it."""
    stream = make(log_level=level)
    for status in (200, 404, 500):
        stream.item.finish(served(status=status))
    records = stream.records()
    assert [record["status"] for record in records] == written
    assert all((record["level"] == "error") == (record["status"] >= 500) for record in records)


def test_the_level_can_change_while_serving(routed: Stream) -> None:
    """A new level holds from the next record on, for access records and for loggers."""
    logger = stdlib_logging.getLogger("some.service")
    routed.item.set_level("error")
    routed.item.finish(served())
    logger.info("quiet")
    assert routed.records() == []
    routed.item.set_level("debug")
    routed.item.finish(served())
    logger.debug("loud")
    assert [record["message"] for record in routed.records()] == ["request", "loud"]


def test_probes_stand_at_debug(make: Callable[..., Stream]) -> None:
    """What asks every few seconds is seen only at debug, also while it is answered 503."""
    quiet, loud = make(), make(log_level="debug")
    for stream in (quiet, loud):
        for path, status in (("/livez", 200), ("/readyz", 503), ("/metrics", 200)):
            stream.item.finish(served(path=path, status=status))
    assert quiet.records() == []
    assert [record["level"] for record in loud.records()] == ["debug"] * 3


def test_a_failure_has_its_stack_inside_the_record(stream: Stream) -> None:
    """A 5xx is one line at error, with type, stack and message of the exception."""
    exchange = served(status=500, exception=raised(ValueError("boom")))
    stream.item.finish(exchange)
    record = stream.one()
    assert record["level"] == "error"
    assert record["exception"]["type"] == "ValueError"
    assert record["exception"]["stack"].startswith("Traceback (most recent call last)")
    assert record["exception"]["stack"].endswith("ValueError: boom")
    assert exchange.logged


def test_the_layers_own_refusal_says_its_code(stream: Stream) -> None:
    """A 503 of the layer has no stack, and the code tells which refusal it was."""
    stream.item.finish(served(status=503, error=UnavailableError()))
    record = stream.one()
    assert record["code"] == "UNAVAILABLE"
    assert "exception" not in record


def test_an_exception_with_an_answer_is_no_failure(stream: Stream) -> None:
    """Where the app's own handler answered below 500, the record is that of an answer."""
    stream.item.finish(served(status=400, exception=raised(ValueError("x"))))
    record = stream.one()
    assert record["level"] == "info"
    assert "exception" not in record


def test_a_response_cut_off_by_an_exception_is_a_failure(stream: Stream) -> None:
    """A 200 that could not be completed stands at error with the stack."""
    stream.item.finish(served(status=200, ended=False, exception=raised(ValueError("half"))))
    record = stream.one()
    assert record["level"] == "error"
    assert "half" in record["exception"]["stack"]


@pytest.mark.parametrize(
    "exception",
    [
        ConnectionResetError(),
        NotFoundError(),
        type("ClientDisconnect", (Exception,), {})(),
    ],
)
def test_a_client_that_left_is_no_failure(stream: Stream, exception: BaseException) -> None:
    """An exchange ended from outside stands at info."""
    stream.item.finish(served(status=499, ended=False, exception=exception))
    assert stream.one()["level"] == "info"


def test_a_failure_after_the_response_has_a_record(stream: Stream) -> None:
    """What fails in a background task is recorded with the exchange's id, and once."""
    exception = raised(ValueError("late"))
    exchange = served(exception=exception)
    stream.item.failed_late(exchange, exception)
    exchange.logged = True
    stream.item.finish(exchange)
    late, access = stream.records()
    assert (late["level"], access["level"]) == ("error", "info")
    assert late["request_id"] == access["request_id"]
    assert "late" in late["exception"]["stack"]


def test_one_failure_has_one_stack(routed: Stream) -> None:
    """A service that logs an exception and lets it go on does not get its stack twice."""
    exchange = served(status=500)
    token = current_exchange.set(exchange)
    try:
        raise ValueError("boom")
    except ValueError as exception:
        stdlib_logging.getLogger("service").exception("it failed")
        exchange.exception = exception
    finally:
        current_exchange.reset(token)
    routed.item.finish(exchange)
    own, access = routed.records()
    assert "boom" in own["exception"]["stack"]
    assert "exception" not in access
    assert (own["level"], access["level"]) == ("error", "error")


def test_another_exception_than_the_one_logged_keeps_its_stack(routed: Stream) -> None:
    """A logged and handled exception does not hide the one that ended the exchange."""
    exchange = served(status=500, exception=raised(ValueError("second")))
    token = current_exchange.set(exchange)
    try:
        raise KeyError("first")
    except KeyError:
        stdlib_logging.getLogger("service").exception("handled")
    finally:
        current_exchange.reset(token)
    routed.item.finish(exchange)
    assert "second" in routed.records()[1]["exception"]["stack"]


def test_a_long_stack_is_cut_in_its_middle(stream: Stream) -> None:
    """A record has at most 4,000 bytes, remains JSON, and keeps both ends of the stack around a mark."""

    def deep(level: int) -> None:
        if level == 0:
            raise ValueError("first words " + "€" * 20_000 + " last words")
        deep(level - 1)

    try:
        deep(200)
    except ValueError as exception:
        stream.item.finish(served(status=500, exception=exception))
    data = stream.take()
    assert 3_000 < len(data) <= 4_000
    stack = json.loads(data)["exception"]["stack"]
    assert stack.startswith("Traceback")
    assert stack.endswith("last words")
    assert "characters cut …]" in stack


@pytest.mark.parametrize("length", [513, 4_000, 8_192])
def test_a_long_path_is_cut(stream: Stream, length: int) -> None:
    """A path of any length leaves a record of at most 4,000 bytes."""
    stream.item.finish(served(path="/" + "\u00e9" * length))
    data = stream.take()
    assert len(data) <= 4_000
    assert json.loads(data)["path"].startswith("/é")


def test_a_record_that_cannot_be_made_leaves_one_that_says_so(stream: Stream) -> None:
    """A value of a wrong type in the exchange raises nothing and hides nothing."""
    stream.item.finish(served(status="strange"))
    record = stream.one()
    assert record["level"] == "error"
    assert "could not be made" in record["message"]


def _on_terminal(environment: dict[str, str], **settings: Any) -> str:
    """Give what a process with a terminal as its standard output shows there."""
    script = f"""
import time
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.logging import configure
from roadworthy.settings import Settings
import logging
item = configure(Settings(_env_file=None, **{settings!r}))
try:
    raise ValueError("line one\\nline two\\x1b[31m")
except ValueError:
    logging.getLogger("shop").exception("failed", extra={{"order": "a\\nb"}})
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=theirs,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65_536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait(DEADLINE) == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_in_development_gets_the_form_for_people() -> None:
    """In development a terminal shows colours, the stack indented, and control characters escaped."""
    shown = _on_terminal({}, env="development")
    assert "\x1b[31merror" in shown
    assert "\n    ValueError: line one\n    line two\\x1b[31m" in shown
    assert "a\\nb" in shown
    assert "a\nb" not in shown


def test_no_color_is_respected() -> None:
    """NO_COLOR takes the colours away (no-color.org)."""
    assert "\x1b" not in _on_terminal({"NO_COLOR": "1"}, env="development")


def test_a_terminal_in_production_gets_json() -> None:
    """Only development changes the form by itself."""
    for line in _on_terminal({}, env="production").splitlines():
        json.loads(line)


def test_the_console_form_of_a_request(make: Callable[..., Stream]) -> None:
    """The form for people names method, path, status and duration in one line."""
    stream = make(log_format="console")
    stream.item.finish(served())
    line = stream.take().decode()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} info +GET /users/42 200 [\d.]+ ms .*request_id=0+1\n", line)
    assert stream.item.writer.dropped == 0


def test_lost_records_are_told(make: Callable[..., Stream]) -> None:
    """When the reader of standard output was too slow, one record says how many were lost."""
    reading, writing = os.pipe()
    writer = LogWriter(writing, max_lines=100)
    item = Logging(Settings(_env_file=None, log_format="json"), writer=writer)
    for _ in range(10_000):
        item.finish(served())
    lost = writer.dropped
    assert lost > 0
    lines: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            lines.extend(file)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert asyncio.run(_stop(item))
    os.close(writing)
    reader.join(10)
    told = [record for line in lines if "dropped" in (record := json.loads(line))]
    assert sum(record["dropped"] for record in told) == lost
    assert {record["level"] for record in told} == {"warning"}


def test_the_last_words_of_a_process_are_written() -> None:
    """What is recorded between the stop and a signal that ends the process at once is not lost."""
    script = """
import asyncio, logging, os, signal
from roadworthy.layer.logging import configure
from roadworthy.settings import Settings

item = configure(Settings(_env_file=None))
logging.getLogger("shop").info("first")
asyncio.run(item.stop())
logging.getLogger("shop").info("last")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=DEADLINE)
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["first", "last"]


async def _stop(item: Logging) -> bool:
    await item.stop()
    return item.writer.waiting == 0


_APP = """
import asyncio, time
from roadworthy.layer.exchange import Exchange, ResponseAborted
from roadworthy.layer.logging import Logging
from roadworthy.settings import Settings

item = Logging(Settings(_env_file=None))
item.configure()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await item.start()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                await item.stop()
                return
    exchange = Exchange.of_refusal("")
    exchange.duration = 0.001
    exchange.method, exchange.path, exchange.client = scope["method"], scope["path"], scope["client"][0]
    exchange.route = exchange.exception = exchange.error = None
    exchange.status, exchange.bytes_sent, exchange.request_id, exchange.trace_id = 200, 2, "1", ""
    exchange.logged, exchange.ended = False, True
    try:
        if scope["path"] == "/abort":
            exchange.ended = False
            exchange.exception = ValueError("behind the abort")
            headers = [(b"content-length", b"100")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ResponseAborted
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
    finally:
        item.finish(exchange)
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _get(port: int, path: str) -> bytes:
    """Send one request and give everything that came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            try:
                return answer.read()
            except ConnectionResetError:
                return b""


@pytest.mark.parametrize(
    "command",
    [
        ["uvicorn", "--port", "{port}", "app:app"],
        ["hypercorn", "--access-logfile", "-", "--bind", "127.0.0.1:{port}", "app:app"],
        ["granian", "--interface", "asgi", "--access-log", "--port", "{port}", "app:app"],
    ],
    ids=lambda command: command[0],
)
def test_under_a_server_each_request_has_one_record(tmp_path: Path, command: list[str]) -> None:
    """With a server's own logging at its defaults, each request is one record, and an abort is told once."""
    (tmp_path / "app.py").write_text(_APP)
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *(part.format(port=port) for part in command)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1].decode()
                assert time.monotonic() < deadline
                threading.Event().wait(0.05)
        assert _get(port, "/a?token=canary").endswith(b"ok")
        assert not _get(port, "/abort").endswith(b"ok")
        assert _get(port, "/%0a%1b[31mforged").endswith(b"ok")
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE)
    # What a server says before it has imported the app is in its own form.
    lines = [line for line in out.splitlines() if line.startswith(b"{")]
    records = [json.loads(line) for line in lines]
    access = [record for record in records if record["logger"] == "roadworthy.access"]
    assert [record["path"] for record in access] == ["/a", "/abort", "/\n\x1b[31mforged"]
    assert [record["level"] for record in access] == ["info", "error", "info"]
    assert b"canary" not in out + err
    assert b"ResponseAborted" not in out + err
    assert (out + err).count(b"ValueError: behind the abort") == 1
    assert (out + err).count(b"/abort") == 1
