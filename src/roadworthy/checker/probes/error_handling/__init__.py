"""Probes of ``error-handling`` (ERR)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.fetch_standard import words
from ...http.fields import cache_control
from ...http.request import build_request
from ...http.wire import Answer
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.exposition import total
from ...read.leaks import internals
from ...read.shapes import members
from ...verdict import Lines, Verdict
from ..shared.failures import errors_of, request_id_of
from ..shared.kinds import judge_kinds
from ..shared.survey import asks
from ..shared.traffic import judge_absent
from ..shared.workers import serving
from .faults import a_dead_store_is_bounded

__all__ = ("PROBES",)

_JSON = {"application/json", "application/problem+json"}
# What OpenAPI's path items and Allow fields list differently: they come for free (RFC 9110 §9.3.2, §9.3.7).
_FREE = {"HEAD", "OPTIONS"}
_READ = ("list", "large", "html")
_ON_ALL = (Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS, Dimension.PARALLEL)


@probe("ERR-1", phase=Phase.SERVE, samples=3, varies=_ON_ALL)
async def _an_unknown_path_is_404(bench: Bench) -> Verdict:
    """Asks for random paths below the API's base by several methods: plain, nested, several at a time."""
    known = next(
        (route for route in (bench.manifest.routes.list, bench.manifest.routes.create) if route), None
    )
    path = known.path if known and known.method == "GET" else bench.manifest.health.live or "/"
    answer = await bench.get(path)
    bench.control(f"a known path is answered otherwise ({path}: {answer})", answer.status not in {0, 404})
    unknown = bench.unknown_path()
    paths = (unknown, f"{unknown}/deeper", f"{unknown}/", f"{unknown}?page=1")
    answers = [await bench.get(path) for path in paths]
    as_json = {"Content-Type": "application/json"}
    for method, body in (("POST", b"{}"), ("PUT", b"{}"), ("DELETE", None)):
        answers.append(await bench.request(method, unknown, as_json if body else {}, body))
    answers += await asyncio.gather(*(bench.get(path) for path in paths * 2))
    for answer in answers:
        bench.sample()
        if bench.findings:
            break
        route = f"{answer.request.method} {bench.base}/…"
        if answer.status != 404:
            bench.fail("an unknown path is not 404", "404", str(answer), answer, route=route)
        elif answer.media_type not in _JSON:
            bench.warn("a 404 that is not machine-readable", "JSON", str(answer), answer, route=route)
        elif not members(answer.json()):
            bench.fail(
                "the body of a 404 is not an object", "a non-empty JSON object", answer.text[:200], answer
            )
    return bench.verdict()


def _targets(bench: Bench) -> Iterator[tuple[Route, str]]:
    """Yield the declared routes of the resource, with an id that does not exist where one goes."""
    for role in ("list", "create", "read", "update", "delete", "large"):
        route = bench.manifest.routes.by_role.get(role)
        if route is not None:
            yield route, route.path.replace("{id}", "999999999")


async def _unsupported(bench: Bench) -> list[tuple[str, str, set[str]]]:
    """Return path, a method that it lacks, and the methods that it is known to have."""
    document = await bench.openapi()
    known: dict[str, set[str]] = {}
    for route, path in _targets(bench):
        template = route.path.partition("?")[0]
        known.setdefault(path.partition("?")[0], set()).update({route.method}, document.methods(template))
    found: list[tuple[str, str, set[str]]] = []
    for path, methods in known.items():
        # Without a document a DELETE or PUT might exist: only what can do no harm to a path that has it.
        candidates = ("GET", "DELETE", "PUT", "PATCH") if document else ("PATCH",)
        found += [(path, method, methods) for method in candidates if method not in methods]
    return found


async def _may_have(bench: Bench, path: str, answer: Answer) -> bool:
    """Tell whether a path may have a method that no document denies.

    Not when it is answered as GET is, nor as a word that is no method: then none of them is looked at.
    """
    if await bench.openapi():
        return False
    strange = await bench.request("ROADWORTHY", path, {"Content-Type": "application/json"}, b"{}")
    seen = [(one.status, one.media_type, one.body) for one in (await bench.get(path), strange)]
    return (answer.status, answer.media_type, answer.body) not in seen


