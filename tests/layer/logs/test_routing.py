"""The service's own records: every logger of the process in one stream and one form."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging as stdlib_logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from rich.console import Console
from rich.logging import RichHandler

from roadworthy.layer.exchange import ResponseAborted, current_exchange
from roadworthy.layer.logs.routing import RecordHandler
from tests.patience import DEADLINE

from .stream import Stream, served


def test_both_kinds_of_loggers_give_the_same_record(routed: Stream) -> None:
    """logging.getLogger and structlog.get_logger come out alike, with the ids of the exchange."""
    exchange = served(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")
    token = current_exchange.set(exchange)
    try:
        stdlib_logging.getLogger("shop").info("paid", extra={"amount": 3, "tags": ["a", None]})
        structlog.get_logger("shop").info("paid", amount=3, tags=["a", None])
    finally:
        current_exchange.reset(token)
    plain, structured = routed.records()
    for record in (plain, structured):
        assert record.pop("time").endswith("Z")
    assert plain == structured
    assert plain == {
        "level": "info",
        "logger": "shop",
        "message": "paid",
        "request_id": exchange.request_id,
        "trace_id": exchange.trace_id,
        "span_id": exchange.span_id,
        "amount": 3,
        "tags": ["a", None],
    }


def test_exceptions_of_loggers_are_structured(routed: Stream) -> None:
    """logger.exception of both kinds puts type and stack into the record."""
    for logger in (stdlib_logging.getLogger("shop"), structlog.get_logger("shop")):
        try:
            raise ValueError("boom")
        except ValueError:
            logger.exception("failed")
        record = routed.one()
        assert record["level"] == "error"
        assert record["exception"]["type"] == "ValueError"
        assert record["exception"]["stack"].endswith("ValueError: boom")


def test_structlogs_context_variables_are_merged(routed: Stream) -> None:
    """What a service binds to the context stands in its records."""
    with structlog.contextvars.bound_contextvars(tenant="acme"):
        structlog.get_logger("shop").warning("low %s", "stock")
    record = routed.one()
    assert (record["tenant"], record["message"], record["level"]) == ("acme", "low stock", "warning")


def test_fields_of_the_record_are_not_replaced(routed: Stream) -> None:
    """A service's own field named like one of ours stands beside it."""
    structlog.get_logger("shop").info("x", level="forged", time="never")
    record = routed.one()
    assert (record["level"], record["level_"], record["time_"]) == ("info", "forged", "never")


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "log",
    [
        lambda logger: logger.info("%d", "word"),
        lambda logger: logger.info("x", extra={"value": _Unprintable()}),
        lambda logger: logger.info("x", extra={"value": float("nan")}),
        lambda logger: logger.info("x", extra={"value": 10**5_000}),
        lambda logger: logger.info("x", extra={"value": {("a", "b"): {1, 2}, None: b"\xff"}}),
        lambda logger: logger.info("\ud800 lone"),
        lambda logger: logger.info("x" * 100_000),
        lambda logger: logger.info("x", extra={f"k{number}": "v" * 100 for number in range(500)}),
        lambda logger: logger.info({"not": "text"}),
        lambda logger: logger.info("x", extra={"k\ney": "v"}),
    ],
)
def test_anything_can_be_logged(routed: Stream, log: Callable[[stdlib_logging.Logger], None]) -> None:
    """A careless record raises nothing, prints nothing elsewhere, and leaves one valid line of its logger."""
    root = stdlib_logging.getLogger()
    # The handlers of pytest raise what they cannot format.
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, RecordHandler)]
    log(stdlib_logging.getLogger("shop"))
    data = routed.take()
    assert data.count(b"\n") == 1
    assert len(data) <= 4_000
    json.loads(data, parse_constant=pytest.fail)
    assert json.loads(data)["logger"] == "shop"


def test_a_structure_that_holds_itself_ends(routed: Stream) -> None:
    """A cycle in a logged value is cut."""
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    structlog.get_logger("shop").info("x", value=cycle)
    assert "…" in json.dumps(routed.one(), ensure_ascii=False)


def test_a_root_logger_with_handlers_stays_its_owners(make: Callable[..., Stream]) -> None:
    """A service that configured its logging keeps it; our access records come besides."""
    root = stdlib_logging.getLogger()
    own = stdlib_logging.NullHandler()
    root.addHandler(own)
    before = (list(root.handlers), root.level)
    try:
        stream = make(log_format=None)
        stream.item.configure()
        assert (list(root.handlers), root.level) == before
        stdlib_logging.getLogger("shop").error("for the owner's handlers")
        stream.item.finish(served())
        assert [record["message"] for record in stream.records()] == ["request"]
    finally:
        root.removeHandler(own)


