"""Probes are answered at once, from checks that run in the background."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable
from typing import Any

import pytest

from roadworthy.errors import MethodNotAllowedError
from roadworthy.layer.exchange import Reply
from roadworthy.layer.health_check import HealthCheck
from roadworthy.settings import Settings
from tests.patience import eventually

from .conftest import MakeExchange, make_exchange

pytestmark = pytest.mark.anyio


def health(**values: Any) -> HealthCheck:
    """Make the item with short times."""
    return HealthCheck(Settings(_env_file=None, **{"health_interval": 0.05, "health_timeout": 0.2, **values}))


def status(item: HealthCheck, path: str, method: str = "GET") -> int:
    """Probe the way a request does."""
    reply = item.admit(make_exchange(method, path))
    assert isinstance(reply, Reply)
    return reply.status


class Dependency:
    """Something that can be up, down or hanging."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.hangs = False
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


class TestProbes:
    async def test_other_paths_pass(self, exchange: MakeExchange) -> None:
        """Whatever is not one of the three probes is left alone."""
        for path in ("/", "/livez/", "/LIVEZ", "/users/livez", "/healthz"):
            made = exchange("GET", path)
            assert health().admit(made) is None
            assert made.route is None

    async def test_the_app_may_keep_its_own(self, exchange: MakeExchange) -> None:
        """A path that the app answers itself is not taken from it."""
        item = HealthCheck(Settings(_env_file=None), off=frozenset(("/livez",)))
        assert item.admit(exchange("GET", "/livez")) is None
        assert status(item, "/readyz") == 503

    async def test_answers_are_small_and_not_stored(self, exchange: MakeExchange) -> None:
        """A probe's answer is a word in JSON that no cache keeps; HEAD has the same fields without it."""
        item = health()
        reply = item.admit(exchange("GET", "/livez"))
        head = item.admit(exchange("HEAD", "/livez"))
        assert isinstance(reply, Reply)
        assert isinstance(head, Reply)
        assert json.loads(reply.body) == {"status": "ok"}
        assert dict(reply.headers) == {
            b"content-type": b"application/json",
            b"content-length": b"15",
            b"cache-control": b"no-store",
        }
        assert (head.headers, head.body) == (reply.headers, b"")
        refused = item.admit(exchange("GET", "/readyz"))
        assert isinstance(refused, Reply)
        assert (refused.status, json.loads(refused.body)) == (503, {"status": "unavailable"})

    async def test_other_methods_are_refused_with_allow(self, exchange: MakeExchange) -> None:
        """Probes are read only."""
        refused = health().admit(exchange("POST", "/readyz"))
        assert isinstance(refused, MethodNotAllowedError)
        assert refused.headers == {"Allow": "GET, HEAD"}

    async def test_a_probe_has_a_route_of_its_own(self, exchange: MakeExchange) -> None:
        """Metrics and records can tell probes from users' requests."""
        made = exchange("GET", "/livez")
        health().admit(made)
        assert made.route == "/livez"


class TestStates:
    async def test_from_starting_over_serving_to_draining(self) -> None:
        """Ready is false before serving and from the first sign of shutdown on (nestjs/terminus#2298)."""
        item = health()
        assert [status(item, path) for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]
        await item.start()
        assert status(item, "/readyz") == 503
        item.follow("serving")
        assert [status(item, path) for path in ("/livez", "/readyz", "/startupz")] == [200, 200, 200]
        item.follow("draining")
        assert [status(item, path) for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 200]
        item.follow("closing")
        item.serving()
        assert status(item, "/readyz") == 503
        assert item.details()["status"] == "draining"
        await item.stop()

    async def test_the_first_results_come_before_ready(self) -> None:
        """Start has run every check once, so the first ready answer is true."""
        item, database = health(), Dependency()
        database.error = ConnectionRefusedError()
        item.add("database", database.check)
        item.serving()
        assert status(item, "/readyz") == 503
        await item.start()
        assert database.asked == 1
        assert (status(item, "/readyz"), status(item, "/startupz"), status(item, "/livez")) == (503, 200, 200)
        database.error = None
        await eventually(lambda: status(item, "/readyz") == 200)
        await item.stop()


