"""``roadworthy.toml``: what a check is told about the service. Every section may be left out.

Without a manifest, what can be seen from outside is inferred (:mod:`roadworthy.checker.manifest.infer`),
which is also how ``roadworthy check init`` writes one. What is neither declared nor inferred makes the
assertions that need it inconclusive, or, where the manifest says that the service does without, not
applicable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...checklist import ASSERTIONS
from ..errors import ManifestError
from ..verdict import Waiver
from .read import Document, Section, near

__all__ = (
    "Auth",
    "CheckOverlay",
    "Cors",
    "Database",
    "Env",
    "Health",
    "Limits",
    "Listen",
    "Logs",
    "Manifest",
    "Metrics",
    "RateLimit",
    "Ready",
    "Route",
    "Routes",
    "Shutdown",
    "Start",
    "Workers",
    "for_target",
    "load_manifest",
    "parse_manifest",
)

_NAME = "roadworthy.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """``[start]``: how the service is started.

    Parameters:
        command: program and arguments; ``{port}`` stands for the port where no variable sets it.
        probe_command: an entry point that has routes made for the check too (``slow``, ``fails``,
            ``stream``); used for everything but the assertions about the production command itself.
        cwd: working folder, from the manifest's own.
        grace: seconds from the stop signal to the kill, as the orchestrator has it.
        url: where it runs already, instead of a command.
    """

    command: tuple[str, ...] = ()
    probe_command: tuple[str, ...] = ()
    cwd: str = "."
    shell: bool = False
    stop_signal: str = "TERM"
    grace: float = 30.0
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """``[listen]``: where the service listens.

    Parameters:
        port_env: the variable that sets the port.
        port: the port, where it cannot be set.
        ports: further variables that each get a free port of their own (an operations listener).
    """

    host: str = "127.0.0.1"
    port_env: str = ""
    port: int | None = None
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """``[ready]``: when the start is over. Without a path, any answer on the port will do."""

    path: str = ""
    statuses: tuple[int, int] = (200, 299)
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``[health]``: the paths of liveness and readiness, and what readiness depends on.

    Parameters:
        requires: dependencies without which readiness is negative (``db``); None when undeclared.
    """

    live: str = ""
    ready: str = ""
    requires: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """``[env]``: the variables of the service.

    Parameters:
        set: values for the check; ``${NAME}`` takes the checker's own variable.
        required: variables without which it must not start.
        secret: variables whose values must never be shown.
        optional: further variables that it documents.
        log_level: the variable that sets the level.
    """

    set: Mapping[str, str] = field(default_factory=dict[str, str])
    required: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    log_level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """``[workers]``: the variable that sets their number, and the number to test with."""

    env: str = ""
    test: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """``[auth]``: the field that authenticates a request, ``Authorization: Bearer ${TOKEN}``."""

    header: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of ``[routes]``.

    Parameters:
        method: ``GET`` unless the role says otherwise.
        path: with ``{id}`` where an id goes.
        body: JSON; ``{unique}`` in a text becomes something that was never sent before, and the text
            ``{number}`` a whole number that was not (for clients that choose the id themselves).
        id: where a created resource's id stands, ``$.id``; for the other routes the id of a resource that is
            always there (``1``), for services on which none can be created.
        status: the success status, where it is not obvious.
        headers: further fields to send.
        message: the text of the exception that ``fails`` raises, which no client may read; ``{canary}`` in
            its path is replaced by one where the service can be told what to raise.
    """

    role: str
    method: str
    path: str
    body: Any = None
    id: str = "$.id"
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    message: str = ""
    line: int = 0

    @property
    def literal(self) -> str:
        """The id of a resource that is always there; empty when none is declared."""
        return "" if self.id.startswith("$") else self.id

    def __str__(self) -> str:
        """Return ``GET /items/{id}``."""
        return f"{self.method} {self.path}"


_ROLES = {
    "create": "POST",
    "read": "GET",
    "list": "GET",
    "update": "PUT",
    "delete": "DELETE",
    "slow": "GET",
    "fails": "GET",
    "large": "GET",
    "stream": "GET",
    "html": "GET",
    "binary": "GET",
    "login": "POST",
    "child_create": "POST",
    "child_read": "GET",
    "child_list": "GET",
    "overview": "GET",
    "batch": "POST",
    "transfers": "POST",
    "primes": "GET",
}


@dataclass(frozen=True, slots=True)
class Routes:
    """``[routes.*]``: the routes by the part they play; None where a part is not played.

    ``create``, ``read``, ``list``, ``update`` and ``delete`` are of one resource; ``child_*`` of another that
    belongs to it (``{id}`` is the parent). ``slow`` takes at least two seconds, ``fails`` raises, ``large``
    answers at least 8 KiB of text, ``stream`` sends events, ``html`` is a page, ``binary`` answers with what
    is compressed already (an image). ``overview``, ``batch``, ``transfers`` and ``primes`` are those of the
    code patterns.
    """

    by_role: Mapping[str, Route] = field(default_factory=dict[str, Route])

    def __getattr__(self, role: str) -> Route | None:
        """Return the route of a role."""
        if role not in _ROLES:
            raise AttributeError(role)
        return self.by_role.get(role)

    def __iter__(self) -> Iterator[Route]:
        """Yield the declared routes."""
        return iter(self.by_role.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``[limits]``: the largest body in bytes, and the longest a request may take in seconds."""

    body: int | None = None
    request_timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """``[rate_limit]``: ``requests`` per ``window`` on the route of the role ``route``, or ``off``.

    Parameters:
        kind: ``window`` (fixed or sliding) or ``bucket`` (refilled evenly).
        key: what is told apart: ``ip``, or the name of a request field.
        off: the service does without a limit of its own.
    """

    route: str = "list"
    requests: int | None = None
    window: float | None = None
    kind: str = ""
    key: str = "ip"
    trusted_proxy_hops: int = 0
    off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """``[cors]``: ``none``, ``public``, or the allowed origins; empty when undeclared."""

    policy: str = ""
    origins: tuple[str, ...] = ()
    credentials: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """``[database]``: the store behind the service.

    Parameters:
        kind: ``postgres``, ``mysql``, ``redis``, ``tcp``, ``sqlite``, or ``none``; empty when undeclared.
        env: the variable that holds its URL.
        url: the URL for the check; else the value of the variable.
        file: the file of an SQLite database, where no variable names it.
        pool_max: the most connections of one process.
        pool_timeout: how long a request waits for one of them, in seconds.
        max_connections: what the server admits in all, where it cannot be asked.
        setup: a command that prepares an empty database, run before each start with the same environment.
        also: URLs of further stores that the service supports and on which it has to behave the same.
    """

    kind: str = ""
    env: str = ""
    url: str = ""
    file: str = ""
    pool_max: int | None = None
    pool_timeout: float | None = None
    max_connections: int | None = None
    setup: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
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
    push: bool = False
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """``[logs]``: ``json``, ``logfmt`` or ``text``; a file instead of the streams, where there is one.

    Parameters:
        access: the service writes a record of each request; false where only a proxy in front of it does.
    """

    format: str = "json"
    file: str = ""
    access: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """``[shutdown]``: ``lame-duck`` serves on while readiness is negative, ``stop`` closes at once.

    Parameters:
        drain_delay: seconds from the signal to the closing of the listener.
        strict_exit: only status 0 is clean.
    """

    style: str = ""
    drain_delay: float | None = None
    strict_exit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOverlay:
    """``[check]``: what is different during the check, so that it takes less time. Every report shows it.

    Parameters:
        env: for every start.
        rate_limit_env, requests, window: a shorter limit, for the phases that are about it.
        shutdown_env, drain_delay: a shorter drain, for the phases that are about it.
    """

    env: Mapping[str, str] = field(default_factory=dict[str, str])
    rate_limit_env: Mapping[str, str] = field(default_factory=dict[str, str])
    requests: int | None = None
    window: float | None = None
    shutdown_env: Mapping[str, str] = field(default_factory=dict[str, str])
    drain_delay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a check is told, and in ``inferred`` what it found out by itself, with the evidence."""

    folder: Path = field(default_factory=Path.cwd)
    file: str = ""
    text: str = ""
    lines: Mapping[str, int] = field(default_factory=dict[str, int])
    start: Start = field(default_factory=Start)
    listen: Listen = field(default_factory=Listen)
    ready: Ready = field(default_factory=Ready)
    health: Health = field(default_factory=Health)
    env: Env = field(default_factory=Env)
    workers: Workers = field(default_factory=Workers)
    auth: Auth = field(default_factory=Auth)
    openapi: str = ""
    base: str = ""
    compression: str = ""
    routes: Routes = field(default_factory=Routes)
    limits: Limits = field(default_factory=Limits)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    cors: Cors = field(default_factory=Cors)
    database: Database = field(default_factory=Database)
    metrics: Metrics = field(default_factory=Metrics)
    logs: Logs = field(default_factory=Logs)
    shutdown: Shutdown = field(default_factory=Shutdown)
    check: CheckOverlay = field(default_factory=CheckOverlay)
    waivers: tuple[Waiver, ...] = ()
    inferred: Mapping[str, str] = field(default_factory=dict[str, str])
    """Dotted path of each inferred value → how it was seen."""

    @property
    def startable(self) -> bool:
        """Whether the check can start the service itself."""
        return bool(self.start.command)

    @property
    def movable(self) -> bool:
        """Whether each start can have a port of its own, so that several can run at the same time."""
        return bool(self.listen.port_env) or any("{port}" in word for word in self.start.command)

    def line(self, path: str) -> int:
        """Return the manifest's line for a dotted path or the nearest table around it; 0 when none."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 0)


