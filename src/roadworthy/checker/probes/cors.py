"""Probes of ``cors`` (COR). They run the browser's algorithm (:mod:`..fetch`), not a search for fields."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import cycle, islice
from typing import TypeAlias
from urllib.parse import urlsplit

from ...checklist import Severity
from ..bench import Bench
from ..errors import ControlFailed
from ..http.fetch_standard import cors_check, preflight_check, words
from ..http.wire import Answer
from ..manifest.routes import Route
from ..needs import Need
from ..phases import Phase
from ..probe import Probe, probe
from ..read.shapes import whole_number
from ..verdict import Verdict
from .shared.kinds import judge_kinds
from .shared.traffic import ORIGIN, origin_of, traffic

__all__ = ("PROBES",)

_EVIL = "https://evil.example"
_COOKIE = {"Cookie": "session=roadworthy"}
# Chromium keeps a preflight for at most two hours, Firefox for a day.
_LONGEST = 86_400
_EVERYWHERE = 2
"""Kinds of hostile origins, the first, that are tried on every write; the others take one each in turn."""

_Ask: TypeAlias = Callable[[dict[str, str]], Awaitable[Answer]]
"""Sends a request with these fields."""


def _origins(bench: Bench) -> tuple[str, ...]:
    """Return the origins that are allowed by declaration; any one stands for all of a public service."""
    return bench.manifest.cors.origins or (ORIGIN,)


def _credentials(bench: Bench) -> bool:
    return bench.manifest.cors.credentials


def _path(bench: Bench) -> str:
    """Return a path that answers GET."""
    routes = bench.manifest.routes.by_role
    found = next((routes[role].path for role in ("list", "html", "large") if role in routes), "")
    return found or bench.manifest.health.live or "/"


def _hostile(bench: Bench) -> Iterator[tuple[str, str]]:
    """Yield what kind of origin it is, and the origin."""
    yield "another site", _EVIL
    yield "null", "null"
    for origin in bench.manifest.cors.origins[:1]:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        scheme = {"https": "http", "http": "https"}.get(parts.scheme, "https")
        yield "an allowed one with more behind it", f"{origin}.evil.example"
        yield "an allowed one with more before it", f"{parts.scheme}://evil{host}{port}"
        yield "a name below an allowed one", f"{parts.scheme}://evil.{host}{port}"
        yield "an allowed one by another scheme", f"{scheme}://{host}{port}"
        yield (
            "an allowed one on another port",
            f"{parts.scheme}://{host}:{8443 if parts.port != 8443 else 8444}",
        )
        if "." in host:
            # A dot that was not escaped in a pattern matches anything.
            yield "an allowed one with another letter", f"{parts.scheme}://{host.replace('.', 'x', 1)}{port}"


def _judge_hostile(bench: Bench, kind: str, origin: str, answer: Answer) -> bool:
    """Judge a response to an origin that nobody trusts; return whether it is granted."""
    bench.sample()
    value = answer.field("access-control-allow-origin")
    if not cors_check(answer, origin, credentials=True):
        severity, title = Severity.CRITICAL, f"an origin that is not trusted may act as the user ({kind})"
    elif not cors_check(answer, origin, credentials=False) and bench.manifest.cors.policy != "public":
        severity = Severity.HIGH if origin == "null" and value == "null" else Severity.MEDIUM
        title = f"an origin that is not trusted is granted ({kind})"
    else:
        return False
    got = f"Access-Control-Allow-Origin: {value}"
    if answer.field("access-control-allow-credentials") == "true":
        got += ", with credentials"
    if not bench.manifest.cors.policy and value == "*":
        bench.note('every site may read; if intended, declare it: cors.policy = "public"')
    bench.fail(title, f"no grant for {origin}", got, answer, severity=severity)
    return True


@probe("COR-1", phase=Phase.SERVE, samples=4)
async def _strangers_are_not_granted(bench: Bench) -> Verdict:
    """Comes with a cookie to each route by each method, from origins like an allowed one and from others."""
    policy, path = bench.manifest.cors.policy, _path(bench)
    allowed = await bench.get(path, {"Origin": origin_of(bench), **_COOKIE})
    if policy in {"origins", "public"}:
        failed = cors_check(allowed, origin_of(bench), credentials=_credentials(bench))
        bench.control(f"an allowed origin is granted ({failed or 'it is'})", not failed)
    else:
        bench.control(f"a request with an Origin is answered ({path}: {allowed})", allowed.status)
    reads, writes = [one async for one in _reads(bench, path)], list(_writes(bench))
    turns = cycle(writes)
    for number, (kind, origin) in enumerate(_hostile(bench)):
        if origin in bench.manifest.cors.origins:
            continue
        for ask in (*reads, *(writes if number < _EVERYWHERE else islice(turns, 1))):
            answer = await ask({"Origin": origin, **_COOKIE})
            if _judge_hostile(bench, kind, origin, answer):
                # One route shows it; the same finding for each of them would bury the next kind.
                break
    return bench.verdict()


async def _reads(bench: Bench, path: str) -> AsyncIterator[_Ask]:
    """Yield requests that read: all routes, of what the check has created where it can, and a 404."""
    routes, health = bench.manifest.routes.by_role, bench.manifest.health
    yield partial(bench.get, path)
    yield partial(bench.get, bench.unknown_path())
    created = ""
    with suppress(ControlFailed):
        created = (await bench.create()).id
    for role in ("read", "html", "child_list", "overview", "large", "fails"):
        if (route := routes.get(role)) is not None and route.method == "GET":
            yield partial(_call, bench, route, created or route.literal or "1")
    for each in filter(None, (health.live, health.ready, bench.manifest.openapi)):
        yield partial(bench.get, each)


def _writes(bench: Bench) -> Iterator[_Ask]:
    """Yield requests that write, by all methods: accepted, refused, and in conflict with the one before."""
    routes = bench.manifest.routes.by_role
    create = routes.get("create")
    if create is None or create.body is None:
        return
    yield partial(_call, bench, create, "")
    yield partial(_send, bench, create, b'{"a": ')
    yield partial(_send, bench, create, b"{}")
    # Sent again and again: where something in it is unique, all but the first are conflicts.
    yield partial(_send, bench, create, json.dumps(bench.fresh(create.body)).encode())
    for role in ("update", "delete"):
        if (route := routes.get(role)) is not None:
            yield partial(_call_created, bench, route)


async def _call(bench: Bench, route: Route, identifier: str, fields: dict[str, str]) -> Answer:
    return await bench.call(route, identifier, headers=fields)


async def _send(bench: Bench, route: Route, body: bytes, fields: dict[str, str]) -> Answer:
    given = {"Content-Type": "application/json", **route.headers, **fields}
    return await bench.request(route.method, route.path, given, body)


async def _call_created(bench: Bench, route: Route, fields: dict[str, str]) -> Answer:
    with suppress(ControlFailed):
        return await bench.call(route, (await bench.create()).id, headers=fields)
    return await bench.call(route, headers=fields)


async def _grants(bench: Bench) -> dict[str, Answer]:
    """Return responses to an allowed origin, to another and to none, of two routes, and preflights."""
    path, unknown = _path(bench), bench.unknown_path()
    found: dict[str, Answer] = {}
    for kind, fields in (
        ("allowed origin", {"Origin": origin_of(bench)}),
        ("other origin", {"Origin": _EVIL}),
        ("no origin", {}),
    ):
        found[kind] = await bench.get(path, fields)
        found[f"{kind}, unknown path"] = await bench.get(unknown, fields)
    for kind, origin in (("preflight", origin_of(bench)), ("preflight, other origin", _EVIL)):
        found[kind] = await _preflight(bench, path, origin, "GET")
    return found


def _granting(answers: dict[str, Answer]) -> dict[str, str]:
    """Return the grants by the kind of response."""
    granted = {kind: answer.field("access-control-allow-origin") for kind, answer in answers.items()}
    return {kind: origin for kind, origin in granted.items() if origin is not None}


@probe("COR-2", phase=Phase.SERVE)
async def _no_wildcard_with_credentials(bench: Bench) -> Verdict:
    """Reads the grant on responses to allowed, other and no origins, and on preflights."""
    answers = await bench.shared(_grants)
    granting = _granting(answers)
    if not granting:
        return bench.not_applicable("no response grants anything across origins")
    bench.control(f"a grant was seen ({', '.join(granting)})")
    for kind in granting:
        answer = answers[kind]
        both = (
            answer.field("access-control-allow-origin") == "*"
            and (answer.field("access-control-allow-credentials") or "").lower() == "true"
        )
        bench.sample()
        if both:
            expected = "* without credentials, or one origin with them"
            got = "Access-Control-Allow-Origin: * with Access-Control-Allow-Credentials: true"
            return bench.fail("the wildcard is combined with credentials", expected, got, answer)
    return bench.verdict()


@probe("COR-3", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,))
async def _allowed_origins_are_granted(bench: Bench) -> Verdict:
    """Comes from each allowed origin and runs the browser's CORS check on the response."""
    path, credentials = _path(bench), _credentials(bench)
    stranger = await bench.get(path, {"Origin": _EVIL})
    bench.control(f"the route answers ({path}: {stranger})", stranger.ok)
    for origin in _origins(bench)[:5]:
        answer = await bench.get(path, {"Origin": origin, **(_COOKIE if credentials else {})})
        failed = cors_check(answer, origin, credentials=credentials)
        lines = answer.all("access-control-allow-origin")
        expected = f"Access-Control-Allow-Origin: {origin}" + (", and credentials" if credentials else "")
        bench.expect(not failed, "an allowed origin is refused by the browser", expected, failed, answer)
        if len(lines) > 1 and not failed:
            bench.fail("the grant is sent twice", "one line", ", ".join(lines), answer)
        if not credentials and answer.field("access-control-allow-credentials") == "true" and not failed:
            bench.warn(
                "credentials are allowed although the manifest does not declare it",
                "no Access-Control-Allow-Credentials, or cors.credentials = true",
                "Access-Control-Allow-Credentials: true",
                answer,
                severity=Severity.LOW,
            )
    return bench.verdict()


