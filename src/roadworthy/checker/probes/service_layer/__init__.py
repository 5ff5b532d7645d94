"""Probes of ``service-layer`` (SVC)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ....checklist import Dimension
from ...bench import Bench
from ...http.wire import Answer
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.openapi import OpenApi
from ...read.shapes import elements, members
from ...verdict import Verdict
from ..shared import contract
from ..shared.contract import Resource
from .stores import PROBES as _STORES

__all__ = ("PROBES",)


@probe(
    "SVC-1",
    phase=Phase.SERVE,
    needs=(Need.CREATE, Need.READ, Need.UPDATE),
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.VALUE, Dimension.REPEAT),
)
async def _a_rule_refuses_alike(bench: Bench) -> Verdict:
    """Breaks each rule through every route that reaches it, and compares the refusals."""
    routes = bench.manifest.routes.by_role
    first, second, third = [await contract.parent(bench) for _ in range(3)]
    bench.control("valid requests are accepted", (await bench.get(first.path)).ok)
    nothing = contract.missing(first.raw)
    # Twice: what a first refusal has taught a service may change the next.
    gone = [
        await bench.call(routes[role], str(nothing))
        for _ in range(2)
        for role in ("read", "update", "delete", "child_list", "child_create", "overview")
        if role in routes
    ]
    if "transfers" in routes:
        gone.append(await contract.transfer(bench, nothing, first.raw, []))
    _judge_alike(bench, "there is no such resource", gone)
    create, update = routes["create"], routes["update"]
    # Nothing has changed it before, so that a rule is broken by the first change too.
    path = contract.path_of(update, third.id)
    valid = members(bench.fresh(update.body))
    again = await bench.request(create.method, create.path, create.headers, json_body=first.sent)
    if not again.ok:
        taken = await contract.collide(bench, first, second)
        _judge_alike(bench, "a value is taken", [again, *([taken] if taken is not None else [])])
    for name, value in valid.items():
        if name not in members(create.body):
            continue
        for what, wrong in _unacceptable(bench, value):
            posted, changed = [
                await bench.request(
                    route.method,
                    where,
                    route.headers,
                    json_body={**members(bench.fresh(route.body)), name: wrong()},
                )
                for route, where in ((create, create.path), (update, path))
            ]
            # What was created may be in the way of the change, where values may not repeat.
            if not posted.ok:
                _judge_alike(bench, f"{name} is {what}", [posted, changed])
    return bench.verdict()


# Above the bounds that texts usually have (a name, a line, a page), as far as the body may be so large.
_LENGTHS = (300, 3_000, 30_000, 100_000)


def _unacceptable(bench: Bench, valid: Any) -> list[tuple[str, Callable[[], Any]]]:
    """Return values of the same kind that a service often refuses, and what each is."""
    match valid:
        case bool():
            return []
        case int() | float():
            return [("negative", lambda: -1), ("huge", lambda: 10**12)]
        case str():
            limit = bench.manifest.limits.body
            lengths = [each for each in _LENGTHS if limit is None or each < limit // 2] or [300]
            long = [(f"{each:,} characters long", partial(_long, bench, each)) for each in lengths]
            return [("empty", str), ("blank", lambda: "   "), *long]
        case _:
            return []


def _long(bench: Bench, length: int) -> str:
    return bench.unique().ljust(length, "x")


def _judge_alike(bench: Bench, rule: str, answers: list[Answer]) -> None:
    """Compare status, code, and what the entries for single fields say."""
    wordings: dict[str, Answer] = {}
    for answer in answers:
        fields = sorted(
            f"{contract.pointer_of(entry)} {entry.get('code', '')}".strip()
            for entry in contract.entries_of(answer)
        )
        words = " ".join([str(answer.status), contract.code_of(answer), *fields])
        wordings.setdefault(words, answer)
    bench.expect(
        len(wordings) == 1 and answers[0].status >= 400,
        f"a rule is reported in several ways: {rule}",
        "the same refusal through every route",
        "; ".join(
            f"{one.request.method} {one.request.path[:60]}: {words}" for words, one in wordings.items()
        ),
        *list(wordings.values())[:3],
    )


@probe(
    "SVC-2",
    phase=Phase.WORKERS,
    needs=(Need.COMMAND, Need.CREATE, Need.READ),
    quick=False,
    samples=8,
    seconds=120,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.WORKER, Dimension.REPEAT),
)
async def _every_route_reads_what_was_written(bench: Bench) -> Verdict:
    """Creates, changes and deletes, and reads each state at once through every route, on several workers."""
    workers = bench.manifest.workers.test if bench.has(Need.WORKERS) else None
    async with bench.launch(workers=workers):
        one = await contract.parent(bench)
        bench.control("what was created is read", (await bench.get(one.path)).ok)
        for _ in range(4):
            await _follow(bench)
    return bench.verdict()


async def _follow(bench: Bench) -> None:
    """Follow one resource through its life."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    # Lists differ too much in how they are sorted and paged to say that a page lacks what was created.
    listed = await _page_with(bench, one)
    await _judge_views(bench, "created", one, one.value, listed)
    if "update" in routes:
        answer = await bench.call(routes["update"], one.id)
        changed = {**one.value, **members(answer.json())}
        await _judge_views(bench, "changed", one, changed, listed)
    if "child_create" in routes and "child_list" in routes:
        below = await contract.child(bench, one)
        known = await contract.child_ids(bench, one.id) or set()
        title = "a list does not have what was just created below it"
        bench.expect(below.raw in known, title, str(below.raw), "absent", below.answer)
        if "overview" in routes:
            answer = await contract.overview(bench, one.id)
            there = {members(each).get("id") for each in elements(members(answer.json()).get("posts"))}
            title = "an overview does not have what was just created below it"
            bench.expect(below.raw in there, title, str(below.raw), "absent", below.answer, answer)
    if "delete" in routes:
        await bench.call(routes["delete"], one.id)
        await _judge_views(bench, "deleted", one, None, listed)