def load_manifest(file: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it cannot be read, or has mistakes; every one of them is named with its line.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot read {file}: {error}") from None
    return parse_manifest(text, file.name, file.resolve().parent)


def parse_manifest(text: str, name: str = _NAME, folder: Path | None = None) -> Manifest:
    """Read a manifest from its text.

    Raises:
        ManifestError: it has mistakes; every one of them is named with its line.
    """
    document = Document.parse(text, name)
    manifest = Manifest()
    if not document.mistakes:
        top = Section(document, "", document.data)
        manifest = _read(top)
        top.finish()
        _check_together(manifest, document)
    if document.mistakes:
        raise ManifestError(document.report())
    return replace(manifest, folder=folder or Path.cwd(), file=name, text=text, lines=document.lines)


def for_target(target: Sequence[str], manifest: Manifest) -> Manifest:
    """Return the manifest with its target replaced by what stood on the command line.

    Parameters:
        target: ``["http://127.0.0.1:8000"]``, ``["main:app"]``, or a command and its arguments.

    Raises:
        ManifestError: it is none of them.
    """
    if not target:
        if not manifest.start.command and not manifest.start.url:
            raise ManifestError(
                "nothing to check: name a target (roadworthy check main:app, roadworthy check -- node "
                f"server.js, roadworthy check http://127.0.0.1:8000) or set start.command in {_NAME}"
            )
        return manifest
    first = target[0]
    if len(target) == 1 and first.startswith(("http://", "https://")):
        return replace(manifest, start=replace(manifest.start, url=_loopback_url(first), command=()))
    if len(target) == 1 and _is_application(first):
        start = replace(
            manifest.start,
            command=(sys.executable, "-m", "roadworthy", "run", first),
            url="",
            probe_command=(),
        )
        listen = manifest.listen
        if not listen.port_env:
            listen = replace(listen, port_env="PORT", ports=listen.ports or ("OPS_PORT",))
        return replace(manifest, start=start, listen=listen)
    return replace(manifest, start=replace(manifest.start, command=tuple(target), url="", probe_command=()))


def _is_application(word: str) -> bool:
    module, colon, name = word.partition(":")
    return bool(colon) and module.replace(".", "_").isidentifier() and name.replace(".", "_").isidentifier()


def _loopback_url(text: str) -> str:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or parts.hostname is None or port is None:
        raise ManifestError(f"{text} is not of the form http://127.0.0.1:8000 (plain HTTP, with a port)")
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"} and not parts.hostname.startswith("127."):
        raise ManifestError(
            f"{parts.hostname} is not this machine; the check sends faults and load, and only does so to "
            "loopback addresses. Run it where the service runs"
        )
    return text.rstrip("/")


def _read(top: Section) -> Manifest:
    top.count("version", 1, least=1)
    openapi, base = top.text("openapi"), top.text("base").rstrip("/")
    compression = top.text("compression", choices=("upstream", "on"))
    routes = _routes(top.section("routes"))
    check = top.section("check")
    found: dict[str, Any] = {}
    for key, read in _SECTIONS.items():
        section = top.section(key)
        found[key] = read(section)
        section.finish()
    overlay = _overlay(check)
    check.finish()
    waivers = tuple(_waiver(section) for section in top.sections("waivers"))
    return Manifest(
        openapi=openapi,
        base=base,
        compression=compression,
        routes=routes,
        check=overlay,
        waivers=waivers,
        **found,
    )


def _start(section: Section) -> Start:
    url = section.text("url")
    if url:
        try:
            url = _loopback_url(url)
        except ManifestError as error:
            section.wrong("url", str(error))
    return Start(
        command=section.texts("command"),
        probe_command=section.texts("probe_command"),
        cwd=section.text("cwd", "."),
        shell=section.flag("shell"),
        stop_signal=section.text("stop_signal", "TERM", ("TERM", "INT", "QUIT")),
        grace=section.seconds("grace", 30.0) or 30.0,
        url=url,
    )


def _listen(section: Section) -> Listen:
    section.text("protocol", "http", ("http",))
    return Listen(
        host=section.text("host", "127.0.0.1"),
        port_env=section.text("port_env"),
        port=section.count("port", least=1),
        ports=section.texts("ports"),
    )


def _ready(section: Section) -> Ready:
    text = section.text("status", "200-299")
    low, _, high = text.partition("-")
    statuses = (200, 299)
    if low.isdecimal() and (high or low).isdecimal():
        statuses = (int(low), int(high or low))
    else:
        section.wrong("status", 'has to be a status or a range of them, "200-299"')
    timeout = section.seconds("timeout", 30.0) or 30.0
    return Ready(path=section.text("path"), statuses=statuses, timeout=timeout)


def _health(section: Section) -> Health:
    requires = section.texts("requires") if "requires" in section.data else None
    section.texts("requires")
    return Health(live=section.text("live"), ready=section.text("ready"), requires=requires)


def _env(section: Section) -> Env:
    return Env(
        set=section.mapping("set"),
        required=section.texts("required"),
        secret=section.texts("secret"),
        optional=section.texts("optional"),
        log_level=section.text("log_level"),
    )


def _workers(section: Section) -> Workers:
    return Workers(env=section.text("env"), test=section.count("test", 2, least=2) or 2)


def _auth(section: Section) -> Auth:
    header = section.text("header")
    if header and not header.partition(":")[2].strip():
        section.wrong("header", 'has to be a field with its value, "Authorization: Bearer ${TOKEN}"')
    return Auth(header=header)


def _routes(section: Section) -> Routes:
    found: dict[str, Route] = {}
    for role, method in _ROLES.items():
        entry = section.section(role)
        if not entry.present:
            continue
        path = entry.text("path")
        if not path.startswith("/"):
            entry.wrong("path", "has to begin with /")
        found[role] = Route(
            role=role,
            method=entry.text("method", method).upper(),
            path=path,
            body=entry.anything("body"),
            id=_id(entry),
            status=entry.count("status", least=100),
            headers=entry.mapping("headers"),
            message=entry.text("message"),
            line=entry.line(),
        )
        entry.finish()
    section.finish()
    return Routes(found)


def _id(entry: Section) -> str:
    value = entry.anything("id")
    text = "$.id" if value is None else str(value)
    if not isinstance(value, str | int | None) or isinstance(value, bool):
        entry.wrong("id", "has to be a path such as $.id, or an id")
    elif entry.path.rpartition(".")[2] in {"create", "child_create"} and not text.startswith("$"):
        entry.wrong("id", "of a route that creates is where the new id stands in the answer, such as $.id")
    return text


def _limits(section: Section) -> Limits:
    return Limits(body=section.size("body"), request_timeout=section.seconds("request_timeout"))


def _rate_limit(section: Section) -> RateLimit:
    return RateLimit(
        route=section.text("route", "list", _ROLES),
        requests=section.count("requests", least=1),
        window=section.seconds("window"),
        kind=section.text("kind", choices=("window", "bucket")),
        key=section.text("key", "ip"),
        trusted_proxy_hops=section.count("trusted_proxy_hops", 0) or 0,
        off=section.flag("off"),
    )


def _cors(section: Section) -> Cors:
    origins = section.texts("origins")
    policy = section.text("policy", "origins" if origins else "", ("none", "public", "origins"))
    if policy != "origins" and origins:
        section.wrong("policy", f"{policy} and a list of origins exclude each other")
    if policy == "origins" and not origins:
        section.wrong("origins", "is missing")
    return Cors(policy=policy, origins=origins, credentials=section.flag("credentials"))


def _database(section: Section) -> Database:
    kinds = ("postgres", "mysql", "redis", "tcp", "sqlite", "none")
    return Database(
        kind=section.text("kind", choices=kinds),
        env=section.text("env"),
        url=section.text("url"),
        file=section.text("file"),
        pool_max=section.count("pool_max", least=1),
        pool_timeout=section.seconds("pool_timeout"),
        max_connections=section.count("max_connections", least=1),
        setup=section.texts("setup"),
        also=section.texts("also"),
    )


def _metrics(section: Section) -> Metrics:
    return Metrics(
        path=section.text("path"),
        port_env=section.text("port_env"),
        requests=section.text("requests"),
        push=section.flag("push"),
        public=section.flag("public"),
    )


def _logs(section: Section) -> Logs:
    return Logs(
        format=section.text("format", "json", ("json", "logfmt", "text")),
        file=section.text("file"),
        access=section.flag("access", default=True),
    )


def _shutdown(section: Section) -> Shutdown:
    return Shutdown(
        style=section.text("style", choices=("lame-duck", "stop")),
        drain_delay=section.seconds("drain_delay"),
        strict_exit=section.flag("strict_exit"),
    )


def _overlay(section: Section) -> CheckOverlay:
    limit, shutdown = section.section("rate_limit"), section.section("shutdown")
    found = CheckOverlay(
        env=section.mapping("env"),
        rate_limit_env=limit.mapping("env"),
        requests=limit.count("requests", least=1),
        window=limit.seconds("window"),
        shutdown_env=shutdown.mapping("env"),
        drain_delay=shutdown.seconds("drain_delay"),
    )
    limit.finish()
    shutdown.finish()
    return found


def _waiver(section: Section) -> Waiver:
    known = {entry.id for entry in ASSERTIONS}
    known |= {identifier.rpartition("-")[0] for identifier in known}
    identifier, reason, expires = section.text("id"), section.text("reason"), _expiry(section)
    if identifier not in known:
        section.wrong("id", f"there is no assertion {identifier!r}{near(identifier, known, most=1)}")
    if not reason.strip():
        section.wrong("reason", "is required: say why this is acceptable")
    found = Waiver(
        id=identifier,
        reason=reason,
        route=section.text("route"),
        expires=expires,
        owner=section.text("owner"),
        state=section.text("state", "accepted", ("accepted", "in-progress", "false-positive")),
        line=section.line(),
    )
    section.finish()
    return found


def _expiry(section: Section) -> str:
    value = section.anything("expires")
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        section.wrong("expires", "has to be a date, 2027-01-31")
        return ""


_SECTIONS = {
    "start": _start,
    "listen": _listen,
    "ready": _ready,
    "health": _health,
    "env": _env,
    "workers": _workers,
    "auth": _auth,
    "limits": _limits,
    "rate_limit": _rate_limit,
    "cors": _cors,
    "database": _database,
    "metrics": _metrics,
    "logs": _logs,
    "shutdown": _shutdown,
}


def _check_together(manifest: Manifest, document: Document) -> None:
    if manifest.start.url and manifest.start.command:
        document.wrong("start.url", "and start.command exclude each other")
    if manifest.metrics.port_env and manifest.metrics.port_env not in manifest.listen.ports:
        document.wrong("metrics.port_env", f"{manifest.metrics.port_env} is not one of listen.ports")
    for route in manifest.routes:
        if route.role in {"read", "update", "delete"} and "{id}" not in route.path:
            document.wrong(f"routes.{route.role}.path", "has to have {id} where the id goes")
