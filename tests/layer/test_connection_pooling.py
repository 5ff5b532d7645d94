"""Pools open and close in order, and an exhausted one is 503 in time."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as SqlAlchemyTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from roadworthy.errors import UnavailableError
from roadworthy.layer.connection_pooling import ConnectionPooling, is_pool_timeout
from roadworthy.layer.exchange import Reply
from roadworthy.layer.health_check import HealthCheck
from roadworthy.layer.metrics import Metrics
from roadworthy.layer.resources import PoolStats, Resource, SqlAlchemyPool, WithStats
from roadworthy.settings import Settings
from tests.patience import DEADLINE

from .conftest import make_exchange

pytestmark = pytest.mark.anyio


def settings(**values: Any) -> Settings:
    """Make settings without a file."""
    return Settings(_env_file=None, **{"pool_timeout": 0.2, **values})


def engine_of(path: Path, **options: Any) -> AsyncEngine:
    """Make an engine on a SQLite file with a pool of one connection."""
    values = {"pool_size": 1, "max_overflow": 0, "poolclass": AsyncAdaptedQueuePool, **options}
    return create_async_engine(f"sqlite+aiosqlite:///{path}", **values)


@pytest.fixture
async def engine(tmp_path: Path, _threads_ended: None) -> AsyncIterator[AsyncEngine]:
    """Give an engine whose pool has one connection, and close it."""
    made = engine_of(tmp_path / "data.db")
    yield made
    await made.dispose()


@pytest.fixture(autouse=True)
async def _threads_ended() -> AsyncIterator[None]:
    """Keep the loop open until aiosqlite's threads have ended.

    After a failed connect it lets its thread end without waiting for it; one that ends after the loop was
    closed raises, in whatever test runs by then.
    """
    yield
    deadline = time.monotonic() + DEADLINE
    while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a connection was left open"
        await asyncio.sleep(0.005)


class Recorded:
    """A resource that tells what happened to it."""

    def __init__(self, name: str, told: list[str], fails: str = "") -> None:
        self.name = name
        self.told = told
        self.fails = fails

    async def start(self) -> None:
        self._do("start")

    async def ping(self) -> None:
        self._do("ping")

    async def stop(self) -> None:
        self._do("stop")
        if self.fails == "hang":
            await asyncio.Event().wait()

    def _do(self, what: str) -> None:
        self.told.append(f"{what} {self.name}")
        if what == self.fails:
            raise OSError("postgres://user:hunter2@db/")


class TestOrder:
    async def test_opens_in_order_and_closes_in_reverse(self) -> None:
        """What depends on another opens after it and closes before it."""
        told: list[str] = []
        pooling = ConnectionPooling(settings(), [Recorded("a", told), Recorded("b", told)])
        await pooling.start()
        await pooling.stop()
        await pooling.stop()
        assert told == ["start a", "start b", "stop b", "stop a"]

    async def test_a_failed_start_closes_what_is_open(self) -> None:
        """The error names the resource and never its address, and nothing stays open."""
        told: list[str] = []
        resources = [Recorded("a", told), Recorded("b", told, "start"), Recorded("c", told)]
        pooling = ConnectionPooling(settings(), resources)
        with pytest.raises(RuntimeError, match="'b' did not open: OSError") as caught:
            await pooling.start()
        assert told == ["start a", "start b", "stop a"]
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("fails", ["stop", "hang"])
    async def test_one_that_does_not_close_keeps_no_other_open(
        self, fails: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Closing goes on after a failure or a hang, with a record that leaks nothing."""
        told: list[str] = []
        pooling = ConnectionPooling(settings(), [Recorded("a", told), Recorded("b", told, fails)])
        await pooling.start()
        await pooling.stop()
        assert told[-1] == "stop a"
        assert "resource b did not close" in caplog.text
        assert "hunter2" not in caplog.text

    async def test_refuses_two_of_one_name(self) -> None:
        """Names tell resources apart in records, metrics and health."""
        with pytest.raises(ValueError, match="Give names to all"):
            ConnectionPooling(settings(), [Recorded("a", []), Recorded("a", [])])

    async def test_readiness_pings_through_the_resource_itself(self) -> None:
        """Each resource is a critical health check (codingjoe/django-health-check#755)."""
        told: list[str] = []
        health = HealthCheck(settings(health_interval=0.05))
        await ConnectionPooling(settings(), [Recorded("a", told, "ping")]).start(health)
        await health.start()
        health.serving()
        reply = health.admit(make_exchange("GET", "/readyz"))
        assert isinstance(reply, Reply)
        assert reply.status == 503
        assert told[:2] == ["start a", "ping a"]
        await health.stop()

    async def test_an_exhausted_pool_is_not_ready_and_says_which(self, engine: AsyncEngine) -> None:
        """The check goes the way of requests, bounded in time, and is named (ansible/jewel#111)."""
        health = HealthCheck(settings(health_interval=0.05, health_timeout=0.1))
        await ConnectionPooling(settings(), [SqlAlchemyPool(engine, "orders")]).start(health)
        health.serving()
        async with engine.connect():
            began = time.monotonic()
            await health.start()
            assert time.monotonic() - began < 2
            assert not health.ready()
            assert health.details()["checks"]["orders"]["error"] == "TimeoutError"
        async with asyncio.timeout(DEADLINE):
            while not health.ready():
                await asyncio.sleep(0.005)
        await health.stop()