@probe("COR-4", phase=Phase.SERVE, samples=6)
async def _vary_says_origin(bench: Bench) -> Verdict:
    """Compares responses to an allowed origin, to another and to none, of a route and of a 404."""
    answers = {kind: one for kind, one in (await bench.shared(_grants)).items() if "preflight" not in kind}
    granting = _granting(answers)
    if not granting:
        return bench.not_applicable("no response grants anything across origins")
    bench.control(f"a grant was seen ({', '.join(granting)})")
    route = answers["allowed origin"]
    bench.control(f"the route answers ({route})", route.ok)
    # Each by itself: caches keep resources apart (Fetch, "CORS protocol and HTTP caches").
    for is_missing in (False, True):
        one = {
            kind: answer for kind, answer in answers.items() if kind.endswith(", unknown path") is is_missing
        }
        grants = _granting(one)
        depends = len(set(grants.values())) > 1 or 0 < len(grants) < len(one)
        wrong: dict[str, tuple[str, Answer]] = {}
        for kind, answer in one.items():
            bench.sample()
            varies = {word.lower() for word in words(answer, "vary")}
            if depends and not varies & {"origin", "*"}:
                wrong[kind] = (f"Vary: {answer.field('vary')}" if varies else "no Vary", answer)
        title = "the grant depends on the origin, but the response has no Vary: Origin"
        judge_kinds(bench, title, "Vary: Origin", wrong)
        if grants and not depends:
            bench.note(f"the grant is the same for everybody ({next(iter(grants.values()))})")
    return bench.verdict()