class TestChecks:
    async def test_checks_run_in_parallel_with_deadlines(self) -> None:
        """Ten hanging dependencies take one timeout, not ten (spring-boot#43449)."""
        item = health(health_timeout=0.3)
        for number in range(10):
            hanging = Dependency()
            hanging.hangs = True
            item.add(f"d{number}", hanging.check)
        began = time.monotonic()
        await item.start()
        assert time.monotonic() - began < 1.5
        checks = item.details()["checks"]
        assert {one["error"] for one in checks.values()} == {"TimeoutError"}
        await item.stop()

    async def test_a_critical_failure_turns_ready_and_recovery_turns_it_back(self) -> None:
        """Readiness is computed from the results and nothing else (nestjs/terminus#2460)."""
        item, database = health(), Dependency()
        item.add("database", database.check)
        await item.start()
        item.serving()
        assert status(item, "/readyz") == 200
        database.error = OSError("down")
        await eventually(lambda: status(item, "/readyz") == 503)
        assert status(item, "/livez") == 200
        database.error = None
        await eventually(lambda: status(item, "/readyz") == 200)
        await item.stop()

    async def test_an_optional_failure_only_shows_in_the_details(self) -> None:
        """A service that can do without stays ready and is degraded."""
        item, cache = health(), Dependency()
        cache.error = OSError("down")
        item.add("cache", cache.check, critical=False)
        await item.start()
        item.serving()
        assert status(item, "/readyz") == 200
        assert item.details()["status"] == "degraded"
        await item.stop()

    async def test_recovery_is_seen_soon_after_a_long_interval(self) -> None:
        """A failed check is tried again within a second, however long its interval."""
        item, database = health(), Dependency()
        database.error = OSError("down")
        item.add("database", database.check, interval=3600.0)
        await item.start()
        item.serving()
        database.error = None
        await eventually(lambda: status(item, "/readyz") == 200)
        await item.stop()

    async def test_several_failures_in_a_row_where_asked_for(self) -> None:
        """With failures=3 one or two bad results do not turn the service away."""
        item, database = health(), Dependency()
        item.add("database", database.check, failures=3)
        await item.start()
        item.serving()
        seen: list[tuple[int, int]] = []
        database.error, begun = OSError("down"), database.asked

        def turned() -> bool:
            seen.append((database.asked - begun, status(item, "/readyz")))
            return seen[-1][1] == 503

        await eventually(turned)
        assert seen[-1][0] >= 3
        await item.stop()

    @pytest.mark.parametrize(
        "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), ValueError()]
    )
    async def test_whatever_a_check_raises_the_watch_goes_on(self, error: BaseException) -> None:
        """Even what would end a process is only a failed check."""
        item, database = health(), Dependency()
        database.error = error
        item.add("database", database.check)
        await item.start()
        item.serving()
        assert item.details()["checks"]["database"]["error"] == type(error).__name__
        database.error = None
        await eventually(lambda: status(item, "/readyz") == 200)
        await item.stop()

    async def test_a_check_that_is_not_async_fails(self) -> None:
        """A plain function is a mistake that shows, and no pass."""

        def plain() -> Any:
            return None

        item = health()
        item.add("plain", plain)
        await item.start()
        assert item.details()["checks"]["plain"]["error"] == "TypeError"
        await item.stop()

    async def test_a_hanging_check_recovers(self) -> None:
        """A dependency that hung and answers again is ready again."""
        item, database = health(), Dependency()
        database.hangs = True
        item.add("database", database.check)
        await item.start()
        item.serving()
        assert status(item, "/readyz") == 503
        database.hangs = False
        seen: set[str | None] = set()

        def recovered() -> bool:
            seen.add(item.details()["checks"]["database"]["error"])
            return status(item, "/readyz") == 200

        await eventually(recovered)
        assert seen <= {"TimeoutError", None}, "the end of the hung run was taken for a result"
        await item.stop()

    async def test_a_check_that_ignores_its_end_is_not_started_again(self) -> None:
        """A check that swallows its cancellation holds up nobody, not even the shutdown."""
        release, begun = asyncio.Event(), 0

        async def stubborn() -> None:
            nonlocal begun
            begun += 1
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

        item, other = health(), Dependency()
        item.add("stubborn", stubborn)
        item.add("other", other.check)
        await item.start()
        item.serving()
        await eventually(lambda: other.asked >= 10)
        assert begun == 1
        assert status(item, "/readyz") == 503
        stop = asyncio.ensure_future(item.stop())
        await asyncio.wait((stop,), timeout=3)
        assert stop.done()
        release.set()

    async def test_an_old_result_counts_as_a_failure(self) -> None:
        """A result that nothing renews stops being one after three intervals or timeouts."""
        item, database = health(health_interval=0.02, health_timeout=0.05), Dependency()
        item.add("database", database.check)
        await item.start()
        item.serving()
        assert status(item, "/readyz") == 200
        await item.stop()
        await eventually(lambda: status(item, "/readyz") == 503)
        assert item.details()["checks"]["database"]["status"] == "stale"
        assert item.details()["status"] == "unavailable"

    async def test_a_check_may_be_added_while_serving(self) -> None:
        """A later check counts from its first result on, and until then the service is not ready."""
        item, late = health(), Dependency()
        await item.start()
        item.serving()
        item.add("late", late.check)
        assert status(item, "/readyz") == 503
        await eventually(lambda: status(item, "/readyz") == 200)
        await item.stop()

    @pytest.mark.parametrize("wrong", [{"timeout": 0}, {"interval": 0}, {"failures": 0}])
    async def test_refuses_wrong_numbers(self, wrong: dict[str, Any]) -> None:
        """A check that could never run, or never fail, is refused."""
        with pytest.raises(ValueError, match="database"):
            health().add("database", Dependency().check, **wrong)

    async def test_refuses_a_taken_name(self) -> None:
        """Two checks of one name could not be told apart."""
        item = health()
        item.add("database", Dependency().check)
        with pytest.raises(ValueError, match="another name"):
            item.add("database", Dependency().check)


