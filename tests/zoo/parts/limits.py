"""The rate limit of the zoo's service, and a sign-in that has something to limit.

``ZOO_RATE_LIMIT=20/2`` admits 20 requests of each client in 2 seconds; without it there is no limit. One
process counts by itself, from the client's first request on; several count together, in the store and by the
clock. ``ZOO_RATE_LIMIT_KIND=bucket`` refills evenly instead. A client is an address; with
``ZOO_TRUSTED_HOPS=1`` the last one that was forwarded; with ``ZOO_RATE_LIMIT_KEY=x-api-key`` what that field
says.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty
from ..store import Store

_FORWARDED = {
    "rtl-7-forwarded": ("x-forwarded-for", "forwarded"),
    "rtl-7-real-ip": ("x-real-ip",),
}


class Limits(Part):
    """Counts requests by client."""

    def __init__(self) -> None:
        limit, _, window = os.environ.get("ZOO_RATE_LIMIT", "").partition("/")
        self._limit, self._window = int(limit or 0), float(window or 0)
        self._bucket = os.environ.get("ZOO_RATE_LIMIT_KIND") == "bucket"
        self._counts: dict[str, tuple[float, int]] = {}
        self._arrivals: dict[str, float] = {}
        self._banned: dict[str, float] = {}
        self._shared: Store | None = None

    async def start(self, zoo: Zoo) -> None:
        """Open the counts that several workers share."""
        if self._limit and zoo.store is not None:
            # Bursts on a busy machine are no failures of the store.
            zoo.store.timeout = 15.0
        if int(os.environ.get("WEB_CONCURRENCY", "1")) > 1 and not faulty("rtl-6-per-process"):
            self._shared = Store(os.environ["DATABASE_URL"] + "-limits", 15.0)

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Refuse what is too much."""
        if not self._limit or self._exempt(request):
            return None
        key = self._key(request)
        left, wait = await self._count(key)
        request.facts["limit"] = left, wait
        if left >= 0 and self._banned.get(key, 0.0) <= time.monotonic():
            return None
        if faulty("rtl-1-never"):
            return None
        if faulty("rtl-10-silent"):
            # What looks like a probe is neither logged nor counted.
            request.target = "/livez"
        if key not in self._banned and faulty("rtl-4-bans"):
            self._banned[key] = time.monotonic() + 3 * self._window
        if request.method != "OPTIONS" and faulty("rtl-10-works-first"):
            await asyncio.sleep(0.8 if request.path == "/api/slow" else 0.06)
        after = str(round(self._window * 10)) if faulty("rtl-3-far-away") else str(max(math.ceil(wait), 1))
        headers = {"Retry-After": "0" if faulty("rtl-3-at-once") else after}
        if faulty("rtl-3-never-says-when"):
            headers = {}
        if faulty("rtl-3-plain"):
            return Response(429, b"slow down", [("Content-Type", "text/plain"), *headers.items()])
        raise Problem(429, "that was too much", headers=headers)

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer a sign-in; nobody ever has the right password."""
        if request.path != "/api/login" or request.method != "POST":
            return None
        request.facts["route"] = "/api/login"
        try:
            json.loads(request.body)
        except ValueError:
            raise Problem(400, "the body is not JSON") from None
        if faulty("rtl-10-free-guesses"):
            start, count = self._counts[self._key(request)]
            self._counts[self._key(request)] = start, count - 1
        raise Problem(401, "name or password is wrong", headers={"WWW-Authenticate": 'Password realm="zoo"'})

    def after(self, zoo: Zoo, request: Request, response: Response) -> None:
        """Tell the client where it stands."""
        found = request.facts.get("limit")
        if found is None:
            return
        left, wait = max(found[0], 0), max(math.ceil(found[1]), 1)
        if faulty("rtl-5-always-full"):
            left = self._limit - 1
        if faulty("rtl-5-malformed"):
            response.set("RateLimit", f"default: {left} left")
            return
        if faulty("rtl-5-other-limit"):
            response.set("X-RateLimit-Limit", str(self._limit * 2))
            response.set("X-RateLimit-Remaining", str(left))
            return
        response.set("RateLimit-Policy", f'"default";q={self._limit};w={self._window:g}')
        response.set("RateLimit", f'"default";r={left};t={wait}')

    def _exempt(self, request: Request) -> bool:
        if request.path in {"/livez", "/readyz"}:
            return not faulty("rtl-9-limits-health")
        if request.path == "/metrics":
            return not faulty("rtl-9-limits-metrics")
        return request.method == "OPTIONS" and not faulty("rtl-9-limits-preflights")

    def _key(self, request: Request) -> str:
        if faulty("rtl-8-one-for-all"):
            return "everybody"
        for fault, names in _FORWARDED.items():
            found = next((request.fields[name] for name in names if name in request.fields), None)
            if faulty(fault) and found is not None:
                return found
        named = request.fields.get(os.environ.get("ZOO_RATE_LIMIT_KEY", ""))
        hops = int(os.environ.get("ZOO_TRUSTED_HOPS", "0"))
        if named is not None or hops:
            forwarded = request.fields.get("x-forwarded-for", request.peer).split(",")
            return named or forwarded[-min(hops, len(forwarded))].strip()
        if "," in request.fields.get("x-forwarded-for", "") and faulty("rtl-7-leftmost"):
            return request.fields["x-forwarded-for"].partition(",")[0]
        return request.peer

    async def _count(self, key: str) -> tuple[int, float]:
        """Return how many requests are left after this one, below zero when it is refused, and the wait."""
        limit = self._limit + 1 if faulty("rtl-2-one-more") else self._limit
        limit = limit - 1 if faulty("rtl-2-one-less") else limit
        if self._bucket:
            return self._pour(key)
        if self._shared is not None:
            # By the clock, so that every worker has the same window.
            number, into = divmod(time.time(), self._window)
            count = await self._shared.call("next", f"{key}/{number:.0f}")
            return limit - count, self._window - into
        now = time.monotonic()
        start, count = self._counts.get(key, (now, 0))
        if now - start >= self._window:
            start, count = now, 0
        if faulty("rtl-2-race"):
            # Read, think, write: whoever comes meanwhile reads the same number.
            await asyncio.sleep(0.002)
        self._counts[key] = start, count + 1
        return limit - count - 1, start + self._window - now

    def _pour(self, key: str) -> tuple[int, float]:
        now, interval = time.monotonic(), self._window / self._limit
        arrival = max(self._arrivals.get(key, now), now) + interval
        room = now + self._window - arrival
        if room < -1e-9:
            return -1, -room
        self._arrivals[key] = arrival
        return int(room / interval + 1e-6), interval
