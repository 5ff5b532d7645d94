"""What a manifest could declare so that more is tried: the keys, the lines to paste, what each unlocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .manifest.model import Manifest
from .manifest.reference import ROLE_MEANINGS
from .verdict import Result

__all__ = ("DECLARABLE", "Unlock", "declared", "manifest_lines", "unlocks")

_BODY = '{ name = "{unique}" }'
_ROUTES = {
    "create": ("{base}", f"body = {_BODY}"),
    "read": ("{base}/{id}", ""),
    "list": ("{base}", ""),
    "update": ("{base}/{id}", f"body = {_BODY}"),
    "delete": ("{base}/{id}", ""),
    "slow": ("/slow", ""),
    "fails": ("/fails", ""),
    "large": ("/large", ""),
    "stream": ("/events", ""),
    "child_create": ("{base}/{id}/children", f"body = {_BODY}"),
    "child_list": ("{base}/{id}/children", ""),
    "overview": ("{base}/{id}/overview", ""),
    "batch": ("{base}/batch", ""),
    "transfers": ("/transfers", ""),
    "primes": ("/primes/{id}", ""),
}
_EXPLAINED = frozenset(("slow", "fails", "large", "stream", "overview", "batch", "transfers", "primes"))
"""Parts of which the name alone does not say what the route does."""
DECLARABLE: dict[str, tuple[str, ...]] = {
    "start.command": ('command = ["./service", "--port", "{port}"]',),
    "listen.port_env": ('port_env = "PORT"',),
    **{f"routes.{role}": () for role in _ROUTES},
    "health.live": ('live = "/livez"',),
    "health.ready": ('ready = "/readyz"',),
    "health.requires": ('requires = ["db"]  # or []',),
    "metrics.path": ('path = "/metrics"',),
    "metrics.requests": ('requests = "http_requests_total"',),
    "cors.origins": ('origins = ["https://app.example"]  # or policy = "none" or "public"',),
    "rate_limit.requests": ("requests = 100", 'window = "60s"'),
    "database.env": ('kind = "postgres"  # or mysql, redis, tcp, sqlite, none', 'env = "DATABASE_URL"'),
    "database.max_connections": ("max_connections = 100",),
    "workers.env": ('env = "WEB_CONCURRENCY"  # or "": one process by design',),
    "env.log_level": ('log_level = "LOG_LEVEL"',),
    "env.secret": ('secret = ["API_TOKEN"]  # or []',),
    "env.required": ('required = ["DATABASE_URL"]  # or []',),
    "env.optional": ('optional = ["LOG_LEVEL"]  # or []',),
}
"""The lines of each key that can be missing, below the header of its table; of routes they are computed."""


@dataclass(frozen=True, slots=True)
class Unlock:
    """A step: keys of the manifest, and the assertions that are tried once they stand there.

    Parameters:
        keys: what to declare in this step, by dotted path.
        assertions: what is tried then that was not with the steps before.
    """

    keys: tuple[str, ...]
    assertions: tuple[str, ...]


def declared(key: str, manifest: Manifest) -> bool:
    """Return whether the manifest has a key, declared or inferred."""
    table, _, name = key.partition(".")
    if table == "routes":
        return name in manifest.routes.by_role
    value = getattr(getattr(manifest, table), name)
    return key in manifest.lines or (value not in {None, ""} and value != ())


def unlocks(results: Iterable[Result]) -> tuple[Unlock, ...]:
    """Return what to declare, best first: the most assertions for each key that has to be written.

    It is greedy, and takes keys together where only their sum helps: after ``routes.create`` has its place,
    what needs ``routes.create`` and ``routes.read`` costs one key. A waived result asks for nothing.
    """
    left = {
        result.id: frozenset(result.undeclared)
        for result in results
        if result.undeclared and not result.waived
    }
    order = list(DECLARABLE)
    found: list[Unlock] = []
    while left:

        def worth(keys: frozenset[str], left: dict[str, frozenset[str]] = left) -> tuple[float, int, int]:
            gain = sum(wanted <= keys for wanted in left.values())
            return gain / len(keys), -len(keys), -min(map(order.index, keys))

        best = max(set(left.values()), key=worth)
        gained = tuple(name for name, wanted in left.items() if wanted <= best)
        found.append(Unlock(tuple(sorted(best, key=order.index)), gained))
        left = {name: wanted - best for name, wanted in left.items() if name not in gained}
    return tuple(found)


def manifest_lines(steps: Sequence[Unlock], manifest: Manifest) -> tuple[str, ...]:
    """Return the lines to paste at the end of the manifest, which parse as a whole.

    Each step begins with a comment that counts what it unlocks. TOML opens a table once: the keys of a table
    stand together where its first key has its place, and what belongs to a table that the manifest has
    already is a comment with its line.
    """
    tables: dict[str, list[str]] = {}
    for step in steps:
        for index, key in enumerate(step.keys):
            table, own = _lines(key, manifest)
            comment = f"# {_count(step)}" if not index else f"# with {step.keys[0]}"
            role = key.removeprefix("routes.")
            meaning = ROLE_MEANINGS[role] if role in _EXPLAINED else ""
            tables.setdefault(table, []).extend([f"{comment}{f'; {meaning}' if meaning else ''}", *own])
    found: list[str] = []
    for table, lines in tables.items():
        found += _placed(table, lines, manifest)
    return tuple(found)


def _placed(table: str, lines: list[str], manifest: Manifest) -> Iterator[str]:
    """Yield a table with its lines; comments where the manifest has the table."""
    if table == "start" and "start.command" in manifest.lines:
        yield from lines[:1]
        yield "# start.command is declared: run the check without the URL"
        return
    at = manifest.lines.get(table, 0)
    if at:
        instead = " instead of url" if table == "start" and "start.url" in manifest.lines else ""
        yield f"# in [{table}], line {at}{instead}:"
        yield from (line if line.startswith("#") else f"# {line}" for line in lines)
        return
    comments = [line for line in lines[:1] if line.startswith("#")]
    yield from comments
    yield f"[{table}]"
    yield from lines[len(comments) :]


def _count(step: Unlock) -> str:
    families = dict.fromkeys(name.rpartition("-")[0] for name in step.assertions)
    return f"{len(step.assertions)} more ({', '.join(families)})"


def _lines(key: str, manifest: Manifest) -> tuple[str, list[str]]:
    table, _, name = key.partition(".")
    if table == "routes":
        path, more = _ROUTES[name]
        return key, [f'path = "{path.replace("{base}", _collection(manifest))}"', *filter(None, [more])]
    wanted = {line: f"{table}.{line.partition(' ')[0]}" for line in DECLARABLE[key]}
    return table, [line for line, own in wanted.items() if own == key or not declared(own, manifest)]


def _collection(manifest: Manifest) -> str:
    """Return the path of the resources as far as it is known, else one that is made up."""
    routes = manifest.routes.by_role
    route = routes.get("create") or routes.get("list")
    return route.path.partition("?")[0].rstrip("/") if route else f"{manifest.base}/items"
