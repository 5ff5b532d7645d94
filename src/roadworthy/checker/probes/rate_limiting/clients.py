"""Clients that use up a limit: who they are to the service, how they ask, and what a limit may admit."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from bisect import bisect_left
from dataclasses import dataclass, field

from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...manifest.routes import Route
from ..shared.together import many
from .fields import quota_of

__all__ = (
    "Burst",
    "Client",
    "Limit",
    "declared_limit",
    "find_limit",
    "forged_address",
    "new_client",
    "seconds_into_window",
    "seconds_to_a_new_window",
)

# A minute is the usual window of a limit, and the most that is worth waiting for.
_LONGEST_WAIT = 65.0
# What a limit that is not declared is looked for with.
_UNDECLARED = 500
_LOOKING = 20.0
_numbers = itertools.count(2)


@dataclass(frozen=True, slots=True)
class Client:
    """A client that the service recognises: by address, by forwarded address, or by a field."""

    source: str | None = None
    fields: tuple[tuple[str, str], ...] = ()

    async def ask(self, bench: Bench, route: Route, **fields: str) -> Answer:
        """Send the route's request once, on a connection of its own; names in ``fields`` have underscores."""
        headers = dict(self.fields) | {name.replace("_", "-"): value for name, value in fields.items()}
        return await bench.call(route, headers=headers, source=self.source, patient=False)


@dataclass(slots=True)
class Burst:
    """The answers to requests sent one after another or at the same time."""

    answers: list[Answer] = field(default_factory=list[Answer])

    @property
    def admitted(self) -> list[Answer]:
        """What was not refused."""
        return [
            answer
            for answer in self.answers
            if answer.complete and answer.status != 429 and answer.status < 500
        ]

    @property
    def refused(self) -> list[Answer]:
        """What was refused."""
        return [answer for answer in self.answers if answer.status == 429]

    @property
    def unclear(self) -> list[Answer]:
        """What was neither: no answer, or a failure of the service."""
        return [answer for answer in self.answers if not answer.complete or answer.status >= 500]

    @property
    def began(self) -> float:
        """When the first request was sent, by ``time.monotonic()``."""
        return min((answer.began for answer in self.answers), default=0.0)

    @property
    def seconds(self) -> float:
        """From the first request to the last admitted one: how long a bucket was refilled."""
        return max((answer.ended for answer in self.admitted), default=0.0) - self.began

    def densest(self, window: float) -> int:
        """Return the most requests that were sent within so many seconds."""
        times = sorted(answer.began for answer in self.answers)
        return max(
            (number - bisect_left(times, at - window) for number, at in enumerate(times, 1)), default=0
        )


@dataclass(slots=True, eq=False)
class Limit:
    """The limit of the service, as declared and as found.

    Parameters:
        requests: requests per window; None when neither the manifest nor a field has it.
        window: in seconds.
        kind: ``window``, ``bucket`` or empty.
        flood: what a first client sent until it was refused.
        other: what a second client got right after that.
        limited_meanwhile: whether the first client was limited all the time that the second one asked.
        addressed: whether clients can come from addresses of their own.
    """

    route: Route
    requests: int | None
    window: float | None
    kind: str
    flood: Burst = field(default_factory=Burst)
    other: Burst = field(default_factory=Burst)
    limited_meanwhile: bool = False
    addressed: bool = True
    client: Client = field(default_factory=Client)

    @property
    def reached(self) -> bool:
        """Whether anybody was refused."""
        return bool(self.flood.refused)

    @property
    def apart(self) -> bool:
        """Whether the service separates clients, so that a new one has its whole quota at once."""
        return bool(self.other.admitted) and not self.other.refused

    @property
    def count(self) -> int:
        """The number of requests per window.

        Raises:
            ControlFailed: the limit is unknown, or no request was refused.
        """
        if not self.reached:
            raise ControlFailed(f"no request was refused (see RTL-1): {len(self.flood.answers)} were sent")
        if self.requests is None:
            raise ControlFailed(
                "neither rate_limit.requests nor a field of the response names the limit",
                ("rate_limit.requests",),
            )
        return self.requests

    def refill(self, seconds: float) -> int:
        """Return how many requests a bucket may admit again within this time; a window admits none."""
        if self.kind == "window" or not self.requests or not self.window:
            return 0
        return math.floor(self.requests / self.window * max(seconds, 0.0)) + 1

    def most(self, seconds: float, aligned: bool) -> int:
        """Return how many requests of a fresh client may be admitted within this time.

        Parameters:
            aligned: the time began together with a window, so that a second one begins a whole window later.
        """
        count = self.requests or 0
        windows = 0 if self.kind == "bucket" or not aligned else int((seconds + 0.1) / (self.window or 60.0))
        return count * (1 + windows) + self.refill(seconds)

    async def fresh(self, bench: Bench) -> Client:
        """Return a client that has its whole quota: a new one, or the same after a whole window.

        Raises:
            ControlFailed: that would take too long, or there is no limit to use up (see ``count``).
        """
        if self.count and self.apart:
            return new_client(bench, self.addressed)
        window = self.window or 60.0
        if window > _LONGEST_WAIT:
            raise ControlFailed(
                f"all clients share one limit with a window of {window:g} s, which is too long to wait for "
                "(check.rate_limit may name a shorter one for the check)"
            )
        await asyncio.sleep(window + 0.2)
        return self.client

    async def exhausted(self, bench: Bench, client: Client, refusals: int = 1) -> Burst:
        """Let a client ask, one request after another, until it is refused.

        Raises:
            ControlFailed: it is not, although it asks more often than it may.
        """
        burst = await _until_refused(bench, self.route, client, 3 * self.count + 50, _LOOKING, refusals)
        if not burst.refused:
            raise ControlFailed(f"the limit was not reached again within {len(burst.answers)} requests")
        return burst

    async def window_begins(self, bench: Bench, client: Client) -> tuple[float, Answer]:
        """Use up what a client has left, and ask until it is admitted: that is where a fixed window begins.

        Returns:
            The earliest time at which it can have begun, by ``time.monotonic()``, and what was admitted.

        Raises:
            ControlFailed: it is not admitted again after a whole window.
        """
        most = 3 * (self.requests or 0) + 50
        since = (await _until_refused(bench, self.route, client, most, _LOOKING, 1)).answers[-1].began

        def admitted(answer: Answer) -> bool:
            nonlocal since
            if answer.status != 429:
                return True
            since = answer.began
            return False

        came, answer = await bench.until(
            lambda: client.ask(bench, self.route),
            admitted,
            min(self.window or 60.0, _LONGEST_WAIT) + 1,
            0.01,
        )
        if not came:
            raise ControlFailed("the limited client was not admitted again after a window")
        return since, answer

    async def together(self, bench: Bench, client: Client, count: int, width: int) -> Burst:
        """Let a client send ``count`` requests, ``width`` at a time."""
        return Burst(await many(lambda: client.ask(bench, self.route), count, width))


