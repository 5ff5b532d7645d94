"""What a probe works with: target, requests, created resources, logs, metrics, the words of judgement."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from ..checklist import Assertion, Severity
from ._bodies import found_id, fresh
from ._show import curl, shown
from .exposition import Sample, read_samples
from .manifest import Manifest, Route
from .openapi import OpenApi
from .probe import Need, Phase, Probe, Profile
from .records import Record, records
from .shapes import members, whole_number
from .stage import Stage
from .target import Launch, Target, expand
from .verdict import Control, Evidence, Finding, Verdict
from .wire import Address, Answer, Connection, Fields, exchange

__all__ = ("Bench", "ControlFailed", "Created")

_T = TypeVar("_T")
_SEVERITIES = tuple(Severity)
_unique = itertools.count(1)


class ControlFailed(Exception):
    """Raised by :meth:`Bench.control` when a control does not hold: the probe ends as inconclusive."""


@dataclass(frozen=True, slots=True)
class Created:
    """A resource that the check created.

    Parameters:
        path: where it is read, with the id filled in; empty when no route reads.
        sent: the JSON that was sent.
    """

    id: str
    path: str
    sent: Any
    answer: Answer


@dataclass(slots=True, eq=False)
class Bench:
    """The bench of one probe. See :mod:`roadworthy.checker.probe` for how it is used."""

    probe: Probe
    stage: Stage
    manifest: Manifest
    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    controls: list[Control] = field(default_factory=list[Control])
    evidence: list[Evidence] = field(default_factory=list[Evidence])
    samples: int = 0
    requests: int = 0
    reason: str = ""
    _target: Target | None = None

    # Where one is

    @property
    def assertion(self) -> Assertion:
        """What is being tried."""
        return self.probe.assertion

    @property
    def full(self) -> bool:
        """Whether this is the full profile."""
        return self.stage.setting.profile is Profile.FULL

    @property
    def phase(self) -> Phase:
        """The phase of the probe."""
        return self.probe.phase

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
        return seconds * self.stage.setting.slowness

    def now(self) -> float:
        """Return the monotonic time that lines, events and answers carry."""
        return time.monotonic()

    # Starting processes of one's own

    @asynccontextmanager
    async def launch(
        self,
        *,
        env: Mapping[str, str | None] | None = None,
        clean: bool = False,
        production: bool = False,
        workers: int | None = None,
        limited: bool = False,
        draining: bool = False,
        store: str = "own",
        same_store_as: Target | None = None,
        url: str = "",
        wait: bool = True,
        port: int | None = None,
        cwd: Path | None = None,
    ) -> AsyncGenerator[Target]:
        """Start a process of one's own (the parameters are those of :class:`~.target.Launch`).

        Inside the block, requests go to it unless ``target=`` says otherwise.

        Raises:
            StartFailed: it ended or did not become ready; with ``wait=False`` only when it cannot be started.
        """
        options = Launch(
            env=env or {},
            clean=clean,
            production=production,
            workers=workers,
            limited=limited,
            draining=draining,
            store=store,
            same_store_as=same_store_as,
            url=url,
            wait=wait,
            port=port,
            cwd=cwd,
        )
        before = self._target
        async with self.stage.launch(options) as target:
            self._target = target
            try:
                yield target
            finally:
                self._target = before

    def beside(self) -> Bench:
        """Return a second bench of the same probe, to launch and watch a process at the same time.

        What it judges does not count; judge on the first.
        """
        return Bench(self.probe, self.stage, self.manifest, _target=self._target)

    async def use_shared(self) -> None:
        """Make the phase's process the target; the runner does it before the probe begins."""
        self._target = await self.stage.target()

    async def renew(self) -> None:
        """Give the next probe of the phase a fresh process, because this one may keep what was done to it.

        Call it last. In URL mode there is no other process, so nothing happens.
        """
        if not self.url_mode:
            await self.stage.replace_target()

    async def shared(self, collect: Callable[[Bench], Awaitable[_T]]) -> _T:
        """Return what ``collect`` found; it runs once per phase, for whichever probe asks first.

        It gets a bench of its own without a verdict; let it return facts and judge them in the probes.
        """
        bench = Bench(self.probe, self.stage, self.manifest, _target=self._target)

        async def run() -> _T:
            try:
                return await collect(bench)
            finally:
                self.requests += bench.requests

        return cast("_T", await self.stage.once(collect, run))

    # Requests

    def headers(self, extra: Fields = (), *, auth: bool = True) -> list[tuple[str, str]]:
        """Return the fields that every request of the check carries, and ``extra``, which win."""
        pairs = list(extra.items()) if isinstance(extra, Mapping) else list(extra)
        names = {name.lower() for name, _ in pairs}
        own = [("User-Agent", f"roadworthy-check/{self.stage.setting.marker}"), ("Accept", "*/*")]
        if auth and self.manifest.auth.header:
            name, _, value = expand(self.manifest.auth.header).partition(":")
            self.stage.setting.masker.add(name, value.strip())
            self.stage.setting.masker.add(name, value.strip().rpartition(" ")[2])
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
    ) -> Answer:
        """Send one request on a connection of its own and return the answer, whatever it is.

        Parameters:
            json_body: sent as JSON with its content type, instead of ``body``.
            seconds: the deadline; scaled by :meth:`patience`.
            source: the local address to come from.
            patient: wait and repeat after a 429 with Retry-After; by default in all phases but ``limits``.
        """
        pairs = self.headers(headers, auth=auth)
        if json_body is not None:
            body = json.dumps(json_body).encode()
            if "content-type" not in {name.lower() for name, _ in pairs}:
                pairs.append(("Content-Type", "application/json"))
        where = address or (target or self.target).address
        waits = self.phase is not Phase.LIMITS if patient is None else patient
        limit = self.patience(seconds)
        for attempt in itertools.count(1):
            self.requests += 1
            answer = await exchange(where, method, path, pairs, body, seconds=limit, source=source)
            after = whole_number(answer.field("retry-after") or "")
            if answer.status != 429 or not waits or attempt == 4 or after is None or after > 60:
                return answer
            await asyncio.sleep(max(after, 1))
        raise AssertionError  # an endless count has no end

    async def get(self, path: str, headers: Fields = (), **options: Any) -> Answer:
        """Send a GET; the options are those of :meth:`request`."""
        return await self.request("GET", path, headers, **options)

    async def connect(self, target: Target | None = None, **options: Any) -> Connection:
        """Open a connection to do anything with (options of :meth:`.wire.Connection.open`); close it again.

        Raises:
            DialFailed: nobody listens, or nobody accepted in time.
        """
        self.requests += 1
        return await Connection.open((target or self.target).address, **options)

    async def call(self, route: Route, identifier: str = "", **options: Any) -> Answer:
        """Send the request of a declared route, with its fields and a fresh copy of its body.

        Parameters:
            identifier: what stands for ``{id}``; by default the declared id, else ``0``.
        """
        body = self.fresh(route.body) if route.body is not None else None
        headers = {**route.headers, **dict(options.pop("headers", {}))}
        path = route.path.replace("{id}", identifier or route.literal or "0")
        if "{canary}" in path:
            path = path.replace("{canary}", self.canary(f"the exception of {route}"))
        return await self.request(route.method, path, headers, json_body=body, **options)

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

    # Resources

    def unique(self) -> str:
        """Return letters and digits that were never used before."""
        return f"{self.stage.setting.marker}{next(_unique):x}{secrets.token_hex(3)}"

    def unknown_path(self) -> str:
        """Return a path below the API's base that no service has."""
        return f"{self.base}/{secrets.token_hex(16)}"

    @property
    def base(self) -> str:
        """The path that the API's routes have in common, without a slash at its end; may be empty."""
        if self.manifest.base:
            return self.manifest.base
        route = next((self.manifest.routes.by_role.get(role) for role in ("list", "create", "read")), None)
        first = route.path.split("/")[1] if route else ""
        return f"/{first}" if first == "api" or re.fullmatch(r"v\d+", first) else ""

    def fresh(self, body: Any) -> Any:
        """Return a copy of a declared body in which ``{unique}`` and ``{number}`` are something new."""
        return fresh(body, self.unique())

    async def create(self, changes: Mapping[str, Any] | None = None, **options: Any) -> Created:
        """Create a resource through ``routes.create`` and return it.

        Parameters:
            changes: members to set in the body.

        Raises:
            ControlFailed: there is no such route, or the valid request was refused: nothing can be judged
                then.
        """
        route = self.manifest.routes.by_role.get("create")
        if route is None:
            raise ControlFailed("nothing can be created without routes.create")
        sent = self.fresh(route.body)
        if changes:
            sent = {**sent, **changes}
        headers = {**route.headers, **dict(options.pop("headers", {}))}
        answer = await self.request(route.method, route.path, headers, json_body=sent, **options)
        if not answer.ok:
            raise ControlFailed(f"the valid body of routes.create was answered {answer}")
        return Created(found_id(answer, route.id), self.path_of(answer), sent, answer)

    def path_of(self, answer: Answer) -> str:
        """Return where the resource is read that an answer of routes.create speaks of; empty if nowhere."""
        create, read = self.manifest.routes.by_role.get("create"), self.manifest.routes.by_role.get("read")
        identifier = found_id(answer, create.id) if create else ""
        if read and identifier:
            return read.path.replace("{id}", identifier)
        return answer.field("location") or ""

    async def readable(self) -> str:
        """Return the path of a resource that can be read: the declared one, else one created for it.

        Raises:
            ControlFailed: there is neither.
        """
        read = self.manifest.routes.by_role.get("read")
        if read is not None and read.literal:
            return read.path.replace("{id}", read.literal)
        created = await self.create()
        if not created.path:
            raise ControlFailed("nothing can be read back without routes.read")
        return created.path

    async def openapi(self) -> OpenApi:
        """Return the service's OpenAPI document; an empty one when the manifest names none."""
        return await self.shared(_fetch_openapi)

    # What the service tells

    def records(self, since: float = 0.0, target: Target | None = None) -> list[Record]:
        """Return the JSON records that the service has written since a monotonic time."""
        return records((target or self.target).process.lines, since, self.manifest.logs.format)

    async def wait_records(
        self, wanted: Callable[[list[Record]], bool], since: float, seconds: float = 2.0
    ) -> list[Record]:
        """Wait until ``wanted`` holds for the records since then; return them, also when it never did."""
        process = self.target.process
        await process.wait_until(lambda: wanted(self.records(since)), self.patience(seconds))
        return self.records(since)

    async def scrape(self) -> dict[Sample, float]:
        """Return the samples of the metrics endpoint.

        Raises:
            ControlFailed: it does not answer with 200.
        """
        answer = await self.request(
            "GET", self.manifest.metrics.path, address=self.target.metrics_address, patient=False
        )
        if answer.status != 200:
            raise ControlFailed(f"the metrics endpoint answered {answer}")
        return read_samples(answer.text)

    def canary(self, place: str) -> str:
        """Return a secret to plant; reports show its place instead of it."""
        return self.stage.setting.masker.canary(place)

    def leaks(self, text: str) -> list[str]:
        """Return where the secrets come from that stand in a text: canaries, and secrets that were given."""
        return self.stage.setting.masker.find(text)

    # Judging

    def control(self, text: str, holds: object = True) -> None:
        """Note a positive control: what shows that a violation would have been seen.

        Raises:
            ControlFailed: it does not hold; let it pass, the runner makes it inconclusive.
        """
        self.controls.append(Control(text, bool(holds)))
        if not holds:
            raise ControlFailed(f"the control does not hold: {text}")

    def sample(self, count: int = 1) -> None:
        """Count what was judged."""
        self.samples += count

    def fail(
        self,
        title: str,
        expected: str,
        got: str,
        *answers: Answer,
        severity: Severity | None = None,
        route: str = "",
        replay: str = "",
        evidence: Sequence[Evidence] = (),
    ) -> Verdict:
        """Add a counter-example and return the verdict so far.

        Parameters:
            title: what happened, as a sentence.
            answers: the exchanges that show it; the first gives route and replay unless they are named.
            severity: where this case is milder or worse than the assertion.
            route: method and path template.
        """
        return self._add(Verdict.FAIL, title, expected, got, answers, severity, route, replay, evidence)

    def warn(
        self,
        title: str,
        expected: str,
        got: str,
        *answers: Answer,
        severity: Severity | None = None,
        route: str = "",
        replay: str = "",
        evidence: Sequence[Evidence] = (),
    ) -> Verdict:
        """Add what works, but against a SHOULD or in a fragile way; parameters as for :meth:`fail`."""
        return self._add(Verdict.WARN, title, expected, got, answers, severity, route, replay, evidence)

    def expect(
        self, holds: object, title: str, expected: str, got: str, *answers: Answer, **options: Any
    ) -> bool:
        """Count a sample and fail unless it holds; return whether it did."""
        self.sample()
        if not holds:
            self.fail(title, expected, got, *answers, **options)
        return bool(holds)

    def note(self, text: str) -> None:
        """Tell what is worth knowing and no fault."""
        if text not in self.notes:
            self.notes.append(text)

    def show(self, evidence: Evidence | Answer) -> None:
        """Keep evidence also for a pass: a timeline, a table, an exchange."""
        self.evidence.append(shown(evidence) if isinstance(evidence, Answer) else evidence)

    def inconclusive(self, reason: str) -> Verdict:
        """Say that the precondition could not be created."""
        self.reason = reason
        return Verdict.INCONCLUSIVE

    def not_applicable(self, reason: str) -> Verdict:
        """Say that the precondition is absent by declaration."""
        self.reason = reason
        return Verdict.NOT_APPLICABLE

    def verdict(self) -> Verdict:
        """Return what the findings, controls and samples add up to. This is the only way to a pass."""
        if any(finding.verdict is Verdict.FAIL for finding in self.findings):
            return Verdict.FAIL
        if self.findings:
            return Verdict.WARN
        if not self.controls:
            return self.inconclusive("no control was made, so nothing is proved")
        if self.samples < self.probe.samples:
            return self.inconclusive(f"{self.samples} of {self.probe.samples} samples could be judged")
        return Verdict.PASS

    def _add(
        self,
        verdict: Verdict,
        title: str,
        expected: str,
        got: str,
        answers: Sequence[Answer],
        severity: Severity | None,
        route: str,
        replay: str,
        evidence: Sequence[Evidence],
    ) -> Verdict:
        first = answers[0].request if answers else None
        self.findings.append(
            Finding(
                verdict=verdict,
                title=title,
                expected=expected,
                got=got,
                severity=severity or self.assertion.severity,
                route=route or (f"{first.method} {first.path[:120]}" if first else ""),
                replay=replay or (curl(first) if first else ""),
                evidence=(*(shown(answer) for answer in answers), *evidence),
            )
        )
        return self.verdict()


async def _fetch_openapi(bench: Bench) -> OpenApi:
    if not bench.manifest.openapi:
        return OpenApi()
    return OpenApi(members((await bench.get(bench.manifest.openapi)).json()))
