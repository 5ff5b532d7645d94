"""Probes of ``cors`` (COR). They run the browser's algorithm (:mod:`..fetch`), not a search for fields."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from urllib.parse import urlsplit

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.fetch_standard import cors_check, words
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...verdict import Verdict
from ..shared.kinds import judge_kinds
from ..shared.survey import asks
from ..shared.traffic import ORIGIN, STRANGER, by_origin, origin_of, traffic
from .preflights import PREFLIGHTS, path_of_get, preflight

__all__ = ("PROBES",)

_COOKIE = {"Cookie": "session=roadworthy"}
_EVERYWHERE = 2
"""Kinds of hostile origins, the first, that are tried on every write; the others on each third in turn."""
_ON_ALL = (Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS, Dimension.ORIGIN)


def _allowed(bench: Bench, answers: Mapping[str, Mapping[str, Answer]]) -> dict[str, Mapping[str, Answer]]:
    """Return what went to origins that are allowed; any one stands for all of a public service."""
    origins = bench.manifest.cors.origins or (ORIGIN,)
    return {origin: found for origin, found in answers.items() if origin in origins}


def _hostile(bench: Bench) -> Iterator[tuple[str, str]]:
    """Yield what kind of origin it is, and the origin."""
    yield "another site", STRANGER
    yield "null", "null"
    for number, origin in enumerate(bench.manifest.cors.origins[:2]):
        parts = urlsplit(origin)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        scheme = {"https": "http", "http": "https"}.get(parts.scheme, "https")
        yield "an allowed one with more behind it", f"{origin}.evil.example"
        yield "an allowed one with more before it", f"{parts.scheme}://evil{host}{port}"
        if number:
            return
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


@probe("COR-1", phase=Phase.SERVE, samples=4, varies=_ON_ALL)
async def _strangers_are_not_granted(bench: Bench) -> Verdict:
    """Comes with a cookie to each route by each method, from origins like an allowed one and from others."""
    policy, path = bench.manifest.cors.policy, path_of_get(bench)
    allowed = await bench.get(path, {"Origin": origin_of(bench), **_COOKIE})
    if policy in {"origins", "public"}:
        failed = cors_check(allowed, origin_of(bench), credentials=bench.manifest.cors.credentials)
        bench.control(f"an allowed origin is granted ({failed or 'it is'})", not failed)
    else:
        bench.control(f"a request with an Origin is answered ({path}: {allowed})", allowed.status)
    known = await asks(bench)
    turns = cycle(known.items())
    for number, (kind, origin) in enumerate(_hostile(bench)):
        if origin in bench.manifest.cors.origins:
            continue
        # What reads is tried with every origin, what writes with the first and then in turn.
        few = dict(islice(turns, len(known) // 3))
        asked = await preflight(bench, path, origin, "DELETE", ("content-type",))
        if _judge_hostile(bench, kind, origin, asked):
            continue
        for name, ask in known.items():
            if number >= _EVERYWHERE and _writes(name) and name not in few:
                continue
            answer = await ask({"Origin": origin, **_COOKIE})
            if _judge_hostile(bench, kind, origin, answer):
                # One route shows it; the same finding for each of them would bury the next kind.
                break
    return bench.verdict()


def _writes(kind: str) -> bool:
    return kind.startswith(("create", "update", "delete", "child_create", "repeated", "too large"))


def _granting(answers: dict[str, Answer]) -> dict[str, str]:
    """Return the grants by the kind of response."""
    granted = {kind: answer.field("access-control-allow-origin") for kind, answer in answers.items()}
    return {kind: origin for kind, origin in granted.items() if origin is not None}


async def _preflights(bench: Bench) -> dict[str, Answer]:
    """Return preflights from an allowed origin and from another."""
    path = path_of_get(bench)
    return {
        "preflight": await preflight(bench, path, origin_of(bench), "GET"),
        "preflight, other origin": await preflight(bench, path, STRANGER, "GET"),
    }


async def _all(bench: Bench) -> dict[str, Answer]:
    """Return all responses, whatever their origin, by kinds that name it."""
    answers = {
        f"{kind} ({origin or 'no origin'})": answer
        for origin, found in (await bench.shared(by_origin)).items()
        for kind, answer in found.items()
    }
    return {**answers, **await bench.shared(_preflights)}


@probe("COR-2", phase=Phase.SERVE, varies=_ON_ALL)
async def _no_wildcard_with_credentials(bench: Bench) -> Verdict:
    """Reads the grant on responses of all routes to allowed, other and no origins, and on preflights."""
    answers = await _all(bench)
    granting = _granting(answers)
    if not granting:
        return bench.not_applicable("no response grants anything across origins")
    bench.control(f"a grant was seen ({next(iter(granting))})")
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


@probe("COR-3", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), varies=_ON_ALL)
async def _allowed_origins_are_granted(bench: Bench) -> Verdict:
    """Comes to each route from each allowed origin and runs the browser's CORS check on the response."""
    credentials = bench.manifest.cors.credentials
    answers = await bench.shared(by_origin)
    good = [kind for kind, answer in answers[STRANGER].items() if answer.ok]
    bench.control(f"routes answer ({', '.join(good)})", good)
    for origin, found in _allowed(bench, answers).items():
        for kind, answer in found.items():
            if answer.ok and not _judge_grant(bench, origin, kind, answer, credentials=credentials):
                break
    return bench.verdict()