@probe("ERR-2", phase=Phase.SERVE, varies=_ON_ALL)
async def _a_wrong_method_is_405(bench: Bench) -> Verdict:
    """Sends methods that the known routes do not have, and reads Allow."""
    cases = await _unsupported(bench)
    if not cases:
        return bench.inconclusive(
            "needs known routes (routes.list, routes.create) or an OpenAPI document",
            undeclared=("routes.list",),
        )
    path, _, methods = cases[0]
    if "GET" in methods:
        works = await bench.get(path)
        bench.control(f"the path exists ({path}: {works})", works.status not in {0, 405})
    else:
        works = await bench.request(sorted(methods)[0], path, {"Content-Type": "application/json"}, b"{")
        bench.control(f"the path exists ({path}: {works})", works.status not in {0, 404, 405})
    known = {one for _, _, methods in cases for one in methods}
    for path, method, methods in cases:
        answer = await bench.request(method, path, {"Content-Type": "application/json"}, b"{}")
        bench.sample()
        if answer.status == 501 and method not in known:
            continue  # implemented for no resource: RFC 9110 §9.1 asks for it
        if answer.status not in {404, 405, 501} and await _may_have(bench, path, answer):
            bench.note(f"{path} may have {method}, which nothing declares ({answer})")
            continue
        if answer.status == 404:
            title = "a method that the path lacks is answered as an unknown path is"
            bench.warn(title, "405", str(answer), answer)
        elif answer.status == 501:
            title = "a method that other paths have is answered as unknown to the whole service"
            bench.warn(title, "405", str(answer), answer)
        elif answer.status != 405:
            bench.fail("a method that the path lacks is not refused with 405", "405", str(answer), answer)
        elif answer.field("allow") is None:
            bench.fail(
                "a 405 without Allow", f"Allow: {', '.join(sorted(methods))}", "no Allow field", answer
            )
        else:
            # Methods compare with their case (RFC 9110 §9.1): a client that looks for GET finds no "get".
            listed = set(words(answer, "allow"))
            lacking = methods - listed - _FREE
            if lacking:
                expected, got = f"with {', '.join(sorted(methods))}", answer.field("allow") or ""
                bench.fail("Allow is incomplete", expected, got, answer, severity=Severity.LOW)
    return bench.verdict()


async def _errors(bench: Bench) -> dict[str, Answer]:
    """Return one answer of each kind of error that the service can be brought to."""
    found = {kind: await ask({}) for kind, ask in (await asks(bench)).items()}
    # A response to HEAD has no body whose shape could be judged. What a parser refuses before the application
    # never has its shape; those errors are not asked for.
    return {
        kind: answer
        for kind, answer in found.items()
        if answer.request.method != "HEAD" and _is_for_programs(kind)
    }


def _is_for_programs(kind: str) -> bool:
    """Return whether it was asked for as data: browsers may get a page."""
    return not kind.endswith("asked for a page") and not kind.startswith("page ")


async def _seen_errors(bench: Bench) -> dict[str, Answer]:
    """Return the errors of :func:`_errors`; one that did not arrive is named as not judged."""
    found = await bench.shared(_errors)
    for kind, answer in found.items():
        if not answer.complete:
            judge_absent(bench, kind, answer)
    return {kind: answer for kind, answer in found.items() if answer.complete and answer.status >= 400}


@probe("ERR-3", phase=Phase.SERVE, samples=2, varies=_ON_ALL)
async def _errors_have_one_shape(bench: Bench) -> Verdict:
    """Collects each kind of error that the declared routes give, and compares media type and members."""
    answers = await _seen_errors(bench)
    bench.control(f"errors were seen: {', '.join(answers)}", len(answers) >= 2, undeclared=("routes.create",))
    readable = {kind: answer for kind, answer in answers.items() if members(answer.json())}
    bench.sample(len(answers))
    others = {kind: (str(answer), answer) for kind, answer in answers.items() if kind not in readable}
    judge_kinds(bench, "the body of an error is not a JSON object", "one shape for all", others)
    _judge_problems(bench, readable)
    types = Counter(answer.media_type for answer in readable.values())
    shapes = {kind: _texts(answer.json()) for kind, answer in readable.items()}
    if len(types) > 1:
        rare = types.most_common()[-1][0]
        odd = next(answer for answer in readable.values() if answer.media_type == rare)
        bench.fail("errors have several media types", types.most_common()[0][0], rare, odd)
    common = set[str].intersection(*shapes.values()) if shapes else set[str]()
    if readable and len(common) < 2:
        listed = "; ".join(f"{kind}: {', '.join(sorted(paths)) or 'none'}" for kind, paths in shapes.items())
        odd = min(readable.values(), key=lambda answer: len(_texts(answer.json())))
        bench.fail("errors share no message and code", "two members with text in every error", listed, odd)
    return bench.verdict()