# A store of its own has no more than these.
_PAGES = 5


async def _page_with(bench: Bench, one: Resource) -> str | None:
    """Return the path of the page of the list that shows a resource; None where none of a few does."""
    route = bench.manifest.routes.by_role.get("list")
    if route is None:
        return None
    path = route.path
    for _ in range(_PAGES):
        answer = await bench.get(path)
        if _row(answer, one) is not None:
            return path
        following = members(answer.json()).get("next_cursor")
        if following is None:
            return None
        path = f"{route.path}{'&' if '?' in route.path else '?'}cursor={following}"
    return None


def _row(answer: Answer, one: Resource) -> Any:
    return next(
        (each for each in contract.rows(answer) or [] if str(members(each).get("id")) == one.id), None
    )


async def _judge_views(
    bench: Bench, state: str, one: Resource, wanted: dict[str, Any] | None, listed: str | None
) -> None:
    """Compare what each route shows of a resource; None when it must not be there.

    Parameters:
        listed: the path of a list that has it; None where no list is known to.
    """
    routes = bench.manifest.routes.by_role
    # Twice each: with several workers the first and the second are not the same process.
    for _ in range(2):
        views: dict[str, tuple[Answer, Any]] = {}
        answer = await bench.get(one.path)
        views["read"] = answer, answer.json() if answer.ok else None
        if "overview" in routes:
            answer = await contract.overview(bench, one.id)
            body = members(answer.json())
            views["overview"] = answer, body.get("user") if answer.ok else None
        if "batch" in routes:
            answer = await contract.batch(bench, [one.raw])
            views["batch"] = answer, next(iter(contract.rows(answer) or []), None)
        if listed is not None:
            answer = await bench.get(listed)
            views["list"] = answer, _row(answer, one)
        for role, (answer, shown) in views.items():
            differing = (
                [name for name, value in wanted.items() if members(shown).get(name, value) != value]
                if wanted is not None
                else []
            )
            bench.expect(
                (shown is None) == (wanted is None) and not differing,
                f"{routes[role]} does not show what was just {state}",
                "it is gone" if wanted is None else "the values that were answered",
                f"{answer}{': ' + ', '.join(differing) if differing else ''}",
                answer,
            )


# Names of members that are of no use to a client and of much to an attacker (API3:2023).
_INTERNAL = ("password", "passwd", "hash", "salt", "secret", "token", "internal", "_sa_instance")