@pytest.mark.parametrize(("env", "told"), [("production", 1), ("development", 0), ("test", 0)])
def test_who_keeps_their_root_logger_learns_of_the_setting(
    make: Callable[..., Stream], env: str, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In production one record names the setting that brings all records into one form."""
    stream = make(log_format=None, env=env)
    with caplog.at_level("INFO"):
        asyncio.run(stream.item.start())
    stream.item.restore()
    assert sum("ROADWORTHY_LOG_FORMAT" in record.message for record in caplog.records) == told


@pytest.mark.parametrize(
    "plain",
    [
        lambda: stdlib_logging.StreamHandler(sys.stderr),
        RichHandler,
        lambda: RichHandler(console=Console(stderr=True)),
    ],
    ids=["plain", "rich", "rich on stderr"],
)
def test_handlers_other_than_the_standard_streams_stay(
    make: Callable[..., Stream], tmp_path: Path, plain: Any
) -> None:
    """When we take over, files and error trackers keep getting records, and everything can be undone."""
    structlog.reset_defaults()
    root = stdlib_logging.getLogger()
    file = stdlib_logging.FileHandler(tmp_path / "own.log")
    plain = plain()
    root.addHandler(file)
    root.addHandler(plain)
    level = root.level
    try:
        stream = make()
        stream.item.configure()
        assert file in root.handlers
        assert plain not in root.handlers
        stream.item.restore()
        assert file in root.handlers
        assert plain in root.handlers
        assert root.level == level
        assert not structlog.is_configured()
    finally:
        root.removeHandler(file)
        root.removeHandler(plain)
        file.close()


def test_configuring_twice_writes_once(routed: Stream) -> None:
    """Configuring again, as after a server's own set-up, adds no second record."""
    routed.item.configure()
    asyncio.run(routed.item.start())
    stdlib_logging.getLogger("shop").info("once")
    assert routed.one()["message"] == "once"


_OF_SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "hypercorn.error", "_granian", "granian.access")


def test_records_of_servers_are_routed_and_their_access_lines_are_not(make: Callable[..., Stream]) -> None:
    """The servers' own records come out in our form, without query strings; their access lines are silent."""
    for name in _OF_SERVERS:
        logger = stdlib_logging.getLogger(name)
        logger.addHandler(stdlib_logging.StreamHandler(sys.stderr))
        logger.propagate = False
    stream = make()
    stream.item.configure()
    try:
        stdlib_logging.getLogger("uvicorn.access").info("GET / 200")
        stdlib_logging.getLogger("granian.access").info("GET / 200")
        stdlib_logging.getLogger("uvicorn.error").info(
            '%s - "WebSocket %s" [accepted]', "x", "/ws?ticket=canary"
        )
        stdlib_logging.getLogger("_granian.workers").info("started")
        assert not stdlib_logging.getLogger("uvicorn.access").hasHandlers()
        records = stream.records()
        assert [record["logger"] for record in records] == ["uvicorn.error", "_granian.workers"]
        assert "canary" not in json.dumps(records)
    finally:
        stream.item.restore()
        for name in _OF_SERVERS:
            logger = stdlib_logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True


def test_a_server_that_sets_up_its_logging_late_is_rerouted(routed: Stream) -> None:
    """Handlers that a server adds to its logger after the start (hypercorn does) write no second line."""
    logger = stdlib_logging.getLogger("hypercorn.error")
    late = io.StringIO()
    with contextlib.redirect_stderr(late):
        logger.addHandler(stdlib_logging.StreamHandler(sys.stderr))
        logger.warning("running")
    assert late.getvalue() == ""
    assert routed.one()["message"] == "running"
    assert logger.handlers == []


def test_a_repeat_of_our_own_record_is_dropped(routed: Stream) -> None:
    """What servers say of a response we aborted, and frameworks of a failure we record, is dropped."""
    for name in ("uvicorn.error", "hypercorn.error", "_granian"):
        stdlib_logging.getLogger(name).error("Exception in ASGI application", exc_info=ResponseAborted())
        stdlib_logging.getLogger(name).error("Exception in ASGI application", exc_info=ValueError("another"))
    stdlib_logging.getLogger("django.request").error(
        "Internal Server Error", extra={"roadworthy_recorded": True}
    )
    records = routed.records()
    assert len(records) == 3
    assert {record["exception"]["type"] for record in records} == {"ValueError"}


_PLAIN_SERVICE = """
import logging, threading, time, warnings
import structlog
from roadworthy.layer.logging import configure
from roadworthy.settings import Settings

configure(Settings(_env_file=None))
logging.getLogger(__name__).info("x")
structlog.get_logger().info("x", key=1)
warnings.warn("old", stacklevel=1)
def fail():
    raise ValueError("in a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
logging.getLogger("uvicorn.error").critical("last")
"""


def test_a_whole_process_writes_only_records() -> None:
    """Loggers, structlog, warnings and failed threads of a process all come out as JSON, none elsewhere."""
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN_SERVICE], capture_output=True, timeout=DEADLINE, check=True
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == b""
    assert [record["logger"] for record in records] == [
        "__main__", "__main__", "py.warnings", "threading", "uvicorn.error",
    ]  # fmt: skip
    assert records[1]["key"] == 1
    assert records[3]["exception"]["stack"].endswith("ValueError: in a thread")