def _texts(value: Any, prefix: str = "") -> set[str]:
    """Return the paths of members that hold a text or a number: candidates for message and code."""
    found: set[str] = set()
    for key, entry in members(value).items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(entry, str | int) and not isinstance(entry, bool) and key not in {"status", "instance"}:
            found.add(path)
        found |= _texts(entry, path)
    return found


def _judge_problems(bench: Bench, answers: dict[str, Answer]) -> None:
    """RFC 9457 §3.1: the members of a problem document have their types, and status is the response's."""
    others: dict[str, tuple[str, Answer]] = {}
    wrong: dict[str, tuple[str, Answer]] = {}
    for kind, answer in answers.items():
        if answer.media_type != "application/problem+json":
            continue
        document = members(answer.json())
        if document.get("status", answer.status) != answer.status:
            others[kind] = (f"{document['status']} in a {answer.status}", answer)
        for name in ("type", "title", "detail", "instance"):
            if name in document and not isinstance(document[name], str):
                wrong[kind] = (f"{name} is not a text", answer)
    judge_kinds(bench, "a problem names another status", "the status of the response", others)
    judge_kinds(bench, "a member of a problem has the wrong type", "texts", wrong)


@probe("ERR-4", phase=Phase.SERVE, samples=3, varies=_ON_ALL)
async def _an_exception_leaks_nothing(bench: Bench) -> Verdict:
    """Asks for the route that raises, also as a browser and several times at once, and reads what comes."""
    route = bench.manifest.routes.by_role.get("fails")
    if route is None:
        return bench.inconclusive(
            "needs a route that raises an exception nothing handles (routes.fails)",
            undeclared=("routes.fails",),
        )
    fine = await bench.get(bench.manifest.health.live or "/")
    bench.control("another path is answered without an error", fine.complete and fine.status < 500)
    answers = [await bench.call(route) for _ in range(3)]
    answers.append(await bench.call(route, headers={"Accept": "text/html"}))
    answers += await asyncio.gather(*(bench.call(route) for _ in range(3)))
    for answer in answers:
        if answer.status in {404, 405}:
            return bench.inconclusive(f"routes.fails is answered {answer}, so nothing was raised")
        bench.sample()
        if not answer.complete:
            bench.fail(
                "an exception ends the connection without a response", "a generic 5xx", str(answer), answer
            )
            continue
        if answer.status < 400:
            bench.fail("an exception is answered with a success", "5xx", str(answer), answer)
        elif answer.status < 500:
            bench.fail("an exception is answered as the client's fault", "5xx", str(answer), answer)
        if not answer.body:
            bench.fail("a 5xx without a body", "the common error shape", "nothing", answer)
        _judge_leaks(bench, route, answer)
    return bench.verdict()


def _judge_leaks(bench: Bench, route: Route, answer: Answer) -> None:
    text = (answer.head.raw.decode("latin-1") if answer.head else "") + answer.text
    # The request's own path may be repeated; it is no secret.
    text = text.replace(answer.request.path, "")
    found = internals(text) + bench.leaks(text)
    folder = str(bench.manifest.folder)
    if len(folder) > 4 and folder in text:
        found.append("the folder of the project")
    if route.message and route.message in text:
        found.append("the text of the exception")
    if found:
        bench.fail("a 5xx shows how the service is built", "nothing internal", ", ".join(found), answer)