async def _preflight(
    bench: Bench, path: str, origin: str, method: str, fields: tuple[str, ...] = ()
) -> Answer:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if fields:
        asked["Access-Control-Request-Headers"] = ",".join(sorted(fields))
    # Browsers send no credentials with a preflight.
    return await bench.request("OPTIONS", path, asked, auth=False)


def _uses(bench: Bench) -> list[tuple[Route, tuple[str, ...]]]:
    """Return the declared routes and the fields that a page has to ask for before it uses them."""
    found: dict[tuple[str, str], tuple[Route, tuple[str, ...]]] = {}
    for role in ("list", "create", "read", "update", "delete", "child_create", "transfers"):
        route = bench.manifest.routes.by_role.get(role)
        if route is None:
            continue
        fields = {name.lower() for name in route.headers}
        fields |= {"content-type"} if route.body is not None or route.method in {"POST", "PUT"} else set()
        if bench.manifest.auth.header:
            fields.add(bench.manifest.auth.header.partition(":")[0].strip().lower())
        found[route.method, route.path] = (route, tuple(sorted(fields)))
    return list(found.values())


@probe("COR-5", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,))
async def _preflights_succeed(bench: Bench) -> Verdict:
    """Sends the preflight of each method and field that the declared routes use, without credentials."""
    origin, credentials = _origins(bench)[0], _credentials(bench)
    plain = await bench.get(_path(bench), {"Origin": origin})
    failed = cors_check(plain, origin, credentials=credentials)
    bench.control(f"the origin itself is granted ({failed or 'it is'})", not failed)
    for route, fields in _uses(bench):
        answer = await _preflight(bench, route.path.replace("{id}", "1"), origin, route.method, fields)
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
    if not bench.samples:
        return bench.inconclusive("needs routes of the API (routes.list, routes.create)")
    return bench.verdict()


