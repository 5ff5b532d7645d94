"""Preflights: what a browser asks before it sends what it would not send by itself (COR-5, COR-6, COR-7)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.fetch_standard import cors_check, preflight_check
from ...http.wire import Answer
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.shapes import whole_number
from ...verdict import Verdict
from ..shared.traffic import STRANGER, origin_of

__all__ = ("PREFLIGHTS", "path_of_get", "preflight")

# Chromium keeps a preflight for at most two hours, Firefox for a day.
_LONGEST = 86_400
_MOST = 2
_NO_API = frozenset({"html", "binary", "stream"})
"""What a page embeds or shows, and does not ask for by a script."""
_ON_ALL = (Dimension.METHOD, Dimension.ROUTE, Dimension.ORIGIN)


def path_of_get(bench: Bench) -> str:
    """Return a path that answers GET."""
    routes = bench.manifest.routes.by_role
    found = next((routes[role].path for role in ("list", "html", "large") if role in routes), "")
    return found or bench.manifest.health.live or "/"


async def preflight(
    bench: Bench, path: str, origin: str, method: str, fields: tuple[str, ...] = ()
) -> Answer:
    """Send a preflight, as a browser does: without credentials."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if fields:
        asked["Access-Control-Request-Headers"] = ",".join(sorted(fields))
    return await bench.request("OPTIONS", path, asked, auth=False)


def _uses(bench: Bench) -> list[tuple[Route, tuple[str, ...]]]:
    """Return the declared routes and the fields that a page has to ask for before it uses them."""
    found: dict[tuple[str, str], tuple[Route, tuple[str, ...]]] = {}
    for role, route in bench.manifest.routes.by_role.items():
        if role in _NO_API:
            continue
        fields = {name.lower() for name in route.headers}
        fields |= {"content-type"} if route.body is not None or route.method in {"POST", "PUT"} else set()
        if bench.manifest.auth.header:
            fields.add(bench.manifest.auth.header.partition(":")[0].strip().lower())
        found[route.method, route.path] = (route, tuple(sorted(fields)))
    return list(found.values())


def _each(bench: Bench) -> Iterator[tuple[str, Route, tuple[str, ...]]]:
    """Yield each allowed origin with each use."""
    for origin in (bench.manifest.cors.origins or (origin_of(bench),))[:_MOST]:
        for route, fields in _uses(bench):
            yield origin, route, fields


def _to(route: Route) -> str:
    return route.path.replace("{id}", "1")


async def _expect_granted(bench: Bench) -> None:
    """Raise where no preflight of the first allowed origin succeeds."""
    path, origin = path_of_get(bench), origin_of(bench)
    good = await preflight(bench, path, origin, "GET")
    failed = preflight_check(good, origin, "GET", (), credentials=bench.manifest.cors.credentials)
    bench.control(f"an ordinary preflight succeeds ({failed or 'it does'})", not failed)


@probe("COR-5", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), varies=_ON_ALL)
async def _preflights_succeed(bench: Bench) -> Verdict:
    """Sends the preflight of each method and field that the declared routes use, from each allowed origin,
    without credentials.
    """
    origin, credentials = origin_of(bench), bench.manifest.cors.credentials
    plain = await bench.get(path_of_get(bench), {"Origin": origin})
    failed = cors_check(plain, origin, credentials=credentials)
    bench.control(f"the origin itself is granted ({failed or 'it is'})", not failed)
    for origin, route, fields in _each(bench):
        answer = await preflight(bench, _to(route), origin, route.method, fields)
        failed = preflight_check(answer, origin, route.method, fields, credentials=credentials)
        wanted = f"{route.method} with {', '.join(fields)}" if fields else route.method
        bench.expect(
            not failed,
            "the browser refuses what the API offers, after its preflight",
            f"a grant for {wanted}",
            failed,
            answer,
            route=f"OPTIONS {route.path}",
        )
    return _verdict(bench)


def _verdict(bench: Bench) -> Verdict:
    """Return the verdict; without a route of the API there was nothing to judge."""
    if not bench.samples:
        return bench.inconclusive(
            "needs routes of the API (routes.list, routes.create)", undeclared=("routes.list",)
        )
    return bench.verdict()


