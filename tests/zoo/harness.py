"""Runs a check against the zoo's service, in this process, as the command line would."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from roadworthy.checker import Manifest, Options, Profile, Result, Run, Verdict, parse_manifest, run_check

from .store import StoreServer

__all__ = (
    "ITEMS",
    "PATTERNS",
    "ROOT",
    "Twin",
    "check_twins",
    "check_zoo",
    "described",
    "judge",
    "manifest_for",
    "manifest_text",
    "running_store",
)

ROOT = Path(__file__).parents[2]

ITEMS = """\
create = { path = "/api/items", body = { name = "item {unique}", qty = 1 } }
read = { path = "/api/items/{id}" }
list = { path = "/api/items" }
update = { path = "/api/items/{id}", body = { name = "item {unique}", qty = 2 } }
delete = { path = "/api/items/{id}" }
fails = { path = "/api/fails", message = "canary-77ab of an unhandled exception" }
large = { path = "/api/large" }
"""
"""The routes of the items and what else each good service has, in whatever language."""

MANIFEST = """
openapi = ""

[start]
command = ["{python}", "-m", "tests.zoo"]
grace = "10s"

[listen]
port_env = "PORT"

[ready]
timeout = "20s"

[health]
live = "/livez"
ready = "/readyz"
requires = ["db"]

[env]
log_level = "LOG_LEVEL"
required = ["ITEMS_KEY"]
secret = ["ITEMS_KEY"]
optional = ["ITEMS_PAGE", "LOG_LEVEL"]

[env.set]
ZOO_STRICT = "1"
ITEMS_KEY = "{password}-{password}"
APP_ENV = "production"
ZOO_FAULT = "{fault}"
DRAIN_DELAY = "0.3"
CORS_ORIGINS = "https://app.example,https://admin.example:8443"
PYTHONPATH = "{root}"

[routes]
{items}
slow = { path = "/api/slow?seconds=0.8" }
binary = { path = "/api/image" }
html = { path = "/api/page" }
stream = { path = "/api/stream" }
login = { path = "/api/login", body = { name = "ada", password = "wrong" } }

[limits]
body = "1MiB"
request_timeout = "2s"

[workers]
env = "WEB_CONCURRENCY"

[rate_limit]
requests = 20
window = "2s"
kind = "window"

[check.rate_limit]
env = { ZOO_RATE_LIMIT = "20/2" }

[cors]
origins = ["https://app.example", "https://admin.example:8443"]
credentials = true

[database]
kind = "tcp"
env = "DATABASE_URL"
url = "tcp://zoo:{password}@127.0.0.1:{store}/{space}"
pool_max = 4
pool_timeout = "4s"
max_connections = 40

[metrics]
path = "/metrics"
requests = "http_requests_total"
public = true