@probe("COR-6", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), samples=2)
async def _other_preflights_fail(bench: Bench) -> Verdict:
    """Sends preflights from another origin, for a method that the API lacks, and with an unknown field."""
    path, origin, credentials = _path(bench), _origins(bench)[0], _credentials(bench)
    good = await _preflight(bench, path, origin, "GET")
    failed = preflight_check(good, origin, "GET", (), credentials=credentials)
    bench.control(f"an ordinary preflight succeeds ({failed or 'it does'})", not failed)
    if bench.manifest.cors.policy != "public":
        answer = await _preflight(bench, path, _EVIL, "DELETE", ("content-type",))
        bench.expect(
            preflight_check(answer, _EVIL, "GET", (), credentials=False),
            "a preflight from another origin succeeds",
            "no grant",
            f"Access-Control-Allow-Origin: {answer.field('access-control-allow-origin')}",
            answer,
        )
    answer = await _preflight(bench, path, origin, "PROPPATCH")
    bench.expect(
        preflight_check(answer, origin, "PROPPATCH", (), credentials=credentials),
        "a preflight for a method that the API lacks succeeds",
        "PROPPATCH not among the allowed methods",
        f"Access-Control-Allow-Methods: {answer.field('access-control-allow-methods')}",
        answer,
    )
    name = f"x-{bench.unique()}"
    answer = await _preflight(bench, path, origin, "GET", (name,))
    bench.sample()
    if not preflight_check(answer, origin, "GET", (name,), credentials=credentials):
        # Many libraries allow every field by default; the methods and origins still hold.
        bench.warn(
            "a preflight for any field succeeds",
            f"{name} not among the allowed fields",
            f"Access-Control-Allow-Headers: {answer.field('access-control-allow-headers')}",
            answer,
            severity=Severity.LOW,
        )
    return bench.verdict()


@probe("COR-7", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,))
async def _preflights_may_be_kept(bench: Bench) -> Verdict:
    """Reads Access-Control-Max-Age on the preflight of an allowed origin."""
    origin = _origins(bench)[0]
    answer = await _preflight(bench, _path(bench), origin, "GET")
    failed = preflight_check(answer, origin, "GET", (), credentials=_credentials(bench))
    bench.control(f"the preflight succeeds ({failed or 'it does'})", not failed)
    bench.sample()
    value = answer.field("access-control-max-age")
    if value is None:
        bench.warn(
            "browsers repeat the preflight after five seconds", "Access-Control-Max-Age", "none", answer
        )
    elif not value.isdecimal():
        bench.fail("Access-Control-Max-Age is not a number of seconds", "600 or the like", value, answer)
    elif (seconds := whole_number(value)) is None or seconds > _LONGEST:
        bench.note(f"Access-Control-Max-Age: {value} is above what browsers keep (7,200 and 86,400 seconds)")
    return bench.verdict()