@probe("ERR-5", phase=Phase.SERVE, needs=(Need.COMMAND,), samples=20, ways=False)
async def _the_process_survives(bench: Bench) -> Verdict:
    """Provokes 20 exceptions and 20 clients that leave in the middle, then compares the processes."""
    async with bench.launch() as target:
        live = bench.manifest.health.live or "/"
        good = await bench.get(live)
        bench.control("the service answers before", good.complete and good.status < 500)
        before = await serving(bench)
        fails = bench.manifest.routes.by_role.get("fails")
        create = bench.manifest.routes.by_role.get("create") or fails
        for _ in range(20):
            if fails is not None:
                await bench.call(fails)
            await _leave(bench, create)
            bench.sample()
        after = {(one.pid, one.started) for one in target.process.tree()}
        if target.process.ended is not None:
            return bench.fail(
                "the process ended", "it goes on", str(target.process.ended), *_last(fails, good)
            )
        if gone := before - after:
            bench.fail("worker processes were replaced", "the same processes", f"{len(gone)} are gone")
        again = await bench.get(live)
        bench.expect(
            again.complete and again.status < 500,
            "the service no longer answers",
            str(good),
            str(again),
            again,
        )
    if fails is None:
        bench.note("no route raises (routes.fails), so only leaving clients were tried")
    return bench.verdict()


def _last(fails: Route | None, good: Answer) -> tuple[Answer, ...]:
    return () if fails is None else (good,)


async def _leave(bench: Bench, route: Route | None) -> None:
    """Begin a request and break the connection off before it is whole."""
    path, method = (route.path, route.method) if route else ("/", "POST")
    _, data = build_request(
        bench.target.address,
        method,
        path,
        bench.headers({"Content-Length": "100", "Content-Type": "application/json"}),
    )
    try:
        connection = await bench.connect()
    except Exception as error:
        bench.note(f"a connection could not be opened: {error}")
        return
    async with connection:
        await connection.send(data + b'{"half": ')
        await connection.reset()


@probe("ERR-6", phase=Phase.SERVE, samples=4, varies=_ON_ALL)
async def _other_methods_follow_http(bench: Bench) -> Verdict:
    """Sends HEAD, OPTIONS, TRACE and a method that does not exist to each route that answers GET."""
    routes = [route for role in _READ if (route := bench.manifest.routes.by_role.get(role)) is not None]
    paths = [route.path for route in routes if route.method == "GET" and "{" not in route.path]
    for number, path in enumerate(paths or [bench.manifest.health.live or "/"]):
        get = await bench.get(path)
        if not number:
            known = get.complete and get.status not in {404, 405}
            bench.control(f"GET of {path} is answered ({get})", known)
        await _judge_head(bench, path, get)
        await _judge_methods(bench, path)
        if bench.findings:
            break
    return bench.verdict()


async def _judge_methods(bench: Bench, path: str) -> None:
    options = await bench.request("OPTIONS", path)
    bench.sample()
    if options.status in {200, 204}:
        if options.field("allow") is None:
            bench.note("OPTIONS does not say Allow (RFC 9110 §9.3.7 leaves it open)")
    elif options.status != 501 and (options.status != 405 or options.field("allow") is None):
        # RFC 9110 §9.1: 501 is the answer to a method that is not implemented at all.
        title = "OPTIONS is neither answered with a success nor refused with Allow"
        bench.warn(title, "200 or 204, 405 with Allow, or 501", str(options), options)
    canary = bench.canary("X-Reflected")
    trace = await bench.request("TRACE", path, {"X-Reflected": canary})
    bench.sample()
    if canary in trace.text:
        bench.fail("TRACE is answered with what was sent", "a refusal", str(trace), trace)
    elif trace.ok:
        # It shows nobody a secret (RFC 9110 §9.3.8): only what it promises is not kept.
        title = "TRACE is answered with a success"
        bench.warn(title, "a refusal", str(trace), trace, severity=Severity.LOW)
    foo = await bench.request("FOO", path)
    bench.sample()
    if foo.status not in {400, 404, 405, 501}:
        bench.fail("a method that does not exist is not refused", "400, 405 or 501", str(foo), foo)


async def _judge_head(bench: Bench, path: str, get: Answer) -> None:
    connection = await bench.connect()
    async with connection:
        head = await connection.exchange("HEAD", path, bench.headers(), seconds=bench.patience(10))
        # A body that should not be there comes right behind the head, or never.
        await connection.wait_over(0.1)
        extra = len(connection.received) - len(head.head.raw) if head.head else 0
    bench.sample()
    if not head.complete or head.status >= 500:
        bench.fail("HEAD fails where GET is answered", str(get), str(head), head)
    elif head.status in {404, 405, 501} and get.ok:
        document = await bench.openapi()
        severity = None if "HEAD" in document.methods(path) or not document else Severity.LOW
        bench.warn("HEAD is refused where GET works", str(get.status), str(head), head, severity=severity)
    elif head.status // 100 != get.status // 100:
        bench.fail("HEAD has another status than GET", str(get.status), str(head.status), head)
    elif head.field("content-length") == "0" and get.body:
        # RFC 9110 §8.6: the length is that of the content that GET would have got.
        bench.fail("HEAD has the length of nothing", f"{len(get.body)}, or none", "Content-Length: 0", head)
    elif extra > 0:
        bench.fail("HEAD is answered with a body", "no byte after the head", f"{extra} bytes", head)