@probe("COR-6", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), samples=2, varies=_ON_ALL)
async def _other_preflights_fail(bench: Bench) -> Verdict:
    """Sends preflights to each route from another origin, for a method that the API lacks, and with an
    unknown field.
    """
    await _expect_granted(bench)
    name = f"x-{bench.unique()}"
    strangers = cycle(_strangers(bench))
    for origin, path in _places(bench):
        if bench.manifest.cors.policy != "public":
            await _judge_stranger(bench, path, next(strangers))
            await _judge_stranger(bench, f"{path}{'&' if '?' in path else '?'}q=1", next(strangers))
        await _judge_method(bench, path, origin)
        await _judge_field(bench, path, origin, name)
        if bench.findings:
            break
    return bench.verdict()


def _places(bench: Bench) -> list[tuple[str, str]]:
    """Return where preflights are tried, each with an allowed origin; those of operations with the first."""
    health, metrics = bench.manifest.health, bench.manifest.metrics
    found = dict.fromkeys((origin, _to(route)) for origin, route, _ in _each(bench))
    shared = bench.target.metrics_address == bench.target.address
    paths = (health.live, health.ready, metrics.path if shared else "")
    return [*found, *((origin_of(bench), path) for path in paths if path)]


def _strangers(bench: Bench) -> list[str]:
    """Return origins that are not allowed: an unlike one, those that look like an allowed one, and none."""
    alike = [f"{origin}.evil.example" for origin in bench.manifest.cors.origins[:_MOST]]
    return [STRANGER, *alike, "null"]


async def _judge_stranger(bench: Bench, path: str, origin: str) -> None:
    answer = await preflight(bench, path, origin, "DELETE", ("content-type",))
    bench.expect(
        preflight_check(answer, origin, "GET", (), credentials=False),
        "a preflight from another origin succeeds",
        "no grant",
        f"Access-Control-Allow-Origin: {answer.field('access-control-allow-origin')}",
        answer,
    )


async def _judge_method(bench: Bench, path: str, origin: str) -> None:
    answer = await preflight(bench, path, origin, "PROPPATCH")
    bench.expect(
        preflight_check(answer, origin, "PROPPATCH", (), credentials=bench.manifest.cors.credentials),
        "a preflight for a method that the API lacks succeeds",
        "PROPPATCH not among the allowed methods",
        f"Access-Control-Allow-Methods: {answer.field('access-control-allow-methods')}",
        answer,
    )


async def _judge_field(bench: Bench, path: str, origin: str, name: str) -> None:
    answer = await preflight(bench, path, origin, "GET", (name,))
    bench.sample()
    if not preflight_check(answer, origin, "GET", (name,), credentials=bench.manifest.cors.credentials):
        # Many libraries allow every field by default; the methods and origins still hold.
        bench.warn(
            "a preflight for any field succeeds",
            f"{name} not among the allowed fields",
            f"Access-Control-Allow-Headers: {answer.field('access-control-allow-headers')}",
            answer,
            severity=Severity.LOW,
        )


@probe("COR-7", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), varies=_ON_ALL)
async def _preflights_may_be_kept(bench: Bench) -> Verdict:
    """Reads Access-Control-Max-Age on the preflights of each route from each allowed origin."""
    await _expect_granted(bench)
    for origin, route, fields in _each(bench):
        answer = await preflight(bench, _to(route), origin, route.method, fields)
        bench.sample()
        _judge_age(bench, answer)
        if bench.findings:
            break
    return _verdict(bench)


def _judge_age(bench: Bench, answer: Answer) -> None:
    value = answer.field("access-control-max-age")
    if value is None:
        bench.warn(
            "browsers repeat the preflight after five seconds", "Access-Control-Max-Age", "none", answer
        )
    elif not value.isdecimal():
        bench.fail("Access-Control-Max-Age is not a number of seconds", "600 or the like", value, answer)
    elif (seconds := whole_number(value)) is None or seconds > _LONGEST:
        bench.note(f"Access-Control-Max-Age: {value} is above what browsers keep (7,200 and 86,400 seconds)")


PREFLIGHTS: tuple[Probe, ...] = (_preflights_succeed, _other_preflights_fail, _preflights_may_be_kept)