@probe("SVC-3", phase=Phase.SERVE, needs=(Need.CREATE, Need.READ), samples=2)
async def _responses_hold_documented_fields(bench: Bench) -> Verdict:
    """Compares the members of each response with the OpenAPI document, and of all routes with each other."""
    routes = bench.manifest.routes.by_role
    document = await bench.openapi()
    one = await contract.parent(bench)
    below = await contract.child(bench, one) if "child_create" in routes else None
    answers = {"create": one.answer}
    for role in ("read", "list", "update", "child_list", "overview"):
        if role in routes:
            answers[role] = await bench.call(routes[role], one.id)
    if "batch" in routes:
        answers["batch"] = await contract.batch(bench, [one.raw])
    if below is not None:
        answers["child_create"] = below.answer
    bench.control("what was created is read", answers["read"].ok)
    shapes: dict[frozenset[str], Answer] = {}
    for role, answer in answers.items():
        bench.sample()
        if schema := _schema(document, routes[role], answer):
            _judge_documented(bench, document, schema, answer.json(), str(routes[role]), answer)
        for value in _resources(role, answer):
            if role == "create" and not members(routes[role].body).keys() & value.keys():
                continue  # It answers with the id alone: that is no representation.
            shapes.setdefault(frozenset(value), answer)
        if names := sorted(_names(answer.json())):
            title = f"{routes[role]} shows a secret member"
            bench.fail(title, "documented members", ", ".join(names), answer)
    if len(shapes) > 1:
        first, *others = shapes
        got = "; ".join(", ".join(sorted(first ^ other)) for other in others)
        bench.fail("one resource has other members elsewhere", "the same", got, *list(shapes.values())[:2])
    if not document:
        bench.note("there is no OpenAPI document, so the routes were compared with each other only")
    return bench.verdict()


def _schema(document: OpenApi, route: Route, answer: Answer) -> dict[str, Any]:
    response = members(
        members(document.operation(route.method, route.path).get("responses")).get(str(answer.status))
    )
    content = members(document.resolve(response).get("content"))
    return document.resolve(members(content.get("application/json")).get("schema"))


def _judge_documented(
    bench: Bench, document: OpenApi, schema: dict[str, Any], value: Any, where: str, answer: Answer
) -> None:
    """Judge a value and what is in it: no member that is not documented, none missing that is required."""
    schema = document.resolve(schema)
    options = [*elements(schema.get("anyOf")), *elements(schema.get("oneOf"))]
    if options:
        # A value or null: only the one with members can be wrong here.
        resolved = [document.resolve(each) for each in options]
        schema = next((each for each in resolved if members(each.get("properties"))), resolved[0])
    for each in elements(value)[:5]:
        _judge_documented(bench, document, members(schema.get("items")), each, where, answer)
    body, properties = members(value), members(schema.get("properties"))
    if not body or not properties:
        return
    more = sorted(set(body) - set(properties))
    less = sorted(set(elements(schema.get("required"))) - set(body))
    if more or less:
        got = ", ".join(
            [*(f"{name} is not documented" for name in more), *(f"{name} is missing" for name in less)]
        )
        bench.fail(f"{where} does not answer as documented", ", ".join(properties), got, answer)
    for name, inner in body.items():
        if name in properties:
            _judge_documented(bench, document, members(properties[name]), inner, where, answer)


def _resources(role: str, answer: Answer) -> list[dict[str, Any]]:
    """Return the representations of the resource (not of what belongs to it) in an answer."""
    body = members(answer.json())
    match role:
        case "create" | "read" | "update":
            return [body] if body else []
        case "list" | "batch":
            return [members(one) for one in contract.rows(answer) or [] if members(one)]
        case "overview":
            return [members(body["user"])] if members(body.get("user")) else []
        case _:
            return []


def _names(value: Any) -> set[str]:
    """Return the suspicious names of members, however deep."""
    found: set[str] = set()
    for name, inner in members(value).items():
        if any(word in name.lower() for word in _INTERNAL):
            found.add(name)
        found |= _names(inner)
    for inner in elements(value):
        found |= _names(inner)
    return found


PROBES: tuple[Probe, ...] = (
    _a_rule_refuses_alike,
    _every_route_reads_what_was_written,
    _responses_hold_documented_fields,
    *_STORES,
)