@probe("COR-8", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,))
async def _errors_are_readable(bench: Bench) -> Verdict:
    """Provokes each kind of error from an allowed origin and runs the CORS check on it."""
    origin, credentials = _origins(bench)[0], _credentials(bench)
    plain = await bench.get(_path(bench), {"Origin": origin})
    failed = cors_check(plain, origin, credentials=credentials)
    bench.control(f"successes are readable ({failed or 'they are'})", not failed)
    hidden: dict[str, tuple[str, Answer]] = {}
    for kind, answer in (await traffic(bench)).items():
        if answer.status < 400:
            continue
        bench.sample()
        if failed := cors_check(answer, origin, credentials=credentials):
            hidden[kind] = (f"{answer.status}, {failed}", answer)
    title = "an error cannot be read by the page that caused it"
    judge_kinds(bench, title, f"Access-Control-Allow-Origin: {origin}", hidden)
    return bench.verdict()


_PREFLIGHT_ONLY = (
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
)
# Fields that a page acts upon and may not read unless they are exposed (Fetch, "CORS-safelisted
# response-header name" has the others).
_WANTED = ("x-request-id", "retry-after", "ratelimit", "ratelimit-policy", "location", "link")


@probe("COR-9", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,))
async def _fields_stand_where_they_belong(bench: Bench) -> Verdict:
    """Looks through ordinary responses for preflight fields, lists of origins, and what is not exposed."""
    answers = await traffic(bench)
    granting = _granting(answers)
    bench.control(f"granted responses were seen ({', '.join(granting)})", granting)
    hidden: dict[str, Answer] = {}
    for kind, answer in answers.items():
        bench.sample()
        misplaced = [name for name in _PREFLIGHT_ONLY if answer.field(name) is not None]
        if misplaced:
            title = "an ordinary response has fields of a preflight"
            return bench.fail(title, "none of them", f"{', '.join(misplaced)} ({kind})", answer)
        values = words(answer, "access-control-allow-origin")
        if len(values) > 1:
            title = "the grant is a list, which no browser understands"
            return bench.fail(title, "one origin", ", ".join(values), answer)
        if kind in granting:
            exposed = {word.lower() for word in words(answer, "access-control-expose-headers")}
            lacking = [name for name in _WANTED if answer.field(name) and name not in exposed]
            if "*" not in exposed or _credentials(bench):
                hidden |= dict.fromkeys(lacking, answer)
    for name, answer in hidden.items():
        title = f"pages cannot read {name}"
        got = answer.field("access-control-expose-headers") or "no Access-Control-Expose-Headers"
        bench.warn(title, f"{name} exposed", got, answer, severity=Severity.INFO)
    return bench.verdict()


@probe("COR-10", phase=Phase.SERVE, samples=4)
async def _nothing_is_granted_undeclared(bench: Bench) -> Verdict:
    """Looks for a grant on responses and preflights of a service that declares no cross-origin use."""
    if bench.manifest.cors.policy in {"origins", "public"}:
        return bench.not_applicable(f'the manifest declares cors.policy = "{bench.manifest.cors.policy}"')
    answers = {**await bench.shared(_grants), **await traffic(bench)}
    bench.control(f"requests with an Origin are answered ({len(answers)})", len(answers) >= 4)
    for kind, answer in answers.items():
        value = answer.field("access-control-allow-origin")
        title = "undeclared access across origins is granted"
        if not bench.expect(value is None, title, "no grant", f"{value} ({kind})", answer):
            break
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _strangers_are_not_granted,
    _no_wildcard_with_credentials,
    _allowed_origins_are_granted,
    _vary_says_origin,
    _preflights_succeed,
    _other_preflights_fail,
    _preflights_may_be_kept,
    _errors_are_readable,
    _fields_stand_where_they_belong,
    _nothing_is_granted_undeclared,
)