[shutdown]
style = "lame-duck"
drain_delay = "300ms"
strict_exit = true
""".replace("{items}\n", ITEMS)
"""The manifest of the good service. Families add what they need; ``{…}`` of the harness are filled in."""

PATTERNS = frozenset({"CTL", "SVC", "TXN", "AER", "ECL", "CPU", "FAN", "WIR"})
"""The families of the code patterns, which are tried on the routes of the contract."""

_PATTERNS_START = """
[start]
command = ["{python}", "-m", "tests.zoo", "production"]
probe_command = ["{python}", "-m", "tests.zoo"]
grace = "10s"
"""
_PATTERNS_ROUTES = """
[routes]
create = { path = "/api/users", status = 201, body = { name = "{unique}", email = "{unique}@example.com" } }
read = { path = "/api/users/{id}" }
list = { path = "/api/users" }
update = { path = "/api/users/{id}", body = { name = "Grace {unique}", email = "{unique}@example.com" } }
delete = { path = "/api/users/{id}", status = 204 }
child_create = { path = "/api/users/{id}/posts", body = { title = "Title {unique}", body = "Text" } }
child_list = { path = "/api/users/{id}/posts" }
overview = { path = "/api/users/{id}/overview" }
batch = { path = "/api/users/batch" }
transfers = { path = "/api/transfers" }
primes = { path = "/api/primes/{id}" }
slow = { path = "/api/slow?seconds=0.8" }
fails = { path = "/api/fails", message = "canary-77ab of an unhandled exception" }
"""


def manifest_text(only: Iterable[str]) -> str:
    """Return the manifest for these families."""
    families = {word.partition("-")[0] for word in only}
    if "POOL" in families:
        return MANIFEST.replace("[env.set]", '[env.set]\nZOO_POOL = "4"')
    if not families & PATTERNS:
        return MANIFEST
    text = MANIFEST
    for heading, other in (("[start]", _PATTERNS_START), ("[routes]", _PATTERNS_ROUTES)):
        begin = text.index(heading)
        end = text.find("\n[", begin)
        text = text[:begin] + other.strip() + "\n" + text[end:]
    return text.replace("[database]", '[database]\nalso = ["tcp://127.0.0.1:{store}/{space}-also"]')


@dataclass(frozen=True, slots=True)
class Twin:
    """A service with one fault.

    Parameters:
        fault: the switch, ``hlt-1-redirect``.
        fails: the assertion that must fail (or warn, with ``warns``).
        entails: further assertions that may fail with it, because the fault breaks their promise too.
        replace: pairs to replace in the manifest's text.
    """

    fault: str
    fails: str
    entails: frozenset[str] = frozenset()
    warns: bool = False
    replace: tuple[tuple[str, str], ...] = ()


_SEEN = {Verdict.FAIL, Verdict.WARN}
# Twins start quickly and mostly wait; more at once only share the two cores.
_AT_ONCE = 4
# What these measure is how processors are shared.
_ALONE = {"CPU"}

_spaces = iter(range(1, 1_000_000))


def manifest_for(
    store: StoreServer,
    fault: str = "",
    replace: Iterable[tuple[str, str]] = (),
    only: Iterable[str] = (),
    text: str | None = None,
) -> Manifest:
    """Return the manifest of the service with this fault, and with a namespace of its own in the store.

    Parameters:
        text: the manifest of another service than the zoo's own.
    """
    text = manifest_text(only) if text is None else text
    for old, new in replace:
        assert old in text, f"{old!r} is not in the zoo's manifest"
        text = text.replace(old, new)
    fills = {
        "python": sys.executable,
        "fault": fault,
        "root": str(ROOT),
        "store": str(store.port),
        "password": secrets.token_hex(8),
        "space": f"{os.getpid()}-{next(_spaces)}",
    }
    for name, value in fills.items():
        text = text.replace(f"{{{name}}}", value)
    return parse_manifest(text, folder=ROOT)


@asynccontextmanager
async def running_store() -> AsyncIterator[StoreServer]:
    """Run the store that the services of one test share."""
    store = StoreServer()
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def check_zoo(
    store: StoreServer,
    only: Iterable[str],
    fault: str = "",
    replace: Iterable[tuple[str, str]] = (),
    *,
    second_try: bool = False,
    text: str | None = None,
) -> Run:
    """Check the service with this fault (parameters of :func:`manifest_for`)."""
    only = tuple(only)
    # Its store is the test's own, and of no kind of which the check could make another.
    options = Options(
        only=only, profile=Profile.FULL, second_try=second_try, calibrated=False, allow_writes=True
    )
    return await run_check(manifest_for(store, fault, replace, only, text), options)


async def check_twins(
    good: Sequence[tuple[str, tuple[tuple[str, str], ...]]],
    twins: Sequence[Twin],
    *,
    whole: bool,
    text: str | None = None,
) -> tuple[list[Run], list[Run]]:
    """Check families on good services, and twins.

    Parameters:
        good: of each service a family, and what its manifest replaces.
        whole: try a twin's whole family, and not only what it must fail.
        text: the manifest of another service than the zoo's own.
    """
    alone = _ALONE & {twin.fails.partition("-")[0] for twin in twins}
    places = asyncio.Semaphore(1 if alone else _AT_ONCE)

    async def one(only: str, fault: str = "", replace: tuple[tuple[str, str], ...] = ()) -> Run:
        async with places:
            return await check_zoo(store, [only], fault, replace, text=text)

    async with running_store() as store:
        families = [one(family, "", replace) for family, replace in good]
        faulty = [
            one(twin.fails.partition("-")[0] if whole else twin.fails, twin.fault, twin.replace)
            for twin in twins
        ]
        runs = await asyncio.gather(*families, *faulty)
    return runs[: len(good)], runs[len(good) :]


def judge(twin: Twin, run: Run) -> list[str]:
    """Return what is wrong with the verdicts on a twin."""
    verdicts = {result.id: result.verdict for result in run.results}
    wanted = Verdict.WARN if twin.warns else Verdict.FAIL
    wrong = (
        [] if verdicts[twin.fails] is wanted else [f"{twin.fails} is {verdicts[twin.fails]}, not {wanted}"]
    )
    seen = {name for name, verdict in verdicts.items() if verdict in _SEEN}
    if more := seen - {twin.fails} - twin.entails:
        wrong.append(f"also {', '.join(sorted(more))}")
    return [f"{twin.fault}: {text}\n{described(run.results)}" for text in wrong]


def described(results: Iterable[Result]) -> str:
    """Return results as text, for the message of a failed test."""
    return "\n".join(
        f"{result.id} {result.verdict} {result.reason} "
        + "; ".join(f"{finding.title}: {finding.expected} / {finding.got}" for finding in result.findings)
        for result in results
    )


def main() -> None:
    """Check one fault by hand: ``python -m tests.zoo.harness hlt-1-redirect HLT``."""

    async def one() -> None:
        async with running_store() as store:
            run = await check_zoo(store, sys.argv[2:], sys.argv[1].removeprefix("none"))
        print(described(run.results), f"\n{run.seconds} s, {run.requests} requests, {run.launches} launches")
        for result in run.results:
            print(result.id, result.verdict, result.seconds, result.samples, result.requests)

    asyncio.run(one())


if __name__ == "__main__":
    main()
