"""Health: is the process alive, has it started, may it get traffic.

The words and the meaning of the three are those of Kubernetes' probes. Liveness never looks at a dependency:
a restart does not mend a database. Readiness looks at the last results of checks that run in the background,
so a probe costs a dictionary lookup and is answered at once even when a dependency hangs (spring-boot#43449).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ..errors import APIError, MethodNotAllowedError
from ..settings import Settings
from .exchange import Exchange, Reply
from .outages import cause_of
from .resources import Watch

__all__ = ("Check", "HealthCheck")

Check = Callable[[], Awaitable[None]]
"""Returns when the dependency works and raises, whatever it likes, when it does not."""

_LIVE, _READY, _STARTED = _PATHS = ("/livez", "/readyz", "/startupz")
_METHODS = ("GET", "HEAD")
_RETRY = 1.0
"""Seconds until a failed check is tried again (at most its interval): recovery is seen within 2 s."""
_STALE = 3
"""Intervals after which a result means nothing any more: one may be late and one may be lost."""

_logger = logging.getLogger("roadworthy.health")


def _replies(status: int, word: str) -> dict[str, Reply]:
    body = b'{"status":"%s"}' % word.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return {"GET": Reply(status, headers, body), "HEAD": Reply(status, headers)}


_OK = _replies(200, "ok")
_UNAVAILABLE = _replies(503, "unavailable")


@dataclass(slots=True)
class _Watched:
    """One check and its last result."""

    name: str
    check: Check
    critical: bool
    timeout: float
    interval: float
    failures: int
    in_a_row: int = 0
    passing: bool | None = None
    error: str | None = None
    seconds: float = 0.0
    finished: float = 0.0
    attempt: asyncio.Task[str | None] | None = None

    @property
    def fresh_until(self) -> float:
        return self.finished + _STALE * max(self.interval, self.timeout)


class HealthCheck:
    """Answers ``/livez``, ``/readyz`` and ``/startupz``, and watches what readiness depends on.

    ``/livez`` is 200 as long as the process answers. ``/startupz`` is 200 once it serves, and stays so.
    ``/readyz`` is 200 while it serves, every critical check passes and no critical result is stale (older
    than three intervals, or three timeouts where those are longer). The first sign of shutdown makes it
    503 at once.

    Parameters:
        settings: ``health_interval`` and ``health_timeout``, the defaults of :meth:`add`, in seconds.
        off: of the three paths, those that the app answers itself.
    """

    def __init__(self, settings: Settings, *, off: frozenset[str] = frozenset()) -> None:
        self._interval = settings.health_interval
        self._timeout = settings.health_timeout
        self.paths = frozenset(_PATHS) - off
        self._checks: dict[str, _Watched] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._state = "starting"
        self._begun = False
        self._running = False
        self._ready_until = float("inf")
        self._watch_number: Watch | None = None

    def add(
        self,
        name: str,
        check: Check,
        *,
        critical: bool = True,
        timeout: float | None = None,
        interval: float | None = None,
        failures: int = 1,
    ) -> None:
        """Watch a dependency; before :meth:`start`, or later from within the running event loop.

        Use the app's own pool in ``check``: a connection of its own tests another way than requests take
        (codingjoe/django-health-check#755, ansible/jewel#111).

        Parameters:
            name: shown to operations and in records.
            check: raises when the dependency does not work.
            critical: whether the service is of no use without it. An optional one that fails only shows in
                :meth:`details`.
            timeout: seconds after which it counts as failed, above 0.
            interval: seconds between two runs, above 0; after a failure one second, if that is shorter.
            failures: failures in a row that turn it, at least 1. A single success turns it back.

        Raises:
            ValueError: the name is taken, or a number is out of range.
        """
        watched = _Watched(
            name,
            check,
            critical,
            self._timeout if timeout is None else timeout,
            self._interval if interval is None else interval,
            failures,
        )
        if name in self._checks:
            raise ValueError(f"there is a health check named {name!r} already; give this one another name")
        if watched.timeout <= 0 or watched.interval <= 0 or failures < 1:
            raise ValueError(
                f"health check {name!r} needs a timeout and an interval above 0 and at least 1 failure"
            )
        self._checks[name] = watched
        self._report(watched)
        self._judge()
        if self._running:
            self._loops[name] = asyncio.ensure_future(self._watch(watched))

    def report_to(self, watch: Watch) -> None:
        """Put readiness and every check into the metrics, those that are added later too."""
        self._watch_number = watch
        watch("health_ready", "Workers that are ready.", self.ready, kind="gauge")
        for watched in self._checks.values():
            self._report(watched)

    def _report(self, watched: _Watched) -> None:
        if self._watch_number is not None:
            self._watch_number(
                "health_check_passing",
                "Workers in which the check passed last.",
                lambda: bool(watched.passing),
                kind="gauge",
                labels={"check": watched.name},
            )

    def admit(self, exchange: Exchange) -> Reply | APIError | None:
        """Answer a probe; let everything else pass."""
        path = exchange.route_path
        if path not in self.paths:
            return None
        exchange.route = path
        if exchange.method not in _METHODS:
            return MethodNotAllowedError(headers={"Allow": ", ".join(_METHODS)})
        return self.probe(path, exchange.method)

    def probe(self, path: str, method: str = "GET") -> Reply:
        """Return the answer to ``GET`` or ``HEAD`` of one of the three paths.

        Raises:
            KeyError: another path.
        """
        passing = {_LIVE: self.live, _STARTED: self.started, _READY: self.ready}[path]
        return (_OK if passing() else _UNAVAILABLE)[method]

    def live(self) -> bool:
        """Tell that the process runs its event loop, by answering at all."""
        return True

    def started(self) -> bool:
        """Return whether the service has begun to serve, dependencies or not."""
        return self._begun

    def ready(self) -> bool:
        """Return whether the service may get traffic."""
        return self._state == "serving" and time.monotonic() < self._ready_until

    def details(self) -> dict[str, Any]:
        """Return everything that is known, for operations only.

        ``status`` is ``starting``, ``ready``, ``degraded`` (an optional check fails), ``unavailable`` or
        ``draining``; a check's is ``pending``, ``pass``, ``fail`` or ``stale``, with the duration and the age
        of its last result in seconds and a short cause: the class of its error, and what is known of it.
        """
        now = time.monotonic()
        checks: dict[str, dict[str, Any]] = {}
        for watched in self._checks.values():
            status = "pass" if watched.passing else "fail"
            if watched.passing is None:
                status = "pending"
            elif now >= watched.fresh_until:
                status = "stale"
            checks[watched.name] = {
                "status": status,
                "critical": watched.critical,
                "seconds": round(watched.seconds, 6),
                "age_seconds": round(now - watched.finished, 3) if watched.finished else None,
                "error": watched.error,
            }
        overall = self._state
        if overall == "serving":
            whole = all(one["status"] == "pass" for one in checks.values())
            overall = "unavailable" if not self.ready() else "ready" if whole else "degraded"
        return {"status": overall, "checks": checks}

    def follow(self, state: str) -> None:
        """Take over the state of the process: ``serving``, ``draining`` or ``closing``."""
        if state == "serving":
            self.serving()
        elif state in ("draining", "closing"):
            self.begin_drain()

    def serving(self) -> None:
        """Let readiness depend on the checks from now on; nothing leads back from draining."""
        if self._state == "starting":
            self._begun = True
            self._state = "serving"

    def begin_drain(self) -> None:
        """Turn readiness to 503 for good; liveness stays (nestjs/terminus#2298)."""
        self._state = "draining"

    def begin_again(self) -> None:
        """Go back to the start: the service has ended, and the same process serves it once more."""
        self._state = "starting"
        self._begun = False

    async def start(self) -> None:
        """Run every check once, all at the same time, and keep running them. A failure stops no start."""
        if self._running:
            return
        self._running = True
        await asyncio.gather(*map(self._run, self._checks.values()))
        for watched in self._checks.values():
            if watched.name not in self._loops:
                self._loops[watched.name] = asyncio.ensure_future(self._watch(watched, fresh=True))

    async def stop(self) -> None:
        """Stop running checks."""
        self._running = False
        running: list[asyncio.Task[Any]] = [*self._loops.values()]
        running += [watched.attempt for watched in self._checks.values() if watched.attempt is not None]
        self._loops.clear()
        # Those of an event loop that has ended are done.
        tasks = [task for task in running if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            # A check that holds on to its cancellation does not hold up the shutdown.
            await asyncio.wait(tasks, timeout=_RETRY)

    async def _watch(self, watched: _Watched, *, fresh: bool = False) -> None:
        if not fresh:
            await self._run(watched)
        while True:
            await asyncio.sleep(min(watched.interval, _RETRY) if watched.error else watched.interval)
            await self._run(watched)

    async def _run(self, watched: _Watched) -> None:
        """Run a check once, and never longer than its timeout."""
        begun = time.monotonic()
        if watched.attempt is None or watched.attempt.done():
            watched.attempt = asyncio.ensure_future(_attempt(watched.check))
        attempt = watched.attempt
        await asyncio.wait((attempt,), timeout=watched.timeout)
        if attempt.done():
            watched.attempt = None
            error = "CancelledError" if attempt.cancelled() else attempt.result()
        else:
            # Not awaited: a check may ignore its cancellation. While it lasts, no second one is begun.
            attempt.cancel()
            error = "TimeoutError"
        watched.finished = time.monotonic()
        watched.seconds = watched.finished - begun
        self._record(watched, error)

    def _record(self, watched: _Watched, error: str | None) -> None:
        watched.error = error
        watched.in_a_row = watched.in_a_row + 1 if error else 0
        before = watched.passing
        if error is None:
            watched.passing = True
        elif before is None or watched.in_a_row >= watched.failures:
            watched.passing = False
        self._judge()
        # No text of the error, which may hold an address with a password.
        if watched.passing is False and before is not False:
            _logger.warning("health check %s fails: %s", watched.name, error)
        elif watched.passing and before is False:
            _logger.info("health check %s passes again", watched.name)

    def _judge(self) -> None:
        critical = [watched for watched in self._checks.values() if watched.critical]
        self._ready_until = min(
            (watched.fresh_until if watched.passing else 0.0 for watched in critical), default=float("inf")
        )


async def _attempt(check: Check) -> str | None:
    """Run a check and return a short cause of its failure.

    ``SystemExit`` and ``KeyboardInterrupt`` count as well: out of a task they would end the event loop.
    """
    try:
        await check()
    except asyncio.CancelledError:
        return "CancelledError"
    except BaseException as error:
        return cause_of(error)
    return None
