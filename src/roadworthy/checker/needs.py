"""The facts about a service without which a probe cannot begin, and what the absence of each means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .manifest.model import Manifest
from .verdict import Verdict

__all__ = ("Need", "Unmet", "unmet")


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

    @property
    def key(self) -> str:
        """The first key to declare for it, by its dotted path; empty for what is there unless denied."""
        return f"routes.{self.name.lower()}" if self in _ROUTE_NEEDS else _KEYS.get(self, "")

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


@dataclass(frozen=True, slots=True)
class Unmet:
    """Why a probe is not begun.

    Parameters:
        undeclared: the keys of the manifest with which it would be; none where a declaration rules it out.
    """

    verdict: Verdict
    reason: str
    undeclared: tuple[str, ...] = ()


def unmet(needs: Iterable[Need], manifest: Manifest) -> Unmet | None:
    """Return what a manifest lacks of the needs of one probe, or None when all are met.

    What the manifest denies decides before what it does not mention: no further line would change it.
    """
    missing = [(need, *found) for need in needs if (found := need.missing(manifest))]
    for need, verdict, reason in missing:
        if _declared_absent(need, manifest):
            return Unmet(verdict, reason)
    if not missing:
        return None
    _, verdict, reason = missing[0]
    return Unmet(verdict, reason, tuple(need.key for need, *_ in missing))


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
_KEYS = {
    Need.COMMAND: "start.command",
    Need.PORT_ENV: "listen.port_env",
    Need.LIVE: "health.live",
    Need.READY: "health.ready",
    Need.STORE: "database.env",
    Need.METRICS: "metrics.path",
    Need.RATE_LIMIT: "rate_limit.requests",
    Need.CORS_ORIGINS: "cors.origins",
    Need.WORKERS: "workers.env",
    Need.LOG_LEVEL: "env.log_level",
    Need.SECRETS: "env.secret",
    Need.REQUIRED_ENV: "env.required",
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
        Need.RATE_LIMIT: (check.rate_limit.requests or limit.requests)
        and (check.rate_limit.window or limit.window)
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
        # An explicit empty value is a declaration; a missing key is not.
        Need.WORKERS: ("workers.env" in manifest.lines, 'workers.env = "", one process by design'),
        Need.SECRETS: ("env.secret" in manifest.lines, "env.secret = []"),
        Need.REQUIRED_ENV: ("env.required" in manifest.lines, "env.required = []"),
    }
    holds, declaration = declarations.get(need, (False, ""))
    return f"the manifest declares {declaration}" if holds else ""
