"""One stop under traffic, watched from all sides."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from ...bench import Bench
from ...http.wire import Answer, Connection
from ...manifest.routes import Route
from ...service.process import Exit, is_free
from ...service.target import Target
from ...verdict import Point, Timeline

__all__ = (
    "IN_FLIGHT",
    "SIGNAL_AFTER",
    "Stop",
    "flight",
    "in_flight_control",
    "same",
    "slow_route",
    "watched_stop",
)

# Signal after the requests in flight began: late enough to be in the handler, early enough to be still there.
SIGNAL_AFTER = 0.4
IN_FLIGHT = 8
_ORPHANS_AFTER = 2.0
_UPLOAD = 1.5
"""Seconds for an upload that is to be under way at the signal."""


@dataclass(frozen=True, slots=True)
class _Poll:
    """One new connection during the stop: when it was dialled, for which path, and what came of it."""

    at: float
    path: str
    answer: Answer


@dataclass(slots=True)
class Stop:
    """One stop, seen from all sides; times are monotonic."""

    signalled: float
    plain: Answer
    in_flight: list[Answer] = field(default_factory=list[Answer])
    polls: list[_Poll] = field(default_factory=list[_Poll])
    idle_over: float | None = None
    idle_how: str = ""
    exit: Exit | None = None
    left: tuple[str, ...] = ()
    port_free: bool = False
    command: str = ""
    lines: tuple[str, ...] = ()

    @property
    def dropped(self) -> list[Answer]:
        """The requests in flight that were not answered as they would have been without the signal."""
        return [answer for answer in self.in_flight if not same(answer, self.plain)]

    @property
    def last_response(self) -> float:
        """When the last request in flight was over."""
        return max((answer.ended for answer in self.in_flight), default=self.signalled)

    def timeline(self) -> Timeline:
        """Return the stop as a drawing."""

        def at(moment: float) -> float:
            return round(moment - self.signalled, 3)

        points = [Point(0.0, "process", "SIGTERM")]
        if self.exit is not None:
            points.append(Point(at(self.exit.at), "process", f"ended with {self.exit}"))
        points += [
            Point(at(answer.began), "in flight", str(answer), at(answer.ended)) for answer in self.in_flight
        ]
        previous = ("", "")
        for poll in self.polls:
            seen = (poll.path, str(poll.answer.status or poll.answer.ending))
            if seen != previous:
                points.append(
                    Point(at(poll.at), f"new connections {poll.path}", seen[1], at(poll.answer.ended))
                )
            previous = seen
        if self.idle_over is not None:
            points.append(Point(at(self.idle_over), "idle connection", self.idle_how))
        return Timeline("shutdown", tuple(points))


def same(answer: Answer, plain: Answer) -> bool:
    """Return whether a response is whole and as the one without a stop."""
    same_body = sha256(answer.body).digest() == sha256(plain.body).digest()
    return answer.complete and answer.status == plain.status and (same_body or len(answer.body) > 0)


def slow_route(bench: Bench) -> Route:
    """Return the route that takes long enough to be in flight."""
    return bench.manifest.routes.by_role["slow"]


@dataclass(frozen=True, slots=True)
class _Flight:
    """A request that lasts until after the signal.

    Parameters:
        plain: how it is answered without one.
        send: sends it once more.
    """

    plain: Answer
    send: Callable[[], Awaitable[Answer]]


async def flight(bench: Bench) -> _Flight | None:
    """Return what can be in flight at the signal: the slow route, else an upload that comes byte by byte.

    None where neither is declared: then a connection that idles is all that a stop can be tried with.
    """
    routes = bench.manifest.routes.by_role
    if "slow" in routes:
        plain = await bench.call(routes["slow"])
        bench.control("the slow route answers", plain.ok)
        bench.control(f"it takes long enough ({plain.seconds:.2f} s)", plain.seconds > SIGNAL_AFTER + 0.1)
        return _Flight(plain, partial(bench.call, routes["slow"], seconds=30))
    create = routes.get("create")
    if create is None or create.body is None:
        return None
    plain = await bench.call(create)
    bench.control("what routes.create sends is answered", plain.ok)
    count = len(str(plain.request)) + len(json.dumps(create.body)) + 200  # head and body, about
    return _Flight(plain, partial(bench.call, create, seconds=30, interval=_UPLOAD / count))


async def watched_stop(bench: Bench) -> Stop:
    """Stop a service with requests in flight, an idle connection, and new connections all the time."""
    async with bench.launch(draining=True) as target:
        flown = await flight(bench)
        live, ready = bench.manifest.health.live or "/", bench.manifest.health.ready
        idle = await bench.connect()
        async with idle:
            answered = await idle.exchange("GET", live, bench.headers())
            stop = Stop(0.0, flown.plain if flown else answered)
            await _stopped(bench, target, stop, flown, idle, [path for path in (ready, live) if path])
        stop.left = await _left(target)
        stop.port_free = is_free(target.address.host, target.address.port)
        stop.command = " ".join(target.process.command)
        stop.lines = tuple(line.text[:300] for line in target.process.lines[-8:])
        return stop


async def _stopped(
    bench: Bench, target: Target, stop: Stop, flown: _Flight | None, idle: Connection, paths: list[str]
) -> None:
    flying = [asyncio.ensure_future(flown.send()) for _ in range(IN_FLIGHT)] if flown else []
    await asyncio.sleep(SIGNAL_AFTER)
    stop.signalled = target.process.signal()
    watchers = [
        asyncio.create_task(_poll(bench, target, stop, paths)),
        asyncio.create_task(_watch_idle(idle, stop)),
    ]
    stop.in_flight = list(await asyncio.gather(*flying))
    stop.exit = await target.process.wait_end(bench.patience(bench.manifest.start.grace))
    for task in watchers:
        task.cancel()
    # Awaiting them, and passing over their CancelledError, would pass over our own as well.
    await asyncio.wait(watchers)
    for task in watchers:
        if not task.cancelled():
            task.result()
    await target.process.wait_silence(1.0)


async def _poll(bench: Bench, target: Target, stop: Stop, paths: list[str]) -> None:
    """Dial every 50 ms, one path after the other; an answer that does not come does not hold up the next."""
    waiting: set[asyncio.Task[None]] = set()
    turn = 0

    async def one(path: str) -> None:
        at = time.monotonic()
        answer = await bench.get(path, seconds=1.0, patient=False, target=target)
        stop.polls.append(_Poll(at, path, answer))

    while target.process.alive:
        task = asyncio.create_task(one(paths[turn % len(paths)]))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        turn += 1
        await asyncio.sleep(0.05)
    await asyncio.gather(*waiting)


async def _watch_idle(idle: Connection, stop: Stop) -> None:
    if await idle.wait_over(120):
        stop.idle_over, stop.idle_how = time.monotonic(), idle.over


async def _left(target: Target) -> tuple[str, ...]:
    """Return what still lives two seconds after the exit; less when it is gone earlier."""
    deadline = time.monotonic() + _ORPHANS_AFTER
    while time.monotonic() < deadline:
        if not target.process.tree():
            return ()
        await asyncio.sleep(0.05)
    return tuple(f"{one.name} (pid {one.pid})" for one in target.process.tree())


def in_flight_control(bench: Bench, stop: Stop) -> None:
    """Make sure that the requests, where there are any, really were in flight."""
    if not stop.in_flight:
        bench.control(f"the service answered before the signal ({stop.plain})", stop.plain.complete)
        bench.note("nothing was in flight at the signal (routes.slow, routes.create), but an idle connection")
        return
    began = [answer for answer in stop.in_flight if answer.began and answer.began < stop.signalled]
    bench.control(f"{len(began)} requests were in flight at the signal", len(began) == IN_FLIGHT)