class TestBounded:
    async def test_an_exhausted_pool_is_503_in_time(self, engine: AsyncEngine) -> None:
        """Who finds no connection in time is told to come back (full-stack-fastapi-template#104)."""
        pooling = ConnectionPooling(settings(), [SqlAlchemyPool(engine)])
        async with pooling.bounded(engine.connect(), "database") as first:
            assert (await first.execute(text("SELECT 1"))).scalar() == 1
            began = time.monotonic()
            with pytest.raises(UnavailableError) as caught:
                async with pooling.bounded(engine.connect(), "database"):
                    pytest.fail("there is no second connection")
            assert 0.1 < time.monotonic() - began < 2
        assert caught.value.status == 503
        assert caught.value.headers["Retry-After"] == "1"
        async with pooling.bounded(engine.connect(), "database") as again:
            assert (await again.execute(text("SELECT 1"))).scalar() == 1

    async def test_the_pool_s_own_timeout_is_503_too(self, tmp_path: Path) -> None:
        """SQLAlchemy's own limit, when it comes first, gives the same error."""
        engine = engine_of(tmp_path / "data.db", pool_timeout=0.05)
        pooling = ConnectionPooling(settings(pool_timeout=5), [SqlAlchemyPool(engine)])
        async with engine.connect():
            with pytest.raises(UnavailableError) as caught:
                async with pooling.bounded(engine.connect(), "database"):
                    pytest.fail("there is no second connection")
        assert isinstance(caught.value.__cause__, SqlAlchemyTimeoutError)
        await engine.dispose()

    async def test_errors_of_the_work_pass_and_the_connection_returns(self, engine: AsyncEngine) -> None:
        """Only the wait is translated: a timeout inside the work stays one, and nothing leaks."""
        pool = SqlAlchemyPool(engine)
        pooling = ConnectionPooling(settings(), [pool])
        for error in (TimeoutError("mine"), KeyError("mine"), asyncio.CancelledError()):
            with pytest.raises(type(error)):
                async with pooling.bounded(engine.connect(), "database"):
                    raise error
            stats = pool.stats()
            assert stats is not None
            assert stats.in_use == 0

    async def test_the_time_it_is_held_is_not_bounded(self, engine: AsyncEngine) -> None:
        """The limit is for the wait; long work has the request's deadline."""
        pooling = ConnectionPooling(settings(pool_timeout=0.02), [SqlAlchemyPool(engine)])
        async with pooling.bounded(engine.connect(), "database", timeout=5) as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        async with pooling.bounded(_slow(), "database"):
            await asyncio.wait((asyncio.ensure_future(asyncio.Event().wait()),), timeout=0.1)

    async def test_an_error_of_the_database_stays_what_it_is(self, tmp_path: Path) -> None:
        """A database that cannot be reached is not an exhausted pool."""
        engine = engine_of(tmp_path / "no" / "such" / "folder.db")
        pooling = ConnectionPooling(settings(), [SqlAlchemyPool(engine)])
        with pytest.raises(Exception, match="unable to open") as caught:
            async with pooling.bounded(engine.connect(), "database"):
                pytest.fail("there is no database")
        assert not isinstance(caught.value, UnavailableError)
        await engine.dispose()


@contextlib.asynccontextmanager
async def _slow() -> AsyncGenerator[None, None]:
    yield None