class TestLeaks:
    async def test_one_record_per_turn_without_the_error_s_text(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A flip is told once, and an address with a password stands in no record, answer or detail."""
        item, database = health(), Dependency()
        database.error = OSError("postgres://user:hunter2@db/")
        item.add("database", database.check)
        with caplog.at_level(logging.INFO, "roadworthy.health"):
            await item.start()
            item.serving()
            await eventually(lambda: database.asked >= 4)
            reply = item.admit(make_exchange("GET", "/readyz"))
            database.error = None
            await eventually(lambda: status(item, "/readyz") == 200)
            asked = database.asked
            await eventually(lambda: database.asked >= asked + 3)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert isinstance(reply, Reply)
        assert "hunter2" not in caplog.text + reply.body.decode() + json.dumps(item.details())
        assert b"database" not in reply.body
        await item.stop()

    async def test_details_tell_operations_everything(self) -> None:
        """Each check has its status, its time, its age and a short cause."""
        item = health()

        async def fails() -> Awaitable[None]:
            raise ConnectionResetError

        item.add("queue", fails, critical=False)  # type: ignore[arg-type]
        item.add("new", Dependency().check)
        assert item.details()["checks"]["new"] == {
            "status": "pending", "critical": True, "seconds": 0.0, "age_seconds": None, "error": None,
        }  # fmt: skip
        await item.start()
        queue = item.details()["checks"]["queue"]
        assert (queue["status"], queue["critical"], queue["error"]) == (
            "fail",
            False,
            "ConnectionResetError: connection lost",
        )
        assert 0 <= queue["seconds"] < 1
        assert 0 <= queue["age_seconds"] < 1
        await item.stop()
