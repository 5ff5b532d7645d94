"""What each key of the manifest means, with an example as TOML; docs/manifest.md is made from it.

Types, units and defaults are those of :mod:`.model`. A key of a route is written ``routes.*.path``, one of a
waiver ``waivers.reason``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from .model import ManifestFile
from .routes import Route
from .values import ROLES

__all__ = ("KEYS", "ROLE_MEANINGS", "SECTIONS", "Key", "model_keys")


class Key(NamedTuple):
    """One key.

    Parameters:
        example: its value, as TOML.
        beside: what else has to stand in the manifest for it to be valid.
    """

    meaning: str
    example: str
    beside: str = ""


SECTIONS: Mapping[str, str] = {
    "": "Beside the tables, at the beginning of the file.",
    "start": "How the service is started.",
    "listen": "Where it listens.",
    "ready": "When its start is over. Without a path, any answer on the port will do.",
    "health": "Where it reports liveness and readiness.",
    "env": "The variables of the service.",
    "workers": "Its worker processes.",
    "auth": "What authenticates the requests of the check.",
    "routes.*": "A table for each part that a route plays: `[routes.create]`, `[routes.list]`, …",
    "limits": "What it refuses as too much.",
    "rate_limit": "How many requests of one client it answers.",
    "cors": "Which other origins may read its answers.",
    "database": "The store behind it. The check works on one of its own: see "
    "[what it touches](check.md#what-it-touches).",
    "metrics": "Where its metrics are scraped.",
    "logs": "What it writes to its streams.",
    "shutdown": "How it ends.",
    "check": "What is different during the check, so that it takes less time. Every report shows it.",
    "check.rate_limit": "A shorter limit, for the phases that are about it.",
    "check.shutdown": "A shorter drain, for the phases that are about it.",
    "waivers": "Findings that are accepted, one `[[waivers]]` for each. `roadworthy check waive` adds one.",
}
"""What each table is about."""

KEYS: Mapping[str, Key] = {
    "version": Key("the version of this format", "1"),
    "openapi": Key("the path of its OpenAPI document in JSON", '"/openapi.json"'),
    "base": Key("the path that all its routes begin with", '"/api"'),
    "compression": Key(
        "who compresses: `on` the service itself, `upstream` a proxy in front of it", '"upstream"'
    ),
    "rules": Key("rules of single routes for `roadworthy run`, which reads and judges them", "{}"),
    "start.command": Key(
        "program and arguments; `{port}` stands for the port where no variable sets it",
        '["node", "server.js", "--port", "{port}"]',
    ),
    "start.probe_command": Key(
        "an entry point that has routes made for the check too; used for all that is not about the "
        "production command itself",
        '["node", "probe.js"]',
    ),
    "start.cwd": Key("the working folder, seen from the manifest's own", '"server"'),
    "start.shell": Key("run the command by a shell", "true"),
    "start.stop_signal": Key("the signal that stops it", '"INT"'),
    "start.grace": Key("the time from the stop signal to the kill, as the orchestrator has it", '"20s"'),
    "start.data": Key(
        "files and folders in which it keeps data, seen from its working folder: each start works on copies",
        '["db.json", "uploads"]',
    ),
    "start.url": Key("where it runs already, instead of a command", '"http://127.0.0.1:8000"'),
    "listen.protocol": Key("what it speaks", '"http"'),
    "listen.host": Key("the address that it listens on", '"127.0.0.1"'),
    "listen.port_env": Key("the variable that sets its port", '"PORT"'),
    "listen.port": Key("its port, where it cannot be set", "8000"),
    "listen.ports": Key("further variables that each get a free port of their own", '["OPS_PORT"]'),
    "ready.path": Key("the path that answers when it is ready", '"/readyz"'),
    "ready.status": Key("the status, or the range of them, of such an answer", '"200-299"'),
    "ready.timeout": Key("how long a start may take", '"90s"'),
    "health.live": Key("the path of liveness", '"/livez"'),
    "health.ready": Key("the path of readiness", '"/readyz"'),
    "health.requires": Key("what readiness depends on; an empty list declares that it is nothing", '["db"]'),
    "env.set": Key(
        "variables for the check; `${NAME}` and `${NAME:-default}` take the checker's own",
        '{ APP_ENV = "production", API_KEY = "${API_KEY:-only-for-the-check}" }',
    ),
    "env.required": Key(
        "variables without which it must not start; an empty list declares that none is", '["API_KEY"]'
    ),
    "env.secret": Key(
        "variables whose values must never be shown; an empty list declares that none is", '["API_KEY"]'
    ),
    "env.optional": Key("further variables that it documents", '["LOG_LEVEL"]'),
    "env.log_level": Key("the variable that sets the level of its log", '"LOG_LEVEL"'),
    "workers.env": Key(
        'the variable that sets the number of worker processes; `""`: one process by design',
        '"WEB_CONCURRENCY"',
    ),
    "workers.test": Key("how many to test with", "4"),
    "auth.header": Key("the field that authenticates a request", '"Authorization: Bearer ${TOKEN}"'),
    "routes.*.path": Key("its path, with `{id}` where an id goes", '"/users"'),
    "routes.*.method": Key("its method, where the part that it plays does not imply it", '"PATCH"'),
    "routes.*.body": Key(
        "its JSON body: `{unique}` in a text is replaced by something new, the text `{number}` by a "
        "new whole number",
        '{ name = "Ada {unique}" }',
    ),
    "routes.*.id": Key(
        "where the id of what was created stands in the answer; of other routes, the id of a resource that "
        "is always there",
        '"$.data.id"',
    ),
    "routes.*.status": Key("the status of success, where it is not obvious", "202"),
    "routes.*.headers": Key("further fields to send", '{ X-Tenant = "check" }'),
    "routes.*.message": Key(
        "of `fails`: the text of the exception, which no client may read", '"out of luck"'
    ),
    "limits.body": Key("the largest body that it reads", '"1MiB"'),
    "limits.request_timeout": Key("the longest that a request may take", '"30s"'),
    "rate_limit.route": Key("the part that the route plays on which it is tried", '"create"'),
    "rate_limit.requests": Key("how many requests of one client are answered in a window", "600"),
    "rate_limit.window": Key("the window", '"60s"'),
    "rate_limit.kind": Key("`window` is fixed or slides, `bucket` is refilled evenly", '"bucket"'),
    "rate_limit.key": Key("what identifies a client: `ip`, or the name of a request field", '"X-Api-Key"'),
    "rate_limit.trusted_proxy_hops": Key("how many proxies stand in front of it", "1"),
    "rate_limit.off": Key("it does without a limit of its own", "true"),
    "cors.policy": Key("`none`, `public`, or `origins` for a list", '"public"'),
    "cors.origins": Key("the origins that are allowed", '["https://app.example"]'),
    "cors.credentials": Key("cookies are allowed", "true", 'origins = ["https://app.example"]'),
    "database.kind": Key("what it is; by default what the URL's scheme stands for", '"postgres"'),
    "database.env": Key("the variable that holds its URL", '"DATABASE_URL"'),
    "database.url": Key(
        "the URL for the check; else the value of the variable",
        '"${DATABASE_URL:-sqlite:///./data.db}"',
    ),
    "database.file": Key(
        "the file of an SQLite database that no variable names, seen from the working folder: each start "
        "works on a copy",
        '"users.db"',
    ),
    "database.pool_max": Key("the most connections that one process opens", "10"),
    "database.pool_timeout": Key("how long a request waits for one of them", '"5s"'),
    "database.max_connections": Key("how many the server admits in all, where it cannot be asked", "100"),
    "database.setup": Key("a command that prepares an empty database", '["npm", "run", "migrate"]'),
    "database.also": Key(
        "URLs of further stores on which it has to behave the same", '["sqlite:///./data.db"]'
    ),
    "metrics.path": Key("where they are scraped", '"/metrics"'),
    "metrics.port_env": Key(
        "the variable of `listen.ports` whose port serves them",
        '"OPS_PORT"',
        '[listen]\nports = ["OPS_PORT"]',
    ),
    "metrics.requests": Key("the counter of requests", '"http_requests_total"'),
    "metrics.push": Key("they are pushed, or there are none to scrape", "true"),
    "metrics.public": Key("it is meant that they stand on the public listener", "true"),
    "logs.format": Key("how a record is written", '"logfmt"'),
    "logs.file": Key("the file that it writes to instead of its streams", '"log/app.log"'),
    "logs.access": Key(
        "it writes a record of each request; false where only a proxy in front of it does", "false"
    ),
    "shutdown.style": Key(
        "`lame-duck` serves on while readiness is negative, `stop` closes its listener at once", '"stop"'
    ),
    "shutdown.drain_delay": Key("the time from the signal to the closing of the listener", '"5s"'),
    "shutdown.strict_exit": Key("only status 0 is a clean end", "true"),
    "check.env": Key("variables for every start", '{ RATE_LIMIT = "off" }'),
    "check.rate_limit.env": Key("variables that make the limit shorter", '{ RATE_LIMIT = "20/second" }'),
    "check.rate_limit.requests": Key("how many requests of one client are answered then", "20"),
    "check.rate_limit.window": Key("in which window", '"1s"'),
    "check.shutdown.env": Key("variables that make the drain shorter", '{ DRAIN_DELAY = "1" }'),
    "check.shutdown.drain_delay": Key("the time from the signal to the closing of the listener then", '"1s"'),
    "waivers.id": Key("an assertion, or a family of them", '"CMP-3"'),
    "waivers.reason": Key("why it is acceptable", '"the proxy compresses"'),
    "waivers.route": Key("only on the paths that this pattern fits", '"/internal/*"'),
    "waivers.expires": Key("the day from which it counts again", "2027-01-31"),
    "waivers.owner": Key("who decided", '"platform team"'),
    "waivers.state": Key("what it is", '"in-progress"'),
}
"""Every key by its dotted path."""

ROLE_MEANINGS: Mapping[str, str] = {
    "create": "creates a resource",
    "read": "reads what was created; with `id`, a resource that is always there",
    "list": "lists resources; without one, any GET that needs nothing",
    "update": "changes a resource",
    "delete": "deletes a resource",
    "child_create": "creates what belongs to a resource, whose id is `{id}`",
    "child_read": "reads one of these",
    "child_list": "lists these",
    "slow": "takes at least two seconds",
    "fails": "raises an exception that nothing handles",
    "large": "answers with at least 8 KiB of text",
    "stream": "sends an event stream for more than half a second",
    "html": "is a page",
    "binary": "answers with what is compressed already, such as an image",
    "login": "signs in",
    "overview": "reads two things at once",
    "batch": "reads many at once",
    "transfers": "changes several rows",
    "primes": "computes",
}
"""What a route does that plays a part."""


def model_keys() -> Iterator[tuple[str, Any]]:
    """Yield each key of the model by its dotted path, with the field that has its type and default."""
    assert set(ROLE_MEANINGS) == set(ROLES)
    yield from _keys(ManifestFile, "")


def _keys(table: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    # pydantic has the fields of a dataclass with their types resolved.
    known: Mapping[str, Any] = table.__pydantic_fields__
    for entry in fields(table):
        field = known[entry.name]
        path = f"{prefix}{entry.name}"
        if path == "routes":
            yield from ((key, one) for key, one in _keys(Route, "routes.*.") if key != "routes.*.role")
        elif path == "waivers":
            yield from _keys(field.annotation.__args__[0], "waivers.")
        elif is_dataclass(field.annotation):
            yield from _keys(field.annotation, f"{path}.")
        else:
            yield path, field