class TestMetrics:
    async def test_wait_and_use_are_in_the_scrape(self, engine: AsyncEngine) -> None:
        """Operations see how long tasks wait, how often in vain, and how many connections work."""
        metrics = Metrics(settings(), registry=CollectorRegistry())
        pooling = ConnectionPooling(settings(), [SqlAlchemyPool(engine), Recorded("queue", [])])
        pooling.report_to(metrics.watch)
        async with pooling.bounded(engine.connect(), "database"):
            with contextlib.suppress(UnavailableError):
                async with pooling.bounded(engine.connect(), "database"):
                    pass
            page = metrics.exposition().body.decode()
        for line in (
            'connection_pool_acquired_total{pool="database"} 1.0',
            'connection_pool_timeouts_total{pool="database"} 1.0',
            'connection_pool_connections{pool="database"} 1.0',
            'connection_pool_connections_in_use{pool="database"} 1.0',
            'connection_pool_connections_limit{pool="database"} 1.0',
            'connection_pool_waiting{pool="queue"} 0.0',
        ):
            assert line in page
        waited = next(
            line for line in page.splitlines() if line.startswith("connection_pool_wait_seconds_total")
        )
        assert 0.1 < float(waited.split()[-1]) < 2


class TestRecognition:
    @pytest.mark.parametrize(
        ("module", "name", "expected"),
        [
            ("sqlalchemy.exc", "TimeoutError", True),
            ("psycopg_pool.errors", "PoolTimeout", True),
            ("asyncpg.exceptions", "TooManyConnectionsError", True),
            ("redis.exceptions", "MaxConnectionsError", True),
            ("redis.exceptions", "TimeoutError", False),
            ("mine", "PoolTimeout", False),
        ],
    )
    async def test_by_name_without_the_driver(self, module: str, name: str, expected: bool) -> None:
        """Timeouts of pools are known by their class, its children too; others are not."""
        parent = type(name, (Exception,), {"__module__": module})
        assert is_pool_timeout(parent()) is expected
        assert is_pool_timeout(type("Child", (parent,), {})()) is expected

    async def test_a_built_in_timeout_only_from_asyncpg_s_pool(self) -> None:
        """asyncpg raises the built-in class, so the place that raised it decides."""
        asyncpg = pytest.importorskip("asyncpg")

        async def never(*arguments: Any, **options: Any) -> Any:
            await asyncio.Event().wait()

        assert not is_pool_timeout(TimeoutError())
        pool = asyncpg.create_pool(min_size=0, max_size=1, connect=never)
        await pool
        with pytest.raises(TimeoutError) as caught:
            await pool.acquire(timeout=0.05)
        assert is_pool_timeout(caught.value)
        pool.terminate()


class TestSqlAlchemyPool:
    async def test_is_a_resource_with_stats(self, engine: AsyncEngine) -> None:
        """It pings through the engine's own pool and tells its numbers."""
        pool = SqlAlchemyPool(engine)
        assert isinstance(pool, Resource)
        assert isinstance(pool, WithStats)
        await pool.start()
        await pool.ping()
        assert pool.stats() == PoolStats(size=1, in_use=0, waiting=None, max=1)
        async with engine.connect():
            assert pool.stats() == PoolStats(size=1, in_use=1, waiting=None, max=1)
        await pool.stop()
        assert pool.stats() == PoolStats(size=0, in_use=0, waiting=None, max=1)

    async def test_a_ping_fails_with_the_database(self, tmp_path: Path) -> None:
        """What the database says comes out of the ping."""
        engine = engine_of(tmp_path / "no" / "such" / "folder.db")
        with pytest.raises(Exception, match="unable to open"):
            await SqlAlchemyPool(engine).ping()
        await engine.dispose()

    async def test_a_dead_connection_is_replaced_once(
        self, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A healthy database is not reported as down for one dead connection (django-health-check#755)."""
        from sqlalchemy.exc import OperationalError

        pool = SqlAlchemyPool(engine)
        await pool.ping()
        real, asked = AsyncConnection.execute, 0

        async def execute(connection: AsyncConnection, *arguments: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                await connection.invalidate()
                raise OperationalError("SELECT 1", None, OSError("reset"), connection_invalidated=True)
            return await real(connection, *arguments, **options)

        monkeypatch.setattr(AsyncConnection, "execute", execute)
        await pool.ping()
        assert asked == 2

    async def test_a_pool_without_a_queue_has_no_stats(self) -> None:
        """SQLite in memory has a single connection that nobody waits for."""
        engine = create_async_engine("sqlite+aiosqlite://")
        assert SqlAlchemyPool(engine).stats() is None
        await engine.dispose()
