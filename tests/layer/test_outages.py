"""Which exceptions mean that the other side is away, raised by the drivers themselves where that can be."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from roadworthy import roadworthy
from roadworthy.layer.outages import cause_of, outage_of
from roadworthy.types import Receive, Scope, Send

from ..asgi_driver import ask
from ..patience import eventually
from ..redis_server import RedisServer
from ..served import served

pytestmark = pytest.mark.anyio


@pytest.fixture
def closed() -> int:
    """Give a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _raised(work: Callable[[], Awaitable[object]]) -> BaseException:
    try:
        await work()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


async def _statement(url: str, statement: str, **options: Any) -> None:
    engine = create_async_engine(url, **options)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def _redis(port: int) -> None:
    async with redis.asyncio.Redis(port=port) as client:
        await client.ping()


async def _httpx(port: int) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{port}/")


REFUSED: dict[str, Callable[[int], Awaitable[object]]] = {
    "socket": lambda port: asyncio.open_connection("127.0.0.1", port),
    "httpx": _httpx,
    "redis": _redis,
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_nobody_listens(kind: str, closed: int) -> None:
    """A connection that is refused is an outage, and operations read why."""
    error = await _raised(lambda: REFUSED[kind](closed))
    assert outage_of(error) is not None
    assert cause_of(error).startswith(f"{type(error).__name__}: connection refused")
    assert str(closed) not in cause_of(error)


async def test_a_statement_that_must_wait_for_another_writer(tmp_path: Path) -> None:
    """SQLITE_BUSY is an outage, through the driver and through SQLAlchemy; nothing was begun."""
    file = tmp_path / "a.db"
    with sqlite3.connect(file) as writer:
        writer.execute("CREATE TABLE a (b)")
        writer.commit()
        writer.execute("BEGIN IMMEDIATE")

        async def plain() -> None:
            with sqlite3.connect(file, timeout=0) as other:
                other.execute("INSERT INTO a VALUES (1)")

        url, quick = f"sqlite+aiosqlite:///{file}", {"timeout": 0}
        errors = [
            await _raised(plain),
            await _raised(lambda: _statement(url, "INSERT INTO a VALUES (1)", connect_args=quick)),
        ]
    for error in errors:
        found = outage_of(error)
        assert found is not None
        assert found.untouched


async def test_the_service_s_own_mistakes_are_none(tmp_path: Path) -> None:
    """A table that is missing, a statement that is wrong, a password that is wrong: 500, not "try again"."""
    url = f"sqlite+aiosqlite:///{tmp_path}/a.db"
    assert outage_of(await _raised(lambda: _statement(url, "SELECT * FROM missing"))) is None
    assert outage_of(await _raised(lambda: _statement(url, "SELEC 1"))) is None
    with RedisServer("--requirepass", "secret") as server:

        async def wrong() -> None:
            async with redis.asyncio.Redis(port=server.port, password="other") as client:
                await client.ping()

        error = await _raised(wrong)
    assert (type(error).__name__, outage_of(error)) == ("AuthenticationError", None)
    assert outage_of(ValueError("connection refused")) is None


async def test_only_what_an_error_was_raised_from_counts(closed: int) -> None:
    """A mistake in the handling of an outage is a mistake; a wrapper that names its cause is the outage."""

    async def slip() -> None:
        try:
            await asyncio.open_connection("127.0.0.1", closed)
        except OSError:
            raise KeyError("slip")  # noqa: B904 - the case

    async def wrapped() -> None:
        try:
            await asyncio.open_connection("127.0.0.1", closed)
        except OSError as error:
            raise RuntimeError("the stock is away") from error

    assert outage_of(await _raised(slip)) is None
    assert outage_of(await _raised(wrapped)) is not None


class _WithState(Exception):
    """What drivers of PostgreSQL raise."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "outage", "untouched"),
    [
        ("08001", True, True),
        ("08006", True, False),  # connection_failure, within a statement
        ("08P01", True, False),
        ("53300", True, True),
        ("57P01", True, False),
        ("57P02", True, False),
        ("57P03", True, True),
        ("28P01", False, False),  # invalid_password
        ("42P01", False, False),  # undefined_table
        ("40001", False, False),  # serialization_failure
        ("23505", False, False),  # unique_violation
        ("57014", False, False),  # query_canceled: its statement_timeout, not an outage
    ],
)
def test_states(state: str, outage: bool, untouched: bool) -> None:
    """Each SQLSTATE of PostgreSQL's appendix A that speaks of the connection, and none of the statement."""
    found = outage_of(_WithState(state))
    assert (found is not None, found is not None and found.untouched) == (outage, untouched)
    assert state in cause_of(_WithState(state)) or outage


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("error", "status", "when_unsafe"),
    [
        (ConnectionRefusedError(), 503, None),
        (sqlalchemy.exc.OperationalError("", {}, _WithState("57P03")), 503, "1"),
        (sqlalchemy.exc.OperationalError("", {}, _WithState("08006")), 503, None),
        (sqlalchemy.exc.OperationalError("", {}, _WithState("42P01")), 500, None),
        (ExceptionGroup("", [ConnectionRefusedError(), ConnectionResetError()]), 503, None),
        (ExceptionGroup("", [ConnectionRefusedError(), KeyError()]), 500, None),
    ],
    ids=["refused", "starting", "lost", "no table", "both away", "one slip"],
)
async def test_a_request_is_503_and_repeated_only_where_that_is_harmless(
    method: str, error: Exception, status: int, when_unsafe: str | None
) -> None:
    """`Retry-After` for methods that change nothing, and where the database has taken nothing yet."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    answer = await ask(roadworthy(app), method)
    assert answer.status == status
    safe = "1" if status == 503 else None
    assert answer.headers.get("retry-after") == (safe if method in ("GET", "HEAD") else when_unsafe)
    assert b"depends on" in answer.body or status == 500 or method == "HEAD"


async def test_operations_see_a_short_cause_and_a_gauge_for_each_check() -> None:
    """Readiness and checks are numbers; the cause names no address."""
    layer, down = roadworthy(_nothing, health_interval=0.02), True

    async def check() -> None:
        if down:
            raise ConnectionRefusedError("connect to postgres://u:secret@db")

    def gauges() -> list[str]:
        page = layer.pass_.metrics.exposition().body.decode()
        return [line for line in page.splitlines() if line.startswith("health_")]

    layer.health.add("stock", check)
    async with served(layer):
        details = layer.health.details()["checks"]["stock"]
        assert (details["status"], details["error"]) == ("fail", "ConnectionRefusedError: connection refused")
        assert gauges() == ['health_check_passing{check="stock"} 0.0', "health_ready 0.0"]
        down = False
        await eventually(lambda: layer.health.details()["checks"]["stock"]["status"] == "pass")
        assert gauges() == ['health_check_passing{check="stock"} 1.0', "health_ready 1.0"]


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None: ...