def _judge_grant(bench: Bench, origin: str, kind: str, answer: Answer, *, credentials: bool) -> bool:
    failed = cors_check(answer, origin, credentials=credentials)
    lines = answer.all("access-control-allow-origin")
    expected = f"Access-Control-Allow-Origin: {origin}" + (", and credentials" if credentials else "")
    got = f"{failed} ({kind})"
    held = bench.expect(not failed, "an allowed origin is refused by the browser", expected, got, answer)
    if len(lines) > 1 and held:
        bench.fail("the grant is sent twice", "one line", ", ".join(lines), answer)
        return False
    if not credentials and held and answer.field("access-control-allow-credentials") == "true":
        bench.warn(
            "credentials are allowed although the manifest does not declare it",
            "no Access-Control-Allow-Credentials, or cors.credentials = true",
            "Access-Control-Allow-Credentials: true",
            answer,
            severity=Severity.LOW,
        )
        return False
    return held


@probe("COR-4", phase=Phase.SERVE, samples=6, varies=_ON_ALL)
async def _vary_says_origin(bench: Bench) -> Verdict:
    """Compares responses of each route to allowed origins, to another and to none, and those of errors."""
    by_kind: defaultdict[str, dict[str, Answer]] = defaultdict(dict)
    for origin, found in (await bench.shared(by_origin)).items():
        for kind, answer in found.items():
            by_kind[kind][origin or "no origin"] = answer
    granting = {kind for kind, one in by_kind.items() if _granting(one)}
    if not granting:
        return bench.not_applicable("no response grants anything across origins")
    bench.control(f"a grant was seen ({', '.join(sorted(granting))})")
    bench.control("a route answers", any(one.ok for kind in granting for one in by_kind[kind].values()))
    # Each by itself: caches keep resources apart (Fetch, "CORS protocol and HTTP caches").
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, one in by_kind.items():
        grants = _granting(one)
        depends = len(set(grants.values())) > 1 or 0 < len(grants) < len(one)
        for origin, answer in one.items():
            bench.sample()
            varies = {word.lower() for word in words(answer, "vary")}
            if depends and not varies & {"origin", "*"}:
                got = f"Vary: {answer.field('vary')}" if varies else "no Vary"
                wrong.setdefault(kind, (f"{got} to {origin}", answer))
        if grants and not depends:
            bench.note(f"the grant is the same for everybody ({next(iter(grants.values()))})")
    title = "the grant depends on the origin, but the response has no Vary: Origin"
    judge_kinds(bench, title, "Vary: Origin", wrong)
    return bench.verdict()


@probe("COR-8", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), varies=_ON_ALL)
async def _errors_are_readable(bench: Bench) -> Verdict:
    """Provokes each kind of error from each allowed origin and runs the CORS check on it."""
    credentials = bench.manifest.cors.credentials
    answers = _allowed(bench, await bench.shared(by_origin))
    readable = [
        kind
        for origin, found in answers.items()
        for kind, answer in found.items()
        if answer.ok and not cors_check(answer, origin, credentials=credentials)
    ]
    bench.control(f"successes are readable ({', '.join(readable)})", readable)
    for origin, found in answers.items():
        # The 429 comes from a process of its own, for the first origin alone.
        limited = await traffic(bench) if origin == origin_of(bench) else {}
        hidden: dict[str, tuple[str, Answer]] = {}
        for kind, answer in {**limited, **found}.items():
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


@probe("COR-9", phase=Phase.SERVE, needs=(Need.CORS_ORIGINS,), varies=_ON_ALL)
async def _fields_stand_where_they_belong(bench: Bench) -> Verdict:
    """Looks through ordinary responses for preflight fields, lists of origins, and what is not exposed."""
    seen = _allowed(bench, await bench.shared(by_origin))
    answers = {f"{kind}, to {origin}": answer for origin, one in seen.items() for kind, answer in one.items()}
    granting = _granting(answers)
    bench.control(f"granted responses were seen ({len(granting)})", granting)
    hidden: dict[str, Answer] = {}
    for kind, answer in answers.items():
        bench.sample()
        # What OPTIONS gets may be the answer to a preflight.
        misplaced = [name for name in _PREFLIGHT_ONLY if answer.field(name) is not None]
        if misplaced and answer.request.method != "OPTIONS":
            title = "an ordinary response has fields of a preflight"
            return bench.fail(title, "none of them", f"{', '.join(misplaced)} ({kind})", answer)
        values = words(answer, "access-control-allow-origin")
        if len(values) > 1:
            title = "the grant is a list, which no browser understands"
            return bench.fail(title, "one origin", ", ".join(values), answer)
        if kind in granting:
            exposed = {word.lower() for word in words(answer, "access-control-expose-headers")}
            lacking = [name for name in _WANTED if answer.field(name) and name not in exposed]
            if "*" not in exposed or bench.manifest.cors.credentials:
                hidden |= dict.fromkeys(lacking, answer)
    for name, answer in hidden.items():
        title = f"pages cannot read {name}"
        got = answer.field("access-control-expose-headers") or "no Access-Control-Expose-Headers"
        bench.warn(title, f"{name} exposed", got, answer, severity=Severity.INFO)
    return bench.verdict()


@probe("COR-10", phase=Phase.SERVE, samples=4, varies=_ON_ALL)
async def _nothing_is_granted_undeclared(bench: Bench) -> Verdict:
    """Looks for a grant on responses and preflights of a service that declares no cross-origin use."""
    if bench.manifest.cors.policy in {"origins", "public"}:
        return bench.not_applicable(f'the manifest declares cors.policy = "{bench.manifest.cors.policy}"')
    answers = await _all(bench)
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
    *PREFLIGHTS,
    _errors_are_readable,
    _fields_stand_where_they_belong,
    _nothing_is_granted_undeclared,
)
