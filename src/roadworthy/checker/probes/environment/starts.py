"""Starts with a changed environment: how each ended, or what runs now. Each is made once and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from ...bench import Bench
from ...errors import StartFailed
from ...http.wire import Answer
from ...manifest.variables import store_url
from ...service.process import Exit, free_port
from ...store.kinds import PORTS
from ...store.logins import any_password_does
from ...verdict import Lines

__all__ = (
    "BAD_LEVEL",
    "BAD_PORT",
    "WRONG_PASSWORD",
    "Changes",
    "Outcome",
    "bad_store_starts",
    "passwords_are_not_asked_for",
    "planted",
    "secret_names",
    "start_with",
    "usual_start",
    "weak",
)

BAD_PORT = "abc"
BAD_LEVEL = "loud"
WRONG_PASSWORD = "a wrong password"  # noqa: S105

Changes = Mapping[str, str | None]

# A start that is refused is refused within this, on a machine of usual speed.
_PATIENCE = 8.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a start.

    Parameters:
        ended: how the process ended, or None when it was still running.
        ready: whether readiness was positive, or, without a path for that, anything was answered.
        ports: what it listened on.
        created: the answer of ``routes.create``, where it ran and was asked.
        seconds: from the start to the end, to readiness, or to the moment of giving up.
    """

    ended: Exit | None
    ready: bool
    ports: frozenset[int]
    output: str
    seconds: float
    created: Answer | None = None

    @property
    def refused(self) -> bool:
        """Whether the start was given up with a non-zero status."""
        return self.ended is not None and self.ended.status != 0

    def __str__(self) -> str:
        """Return what happened, in words."""
        if self.ended is not None:
            return f"it ended with {self.ended}"
        if not self.ports:
            return "it runs and does not listen"
        on = ", ".join(str(port) for port in sorted(self.ports))
        return f"it {'is ready' if self.ready else 'runs'} and listens on {on}"

    def shown(self) -> tuple[Lines, ...]:
        """Return the last of what was written, as evidence."""
        lines = [line[:400] for line in self.output.splitlines() if line.strip()][-12:]
        return (Lines("what the start wrote", tuple(lines)),) if lines else ()


def secret_names(bench: Bench) -> list[str]:
    """Return the declared secrets; the store's URL is tried by itself, because it has to be one."""
    return [name for name in bench.manifest.env.secret if name != bench.manifest.database.env]


async def planted(bench: Bench) -> dict[str, str]:
    """Return a canary for each secret; none when the service does not start with such values."""

    async def look() -> dict[str, str]:
        values = {name: bench.canary(f"env: {name}") for name in secret_names(bench)}
        if not values:
            return {}
        outcome = await _start(bench.beside(), values, watch=0.0)
        return values if outcome.ready else {}

    found: dict[str, str] = await bench.stage.once(("environment", "canaries"), look)
    return found


async def weak(bench: Bench, name: str) -> str:
    """Return a secret of eight characters for a variable; it is recognized in any output."""

    async def make() -> str:
        value = f"q{bench.unique()[-7:]}"
        bench.stage.context.masker.add(f"a short value of {name}", value)
        return value

    found: str = await bench.stage.once(("environment", "weak", name), make)
    return found


async def start_with(bench: Bench, changes: Changes, *, watch: float = 0.0) -> Outcome:
    """Start the production command with changes to the environment, and canaries in its secrets.

    Parameters:
        watch: seconds for which readiness is watched when it runs.
    """
    secrets = await planted(bench)

    async def run() -> Outcome:
        return await _start(bench.beside(), {**secrets, **changes}, watch=watch)

    key = ("environment", tuple(sorted(changes.items())), watch)
    found: Outcome = await bench.stage.once(key, run)
    return found


async def usual_start(bench: Bench) -> Outcome:
    """Start without changes: the control of every start that is refused."""
    outcome = await start_with(bench, {})
    bench.control(f"with good values the service starts ({outcome})", outcome.ready)
    return outcome


async def _start(bench: Bench, changes: Changes, *, watch: float) -> Outcome:
    began = bench.now()
    # The database's preparation would stumble over bad values before the service does.
    store = "refused" if watch else "own"
    try:
        async with bench.launch(env=changes, production=True, wait=False, store=store) as target:
            process, ready, ports = target.process, False, set[int]()
            created: Answer | None = None
            deadline = began + bench.patience(max(_PATIENCE, min(bench.manifest.ready.timeout, 20.0)))
            running: float | None = None
            while process.ended is None and bench.now() < deadline:
                ports = {port for _, port in process.listening()}
                if ports - set(target.ports.values()) and running is None:
                    running = bench.now()
                if target.address.port in ports:
                    ready = ready or await _ready(bench)
                if ready and not watch:
                    break
                # Whoever listens elsewhere, or is watched for long enough, is not going to end.
                if (
                    running
                    and bench.now() - running > max(bench.patience(watch), 1.0)
                    and (watch or target.address.port not in ports)
                ):
                    break
                await asyncio.sleep(0.1)
            if process.ended is None and watch and "create" in bench.manifest.routes.by_role:
                created = await bench.call(bench.manifest.routes.by_role["create"], seconds=5, patient=False)
            if process.ended is not None:
                await process.wait_silence(1.0)
            return Outcome(
                process.ended, ready, frozenset(ports), process.output(), bench.now() - began, created
            )
    except StartFailed as failed:
        return Outcome(Exit(bench.now(), 1, None), False, frozenset(), str(failed), bench.now() - began)


async def _ready(bench: Bench) -> bool:
    path = bench.manifest.health.ready or bench.manifest.ready.path
    answer = await bench.get(path or "/", seconds=2, patient=False)
    return answer.ok if path else answer.complete


def _bad_urls(bench: Bench) -> dict[str, str]:
    """Return URLs that lead nowhere, by what is wrong with them; with a canary for a password."""
    database = bench.manifest.database
    secret = bench.canary(f"env: the password in {database.env}")
    found = {"an unknown scheme": f"rw-unknown://user:{secret}@127.0.0.1:{free_port()}/data"}
    parts = urlsplit(store_url(bench.manifest))
    if database.kind == "sqlite":
        # Nobody can make a folder of a device.
        found["a file that cannot be"] = f"{parts.scheme or 'sqlite'}:////dev/null/data.db"
        return found
    login = f"{parts.username or 'user'}:{secret}@"
    nobody = parts._replace(netloc=f"{login}127.0.0.1:{free_port()}")
    found["a port where nobody listens"] = urlunsplit(nobody)
    if database.kind in {"postgres", "mysql"} and parts.password:
        where = f"{parts.hostname or '127.0.0.1'}:{parts.port or PORTS[database.kind]}"
        wrong = parts._replace(netloc=f"{quote(parts.username or '')}:{secret}@{where}")
        found[WRONG_PASSWORD] = urlunsplit(wrong)
    return found


async def bad_store_starts(bench: Bench) -> dict[str, Outcome]:
    """Start once with each bad URL; also for those who search the output."""

    async def run() -> dict[str, Outcome]:
        env = bench.manifest.database.env
        return {
            what: await start_with(bench, {env: url}, watch=2.0) for what, url in _bad_urls(bench).items()
        }

    found: dict[str, Outcome] = await bench.stage.once(("environment", "bad stores"), run)
    return found


async def passwords_are_not_asked_for(bench: Bench) -> str:
    """Return why the store itself takes a wrong password, so that no service can notice one; else nothing."""
    return await any_password_does(bench.manifest.database.kind, store_url(bench.manifest))
