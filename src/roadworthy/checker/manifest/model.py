"""``roadworthy.toml``: what a check knows about the service by declaration. Every section may be left out.

Without a manifest, what can be seen from outside is inferred (:mod:`roadworthy.checker.manifest.infer`),
which is also how ``roadworthy check init`` writes one. What is neither declared nor inferred makes the
assertions that need it inconclusive, or, where the manifest declares that the service works without it, not
applicable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic.dataclasses import dataclass

from ..verdict import Waiver
from .routes import STRICT, Routes, with_roles
from .values import (
    AssertionId,
    Bytes,
    Day,
    FieldLine,
    Flag,
    LoopbackUrl,
    Positive,
    Reason,
    Role,
    Seconds,
    Statuses,
    Variables,
    at_least,
)

__all__ = (
    "Auth",
    "CheckOverlay",
    "Cors",
    "Database",
    "Declaration",
    "Env",
    "Health",
    "LimitOverlay",
    "Limits",
    "Listen",
    "Logs",
    "Manifest",
    "ManifestFile",
    "Metrics",
    "RateLimit",
    "Ready",
    "Shutdown",
    "ShutdownOverlay",
    "Start",
    "WaiverEntry",
    "Workers",
)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Start:
    """``[start]``: how the service is started.

    Parameters:
        command: program and arguments; ``{port}`` stands for the port where no variable sets it.
        probe_command: an entry point that has routes made for the check too (``slow``, ``fails``,
            ``stream``); used for everything but the assertions about the production command itself.
        cwd: working folder, from the manifest's own.
        grace: seconds from the stop signal to the kill, as the orchestrator has it.
        data: files and folders, seen from the working folder, in which the service keeps data: each start
            works on copies of them.
        url: where it runs already, instead of a command.
    """

    command: tuple[str, ...] = ()
    probe_command: tuple[str, ...] = ()
    cwd: str = "."
    shell: Flag = False
    stop_signal: Literal["TERM", "INT", "QUIT"] = "TERM"
    grace: Seconds = 30.0
    data: tuple[str, ...] = ()
    url: LoopbackUrl = ""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Listen:
    """``[listen]``: where the service listens.

    Parameters:
        port_env: the variable that sets the port.
        port: the port, where it cannot be set.
        ports: further variables that each get a free port of their own (an operations listener).
    """

    protocol: Literal["http"] = "http"
    host: str = "127.0.0.1"
    port_env: str = ""
    port: Positive | None = None
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Ready:
    """``[ready]``: when the start is over. Without a path, any answer on the port will do."""

    path: str = ""
    status: Statuses = (200, 299)
    timeout: Seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Health:
    """``[health]``: the paths of liveness and readiness, and what readiness depends on.

    Parameters:
        requires: dependencies without which readiness is negative (``db``); None when undeclared.
    """

    live: str = ""
    ready: str = ""
    requires: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Env:
    """``[env]``: the variables of the service.

    Parameters:
        set: values for the check; ``${NAME}`` and ``${NAME:-default}`` take the checker's own variable.
        required: variables without which it must not start.
        secret: variables whose values must never be shown.
        optional: further variables that it documents.
        log_level: the variable that sets the level.
    """

    set: Variables = field(default_factory=dict[str, str])
    required: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    log_level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Workers:
    """``[workers]``: the variable that sets their number, and the number to test with."""

    env: str = ""
    test: Annotated[int, at_least(2)] = 2


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Auth:
    """``[auth]``: the field that authenticates a request, ``Authorization: Bearer ${TOKEN}``."""

    header: FieldLine = ""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limits:
    """``[limits]``: the largest body in bytes, and the longest a request may take in seconds."""

    body: Bytes | None = None
    request_timeout: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RateLimit:
    """``[rate_limit]``: ``requests`` per ``window`` on the route of the role ``route``, or ``off``.

    Parameters:
        kind: ``window`` (fixed or sliding) or ``bucket`` (refilled evenly).
        key: what identifies a client: ``ip``, or the name of a request field.
        off: the service does without a limit of its own.
    """

    route: Role = "list"
    requests: Positive | None = None
    window: Seconds | None = None
    kind: Literal["", "window", "bucket"] = ""
    key: str = "ip"
    trusted_proxy_hops: Annotated[int, at_least(0)] = 0
    off: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Cors:
    """``[cors]``: ``none``, ``public``, or the allowed origins; empty when undeclared."""

    policy: Literal["", "none", "public", "origins"] = ""
    origins: tuple[str, ...] = ()
    credentials: Flag = False

    def __post_init__(self) -> None:
        """Let a list of origins imply the policy."""
        if self.origins and not self.policy:
            object.__setattr__(self, "policy", "origins")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Database:
    """``[database]``: the store behind the service.

    Parameters:
        kind: ``postgres``, ``mysql``, ``redis``, ``tcp``, ``sqlite``, or ``none``; by default the URL's, and
            empty where no variable holds one.
        env: the variable that holds its URL.
        url: the URL for the check; else the value of the variable. ``${NAME:-default}`` takes one of the
            checker's own, and the default without it.
        file: the file of an SQLite database, where no variable names it.
        pool_max: the most connections of one process.
        pool_timeout: how long a request waits for one of them, in seconds.
        max_connections: what the server admits in all, where it cannot be asked.
        setup: a command that prepares an empty database, run before each start with the same environment.
        also: URLs of further stores that the service supports and on which it has to behave the same; one
            that is the store of the check itself does not count.
    """

    kind: Literal["", "postgres", "mysql", "redis", "tcp", "sqlite", "none"] = ""
    env: str = ""
    url: str = ""
    file: str = ""
    pool_max: Positive | None = None
    pool_timeout: Seconds | None = None
    max_connections: Positive | None = None
    setup: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Metrics:
    """``[metrics]``: where they are scraped.

    Parameters:
        port_env: the variable of ``listen.ports`` whose port serves them; the public port when empty.
        requests: the counter of requests.
        push: they are pushed, or there are none to scrape.
        public: it is meant that they stand on the public listener.
    """

    path: str = ""
    port_env: str = ""
    requests: str = ""
    push: Flag = False
    public: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Logs:
    """``[logs]``: ``json``, ``logfmt`` or ``text``; a file instead of the streams, where there is one.

    Parameters:
        access: the service writes a record of each request; false where only a proxy in front of it does.
    """

    format: Literal["json", "logfmt", "text"] = "json"
    file: str = ""
    access: Flag = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Shutdown:
    """``[shutdown]``: ``lame-duck`` serves on while readiness is negative, ``stop`` closes at once.

    Parameters:
        drain_delay: seconds from the signal to the closing of the listener.
        strict_exit: only status 0 is clean.
    """

    style: Literal["", "lame-duck", "stop"] = ""
    drain_delay: Seconds | None = None
    strict_exit: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LimitOverlay:
    """``[check.rate_limit]``: a shorter limit, for the phases that are about it."""

    env: Variables = field(default_factory=dict[str, str])
    requests: Positive | None = None
    window: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ShutdownOverlay:
    """``[check.shutdown]``: a shorter drain, for the phases that are about it."""

    env: Variables = field(default_factory=dict[str, str])
    drain_delay: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CheckOverlay:
    """``[check]``: what is different during the check, so that it takes less time. Every report shows it.

    Parameters:
        env: for every start.
    """

    env: Variables = field(default_factory=dict[str, str])
    rate_limit: LimitOverlay = field(default_factory=LimitOverlay)
    shutdown: ShutdownOverlay = field(default_factory=ShutdownOverlay)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class WaiverEntry:
    """``[[waivers]]``: a decision to live with findings, see :class:`~roadworthy.checker.verdict.Waiver`."""

    id: AssertionId
    reason: Reason
    route: str = ""
    expires: Day = ""
    owner: str = ""
    state: Literal["accepted", "in-progress", "false-positive"] = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Declaration:
    """What a manifest may say, section by section."""

    version: Positive = 1
    start: Start = field(default_factory=Start)
    listen: Listen = field(default_factory=Listen)
    ready: Ready = field(default_factory=Ready)
    health: Health = field(default_factory=Health)
    env: Env = field(default_factory=Env)
    workers: Workers = field(default_factory=Workers)
    auth: Auth = field(default_factory=Auth)
    openapi: str = ""
    base: Annotated[str, AfterValidator(lambda path: path.rstrip("/"))] = ""
    compression: Literal["", "upstream", "on"] = ""
    routes: Annotated[Routes, BeforeValidator(with_roles)] = field(default_factory=Routes)
    limits: Limits = field(default_factory=Limits)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    cors: Cors = field(default_factory=Cors)
    database: Database = field(default_factory=Database)
    metrics: Metrics = field(default_factory=Metrics)
    logs: Logs = field(default_factory=Logs)
    shutdown: Shutdown = field(default_factory=Shutdown)
    check: CheckOverlay = field(default_factory=CheckOverlay)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ManifestFile(Declaration):
    """``roadworthy.toml`` as it is written.

    Parameters:
        rules: rules of single routes, which ``roadworthy run`` reads and judges: no matter of the check.
    """

    waivers: tuple[WaiverEntry, ...] = ()
    rules: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Manifest(Declaration):
    """What was declared, and in ``inferred`` what the check found out by itself, with the evidence.

    Parameters:
        folder, file, text: where the manifest stands, its name and its text.
        lines: the line of each key, by its dotted path.
        inferred: how each inferred value was seen, by its dotted path.
    """

    waivers: tuple[Waiver, ...] = ()
    folder: Path = field(default_factory=Path.cwd)
    file: str = ""
    text: str = ""
    lines: Mapping[str, int] = field(default_factory=dict[str, int])
    inferred: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def startable(self) -> bool:
        """Whether the check can start the service itself."""
        return bool(self.start.command)

    @property
    def movable(self) -> bool:
        """Whether each start can have a port of its own, so that several can run at the same time.

        A service that runs already is one process, whatever variable set its port.
        """
        has_variable = bool(self.listen.port_env) or any("{port}" in word for word in self.start.command)
        return self.startable and has_variable

    def line(self, path: str) -> int:
        """Return the manifest's line for a dotted path or the nearest table around it; 0 when none."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 0)