@probe("ERR-8", phase=Phase.SERVE, needs=(Need.COMMAND, Need.FAILS), samples=3)
async def _errors_are_recorded_once(bench: Bench) -> Verdict:
    """Provokes three exceptions, two at once; each must leave one error record and count once."""
    route = bench.manifest.routes.by_role["fails"]
    counted = bench.manifest.metrics.requests if bench.has(Need.METRICS) else ""
    before = await bench.scrape() if counted else {}
    since = bench.now()
    answers = [await bench.call(route)]
    answers += await asyncio.gather(bench.call(route), bench.call(route))
    bench.control("the route fails", all(answer.status >= 500 for answer in answers))
    ids = [request_id_of(answer) for answer in answers]
    bench.control("each response names its request id", all(ids))
    found = await bench.wait_records(lambda seen: all(errors_of(seen, one) for one in ids if one), since)
    for answer, one in zip(answers, ids, strict=True):
        mine = errors_of(found, one or "")
        lines = Lines(
            "records of this request",
            tuple(record.line.text[:500] for record in found if one and one in record.line.text),
        )
        bench.expect(
            len(mine) == 1,
            "a server error does not leave exactly one record",
            "one record of level error with the request id",
            f"{len(mine)}",
            answer,
            evidence=(lines,),
        )
    if counted:
        await _judge_counter(bench, before, counted, len(answers))
    else:
        bench.note("metrics.requests names no counter, so only the records were judged")
    return bench.verdict()


async def _judge_counter(bench: Bench, before: Any, name: str, count: int) -> None:
    risen = 0.0
    for _ in range(20):
        after = await bench.scrape()
        risen = max(
            total(after, name, **{label: "5.."}) - total(before, name, **{label: "5.."})
            for label in ("status", "code", "status_code")
        )
        if risen >= count:
            break
        await asyncio.sleep(0.1)
    bench.expect(
        risen == count, "server errors are not counted exactly", f"+{count} in {name}", f"+{risen:g}"
    )


@probe("ERR-9", phase=Phase.SERVE, samples=2, varies=_ON_ALL)
async def _errors_are_protected_like_successes(bench: Bench) -> Verdict:
    """Compares the protective fields of errors with those of a success, and reads their caching fields."""
    answers = await _seen_errors(bench)
    route = bench.manifest.routes.by_role.get("list")
    good = await bench.get(route.path if route else bench.manifest.health.live or "/")
    bench.control(
        f"a success and errors were seen ({', '.join(answers)})",
        good.complete and len(answers) >= 2,
        undeclared=("routes.create",),
    )
    protective = [name for name in ("x-content-type-options", "x-frame-options") if good.field(name)]
    untyped: dict[str, tuple[str, Answer]] = {}
    public: dict[str, tuple[str, Answer]] = {}
    bare: dict[str, tuple[str, Answer]] = {}
    for kind, answer in answers.items():
        bench.sample()
        if answer.body and not answer.media_type:
            untyped[kind] = ("none", answer)
        if "public" in cache_control(answer).names:
            public[kind] = (answer.field("cache-control") or "", answer)
        if lacking := [name for name in protective if not answer.field(name)]:
            bare[kind] = (f"without {', '.join(lacking)}", answer)
    judge_kinds(bench, "an error has no Content-Type", "a media type", untyped)
    judge_kinds(bench, "an error may be cached in public", "no-store, or no public", public)
    judge_kinds(bench, "an error lacks what successes have", ", ".join(protective), bare)
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _an_unknown_path_is_404,
    _a_wrong_method_is_405,
    _errors_have_one_shape,
    _an_exception_leaks_nothing,
    _the_process_survives,
    _other_methods_follow_http,
    a_dead_store_is_bounded,
    _errors_are_recorded_once,
    _errors_are_protected_like_successes,
)