async def find_limit(bench: Bench) -> Limit:
    """Send requests until one is refused, then let a second client ask; for :meth:`.Bench.shared`."""
    limit = declared_limit(bench)
    probing = new_client(bench, addressed=True)
    first = await probing.ask(bench, limit.route)
    if not first.complete:
        # Not every system has further loopback addresses, and not every service listens on IPv4.
        limit.addressed = False
        probing = new_client(bench, addressed=False)
        first = await probing.ask(bench, limit.route)
    limit.client = probing
    quota = quota_of(first, limit.requests)
    if quota is not None and limit.requests is None:
        limit.requests, limit.window = quota.limit, quota.window or limit.window
    most = max(3 * (limit.requests or 0), _UNDECLARED)
    rest = await _until_refused(bench, limit.route, probing, most, bench.patience(_LOOKING), 3)
    limit.flood = Burst([first, *rest.answers])
    unlikely = 0
    for _ in range(3):
        second = new_client(bench, limit.addressed)
        if not limit.reached or second == probing:
            break
        count = min(limit.requests or 1, 10)
        last = (await _until_refused(bench, limit.route, probing, most, _LOOKING, 1)).answers[-1]
        limit.other = await limit.together(bench, second, count, count)
        after = await probing.ask(bench, limit.route)
        # A bucket has a little in it again after a while, but not as much as the second client got. Where the
        # kind is not known a new window may have begun instead, but hardly twice.
        refilled = limit.refill(max(answer.ended for answer in limit.other.answers) - last.began)
        unlikely += (refilled < count) + (limit.kind == "bucket" and refilled < count)
        limit.limited_meanwhile = after.status == 429 or (limit.kind != "window" and unlikely > 1)
        if limit.other.refused or limit.limited_meanwhile:
            break
    return limit


def declared_limit(bench: Bench) -> Limit:
    """Return what the manifest declares.

    Raises:
        ControlFailed: there is no route to try it on.
    """
    manifest, routes = bench.manifest, bench.manifest.routes.by_role
    declared, check = manifest.rate_limit, manifest.check
    route = routes.get(declared.route) or routes.get("list") or next(iter(manifest.routes), None)
    if route is None:
        raise ControlFailed(
            "no route is declared that could be limited (routes.list, rate_limit.route)", ("routes.list",)
        )
    return Limit(
        route,
        check.rate_limit.requests or declared.requests,
        check.rate_limit.window or declared.window,
        declared.kind,
    )


def new_client(bench: Bench, addressed: bool) -> Client:
    """Return a fresh client; without an address of its own if this machine has no further one."""
    declared = bench.manifest.rate_limit
    if declared.key != "ip":
        return Client(fields=((declared.key, bench.unique()),))
    if declared.trusted_proxy_hops:
        # The checker is the nearest of the trusted proxies; the others are addresses in the field.
        proxies = ["127.0.0.1"] * (declared.trusted_proxy_hops - 1)
        return Client(fields=(("X-Forwarded-For", ", ".join([forged_address(), *proxies])),))
    host = bench.target.address.host
    if not addressed or not host.startswith("127."):
        return Client()
    # Never 127.0.0.1: many servers trust forwarding fields that come from there.
    number = next(_numbers)
    return Client(source=f"127.0.{1 + number // 250}.{2 + number % 250}")


def seconds_to_a_new_window(window: float) -> float:
    """Return how long to be quiet until every window is over and one begins that goes by the clock.

    Raises:
        ControlFailed: that would take too long.
    """
    if window > _LONGEST_WAIT:
        raise ControlFailed(f"a window of {window:g} s is too long to wait for (see check.rate_limit)")
    return 2 * window - time.time() % window + 0.02


def seconds_into_window(at: float, window: float) -> float:
    """Return how much of a window that goes by the clock was over at a time of ``time.monotonic()``."""
    return (time.time() - time.monotonic() + at) % window


def forged_address() -> str:
    """Return an address of the range for benchmarks (RFC 2544), which nobody has."""
    return f"198.18.{random.randrange(256)}.{random.randrange(1, 255)}"  # noqa: S311


async def _until_refused(
    bench: Bench, route: Route, client: Client, most: int, seconds: float, refusals: int
) -> Burst:
    burst, deadline = Burst(), bench.now() + seconds
    while len(burst.refused) < refusals and len(burst.answers) < most and bench.now() < deadline:
        burst.answers.append(await client.ask(bench, route))
    return burst
