"""What a probe is: one small async function that tries one assertion, registered with what it needs.

How to write one
----------------
A probe lives in ``probes/<item>.py``, one module per item or pattern, and is listed in that module's
``PROBES``::

    @probe("ERR-1", phase=Phase.SERVE, samples=2)
    async def _unknown_path_is_404(bench: Bench) -> Verdict:
        \"\"\"Asks for paths that cannot exist, below the base path of the API.\"\"\"
        known = await bench.get(bench.manifest.health.live)
        bench.control("a known path is answered otherwise", known.ok)
        for path in (bench.unknown_path(), bench.unknown_path() + "/"):
            answer = await bench.get(path)
            bench.sample()
            if answer.status != 404:
                bench.fail("an unknown path is not 404", "404", str(answer), answer)
            elif "json" not in answer.media_type:
                bench.warn("a 404 is no JSON", "application/problem+json", answer.media_type, answer)
        return bench.verdict()

1. **The docstring is the text users read** under "how it is probed" in ``roadworthy explain``.
2. **No control, no pass.** ``bench.control(text, holds)`` says what shows that a violation would have been
   seen (the allowed origin is granted, one 429 was seen, the counter moves). When it does not hold the probe
   ends at once as inconclusive; a probe that never called it cannot pass.
3. **No samples, no pass.** ``bench.sample()`` counts each thing that was judged; fewer than the ``samples``
   of the decorator are inconclusive.
4. ``bench.fail`` and ``bench.warn`` add a finding and return the verdict so far, so ``return
   bench.fail(...)`` works as well as going on. ``bench.expect(holds, ...)`` adds one unless it holds. Hand
   over the answers: they become evidence and the command to replay. ``severity=`` makes one case milder or
   worse.
5. ``needs=(Need.READ, Need.COMMAND)``: what is missing makes the result n/a or inconclusive without running
   you.
6. ``bench.inconclusive(why)`` and ``bench.not_applicable(why)`` are returned; never guess a pass.
7. **Phases** (:data:`PHASES`): in a *shared* phase ``bench.target`` is the one process of all probes of the
   phase, so leave it as you found it. Start your own with ``async with bench.launch(draining=True) as
   target:``; in the phases that are not shared this is the only way.
8. What several probes of a phase need once: ``facts = await bench.shared(collect)`` with
   ``async def collect(bench: Bench) -> Facts``.
9. Prefer counts and order to times; a deadline is at least ``bench.patience(seconds)``, which is scaled by
   the calibration. Touch only what you created (``bench.create()``).
10. Each probe has twins in ``tests/zoo``: an app that passes and one that fails it. Without, it is not
    shipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, TypeAlias

from ..checklist import Assertion, assertion
from .manifest import Manifest
from .verdict import Verdict

if TYPE_CHECKING:
    from .bench import Bench

__all__ = ("PHASES", "Need", "Phase", "PhasePlan", "Probe", "ProbeFunction", "Profile", "probe")

ProbeFunction: TypeAlias = "Callable[[Bench], Awaitable[Verdict]]"


class Profile(StrEnum):
    """How much is done: ``quick`` leaves out load, faults, waiting and series of starts, and says so."""

    QUICK = "quick"
    FULL = "full"


class Phase(Enum):
    """When a probe runs, and on which process; the order of a run is the order here."""

    START = "start"
    SERVE = "serve"
    SHUTDOWN = "shutdown"
    FAULTS = "faults"
    LIMITS = "limits"
    WORKERS = "workers"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """How a phase is run.

    Parameters:
        shared: its probes share one process, which is fresh for the phase.
        width: how many of its probes run at the same time.
        alone: nothing else runs meanwhile, because it makes load or measures times.
        limited: its process has the shorter rate limit of the manifest.
        why: the reason for this.
    """

    title: str
    shared: bool
    width: int
    alone: bool
    limited: bool
    why: str


PHASES: dict[Phase, PhasePlan] = {
    Phase.START: PhasePlan(
        "starts", False, 2, False, False, "each probe starts the service with another environment"
    ),
    Phase.SERVE: PhasePlan(
        "serving", True, 1, False, False, "ordinary traffic, one probe after the other, below the limit"
    ),
    Phase.FAULTS: PhasePlan(
        "faults", True, 1, False, False, "the store is broken and repaired, so nobody else may use it"
    ),
    Phase.LIMITS: PhasePlan(
        "limits", True, 1, False, True, "uses up the client's budget, so it has a process to itself"
    ),
    Phase.WORKERS: PhasePlan("workers", False, 1, False, False, "several worker processes"),
    Phase.SHUTDOWN: PhasePlan("shutdown", False, 3, False, False, "each probe stops a process of its own"),
    Phase.LOAD: PhasePlan(
        "load", True, 1, True, False, "makes load and measures times: nothing runs beside it"
    ),
}


class Need(Enum):
    """A fact without which a probe cannot begin: what it is called, and what its absence means."""

    COMMAND = "a command that starts the service (start.command)"
    PORT_ENV = "a variable that sets the port (listen.port_env)"
    LIVE = "a liveness path (health.live)"
    READY = "a readiness path (health.ready)"
    CREATE = "a route that creates (routes.create)"
    READ = "a route that reads what was created (routes.read)"
    LIST = "a route that lists (routes.list)"
    UPDATE = "a route that changes (routes.update)"
    DELETE = "a route that deletes (routes.delete)"
    SLOW = "a slow route (routes.slow)"
    FAILS = "a route that raises (routes.fails)"
    LARGE = "a route with a large answer (routes.large)"
    STREAM = "a route that streams (routes.stream)"
    CHILD_CREATE = "a route that creates below a resource (routes.child_create)"
    CHILD_LIST = "a route that lists below a resource (routes.child_list)"
    OVERVIEW = "a route that reads two things at once (routes.overview)"
    BATCH = "a route that reads many at once (routes.batch)"
    TRANSFERS = "a route that changes several rows (routes.transfers)"
    PRIMES = "a route that computes (routes.primes)"
    STORE = "a store whose address a variable sets (database.kind, database.env)"
    METRICS = "a metrics endpoint (metrics.path)"
    RATE_LIMIT = "a rate limit (rate_limit.requests, rate_limit.window)"
    CORS_ORIGINS = "the origins that are allowed (cors.origins, or cors.policy for none and for all)"
    COMPRESSION = "compression by the service itself"
    WORKERS = "a variable that sets the number of workers (workers.env)"
    LOG_LEVEL = "a variable that sets the log level (env.log_level)"
    SECRETS = "variables that are secret (env.secret)"
    REQUIRED_ENV = "variables that are required (env.required)"

    def missing(self, manifest: Manifest) -> tuple[Verdict, str] | None:
        """Return the verdict and the reason when the manifest lacks this, else None."""
        if _present(self, manifest):
            return None
        declared = _declared_absent(self, manifest)
        if declared:
            return Verdict.NOT_APPLICABLE, declared
        if self is Need.COMMAND:
            return Verdict.NOT_APPLICABLE, f"needs {self.value}"
        if self in _PATTERN_ROUTES:
            return Verdict.NOT_APPLICABLE, f"the manifest does not declare {self.value}"
        return Verdict.INCONCLUSIVE, f"needs {self.value}, which is neither declared nor could be inferred"


_PATTERN_ROUTES = {
    Need.CHILD_CREATE,
    Need.CHILD_LIST,
    Need.OVERVIEW,
    Need.BATCH,
    Need.TRANSFERS,
    Need.PRIMES,
}
_ROUTE_NEEDS = {
    Need.CREATE,
    Need.READ,
    Need.LIST,
    Need.UPDATE,
    Need.DELETE,
    Need.SLOW,
    Need.FAILS,
    Need.LARGE,
    Need.STREAM,
    *_PATTERN_ROUTES,
}


def _present(need: Need, manifest: Manifest) -> bool:
    if need in _ROUTE_NEEDS:
        return need.name.lower() in manifest.routes.by_role
    limit, check = manifest.rate_limit, manifest.check
    held = {
        Need.COMMAND: manifest.startable,
        Need.PORT_ENV: manifest.listen.port_env,
        Need.LIVE: manifest.health.live,
        Need.READY: manifest.health.ready,
        Need.STORE: manifest.database.kind not in {"", "none"} and manifest.database.env,
        Need.METRICS: manifest.metrics.path and not manifest.metrics.push,
        Need.RATE_LIMIT: (check.requests or limit.requests)
        and (check.window or limit.window)
        and not limit.off,
        Need.CORS_ORIGINS: manifest.cors.origins or manifest.cors.policy == "public",
        Need.COMPRESSION: manifest.compression != "upstream",
        Need.WORKERS: manifest.workers.env,
        Need.LOG_LEVEL: manifest.env.log_level,
        Need.SECRETS: manifest.env.secret,
        Need.REQUIRED_ENV: manifest.env.required,
    }
    return bool(held[need])


def _declared_absent(need: Need, manifest: Manifest) -> str:
    """Return the declaration by which the service does without, or nothing."""
    declarations = {
        Need.STORE: (manifest.database.kind == "none", 'database.kind = "none"'),
        Need.METRICS: (manifest.metrics.push, "metrics.push = true"),
        Need.RATE_LIMIT: (manifest.rate_limit.off, "rate_limit.off = true"),
        Need.CORS_ORIGINS: (manifest.cors.policy == "none", 'cors.policy = "none"'),
        Need.COMPRESSION: (manifest.compression == "upstream", 'compression = "upstream"'),
        # An empty list that somebody wrote down is a statement; one that is not there is none.
        Need.SECRETS: ("env.secret" in manifest.lines, "env.secret = []"),
        Need.REQUIRED_ENV: ("env.required" in manifest.lines, "env.required = []"),
    }
    holds, declaration = declarations.get(need, (False, ""))
    return f"the manifest says {declaration}" if holds else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One registered probe.

    Parameters:
        samples: the fewest judged samples for a pass.
        quick: whether it belongs to the quick profile.
        seconds: its deadline; what is not done by then is inconclusive.
        how: how it is probed, for people; the function's docstring.
    """

    assertion: Assertion
    phase: Phase
    run: ProbeFunction
    needs: tuple[Need, ...] = ()
    samples: int = 1
    quick: bool = True
    seconds: float = 60.0
    how: str = ""


def probe(
    assertion_id: str,
    *,
    phase: Phase,
    needs: tuple[Need, ...] = (),
    samples: int = 1,
    quick: bool = True,
    seconds: float = 60.0,
) -> Callable[[ProbeFunction], Probe]:
    """Make a probe of an async function; see the module's text for how it is written.

    Raises:
        LookupError: the catalogue has no such assertion.
    """

    def made(function: ProbeFunction) -> Probe:
        return Probe(
            assertion=assertion(assertion_id),
            phase=phase,
            run=function,
            needs=needs,
            samples=samples,
            quick=quick,
            seconds=seconds,
            how=" ".join((function.__doc__ or "").split()),
        )

    return made
