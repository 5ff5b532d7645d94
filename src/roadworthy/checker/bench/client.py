"""How a probe asks: requests with the fields of the check, connections, and the target they go to."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..http.fields import is_closing, retry_after
from ..http.request import Address, Fields
from ..http.wire import Answer, Connection, DialFailed, Ending, exchange
from ..manifest.model import Manifest
from ..manifest.variables import expand
from ..needs import Need
from ..phases import Phase, Profile
from ..service.target import Target
from ..stage import Stage
from .bodies import found_id
from .ways import PLAIN, Way

__all__ = ("Client",)


@dataclass(eq=False)
class Client:
    """Sends the requests of a check, to the shared process or to one that was started for the probe.

    Parameters:
        stage: what the probes of the phase share.
        requests: how many were sent.
        way: how requests are sent for which the probe asks for nothing special.
        counted: send each request once, whatever is answered, unless it asks for patience itself.
    """

    stage: Stage
    manifest: Manifest
    way: Way = field(default=PLAIN, init=False)
    requests: int = field(default=0, init=False)
    counted: bool = field(default=False, init=False)
    _target: Target | None = field(default=None, kw_only=True)

    @property
    def full(self) -> bool:
        """Whether this is the full profile."""
        return self.stage.context.profile is Profile.FULL

    @property
    def phase(self) -> Phase:
        """The phase of the probe."""
        return self.stage.phase

    @property
    def target(self) -> Target:
        """The target that requests go to: the shared one, or inside :meth:`launch` the one just started."""
        assert self._target is not None, "this phase has no shared process: use `async with bench.launch()`"
        return self._target

    @property
    def url_mode(self) -> bool:
        """Whether the service runs already and the check cannot start it."""
        return not self.manifest.startable

    def has(self, need: Need) -> bool:
        """Tell whether a fact is there that the probe can do without."""
        return need.missing(self.manifest) is None

    def patience(self, seconds: float) -> float:
        """Return a deadline, longer on a slow machine: never below ``seconds``."""
        return seconds * self.stage.context.slowness

    def now(self) -> float:
        """Return the monotonic time that lines, events and answers carry."""
        return time.monotonic()

    async def use_shared(self) -> None:
        """Make the phase's process the target; the runner does it before the probe begins."""
        self._target = await self.stage.target()

    async def renew(self) -> None:
        """Give the next probe of the phase a fresh process, because this one may keep what was done to it.

        Call it last. In URL mode there is no other process, so nothing happens.
        """
        if not self.url_mode:
            await self.stage.replace_target()

    def headers(self, extra: Fields = (), *, auth: bool = True) -> list[tuple[str, str]]:
        """Return the fields that every request of the check carries, and ``extra``, which win."""
        pairs = list(extra.items()) if isinstance(extra, Mapping) else list(extra)
        names = {name.lower() for name, _ in pairs}
        own = [("User-Agent", f"roadworthy-check/{self.stage.context.marker}"), ("Accept", "*/*")]
        if auth and self.manifest.auth.header:
            name, _, value = expand(self.manifest.auth.header).partition(":")
            self.stage.context.masker.add(name, value.strip())
            self.stage.context.masker.add(name, value.strip().rpartition(" ")[2])
            own.append((name.strip(), value.strip()))
        return [*(pair for pair in own if pair[0].lower() not in names), *pairs]

    async def request(
        self,
        method: str,
        path: str,
        headers: Fields = (),
        body: bytes | None = None,
        *,
        json_body: Any = None,
        seconds: float = 10.0,
        source: str | None = None,
        auth: bool = True,
        target: Target | None = None,
        address: Address | None = None,
        patient: bool | None = None,
        interval: float | None = None,
    ) -> Answer:
        """Send one request on a connection of its own and return the answer, whatever it is.

        Parameters:
            json_body: sent as JSON with its content type, instead of ``body``.
            seconds: the deadline; scaled by :meth:`patience`.
            source: the local address to come from.
            patient: wait and repeat after a 429 with Retry-After; by default in all phases but ``limits``.
            interval: seconds between one byte of the request and the next; all at once when None.

        Raises:
            Untried: it may change data that is not the check's own; let it pass, the runner says so.
        """
        pairs = self.headers(headers, auth=auth)
        if json_body is not None:
            body = json.dumps(json_body).encode()
            if "content-type" not in {name.lower() for name, _ in pairs}:
                pairs.append(("Content-Type", "application/json"))
        where = address or (target or self.target).address
        waits = self.phase is not Phase.LIMITS and not self.counted if patient is None else patient
        limit = self.patience(seconds)
        for attempt in itertools.count(1):
            self.stage.context.custody.require(method)
            self.requests += 1
            if source or interval or self.way is PLAIN:
                answer = await exchange(
                    where, method, path, pairs, body, seconds=limit, source=source, interval=interval
                )
            else:
                answer = await self._in_way(where, method, path, self.way.fields(pairs), body, limit)
            self._hear(answer)
            after = retry_after(answer)
            if answer.status != 429 or not waits or attempt == 4 or after is None or after > 60:
                return answer
            await asyncio.sleep(max(after, 1))
        raise AssertionError  # an endless count has no end

    async def _in_way(
        self, where: Address, method: str, path: str, fields: Fields, body: bytes | None, seconds: float
    ) -> Answer:
        version, kept = self.way.version, self.stage.kept
        if not self.way.keeps:
            return await exchange(where, method, path, fields, body, seconds=seconds, version=version)
        while True:
            try:
                async with kept.lend(where) as (connection, used):
                    answer = await connection.exchange(method, path, fields, body, seconds)
                    ends = not answer.complete or answer.framing == "close" or is_closing(answer)
                    if connection.is_read and not ends:
                        kept.keep(connection)
                    else:
                        await connection.close()
            except DialFailed:
                return await exchange(where, method, path, fields, body, seconds=seconds)
            # A server may end an idle connection at any time (RFC 9112 §9.5); on a new one it has no reason.
            if not used or answer.ending not in {Ending.EOF, Ending.RESET}:
                return answer

    async def get(self, path: str, headers: Fields = (), **options: Any) -> Answer:
        """Send a GET; the options are those of :meth:`request`."""
        return await self.request("GET", path, headers, **options)

    async def connect(self, target: Target | None = None, **options: Any) -> Connection:
        """Open a connection to do anything with (options of :meth:`.wire.Connection.open`); close it again.

        Raises:
            DialFailed: nobody listens, or nobody accepted in time.
        """
        self.requests += 1
        connection = await Connection.open((target or self.target).address, **options)
        connection.judge, connection.hear = self.stage.context.custody.require_bytes, self._hear
        return connection

    def _hear(self, answer: Answer) -> None:
        """Remember what a request has created, in case it has to be deleted again."""
        create, request = self.manifest.routes.by_role.get("create"), answer.request
        if (
            create is not None
            and answer.ok
            and (request.method, request.path) == (create.method, create.path)
        ):
            custody, target = self.stage.context.custody, self._target
            custody.remember(found_id(answer, create.id))
            if target is not None and target.service is not None:
                custody.look_once(target.service, target.place)

    async def until(
        self,
        ask: Callable[[], Awaitable[Answer]],
        holds: Callable[[Answer], bool],
        seconds: float,
        interval: float = 0.05,
    ) -> tuple[bool, Answer]:
        """Ask again and again until an answer is as wanted; return whether one was, and the last.

        Parameters:
            seconds: how long; scaled by :meth:`patience`.
        """
        deadline = asyncio.get_running_loop().time() + self.patience(seconds)
        while True:
            answer = await ask()
            if holds(answer) or asyncio.get_running_loop().time() > deadline:
                return holds(answer), answer
            await asyncio.sleep(interval)
