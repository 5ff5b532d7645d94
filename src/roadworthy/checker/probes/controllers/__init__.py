"""Probes of ``controllers`` (CTL)."""

from __future__ import annotations

import re
from typing import Any

from ....checklist import Dimension
from ...bench import Bench
from ...http.fields import location_of, path_in
from ...http.wire import Answer
from ...manifest.routes import Route
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.shapes import members
from ...verdict import Verdict
from ..shared import contract
from .lists import PROBES as _LISTS

__all__ = ("PROBES",)

# RFC 9110 §15.3, §9.3.3-9.3.5: what a success of each method may be where nothing is more specific.
_USUAL = {
    "create": {201, 202},
    "read": {200},
    "list": {200},
    "update": {200, 204},
    "delete": {200, 202, 204},
    "child_create": {201, 202},
    "child_list": {200},
    "overview": {200},
    "batch": {200},
}


@probe("CTL-1", phase=Phase.SERVE, needs=(Need.CREATE, Need.READ), samples=2)
async def _successes_have_their_status(bench: Bench) -> Verdict:
    """Calls each declared route with valid values and compares the status with what is documented."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    answers: dict[str, Answer] = {"create": one.answer}
    for role in ("read", "list", "update", "child_create", "child_list", "overview"):
        if role in routes:
            answers[role] = await bench.call(routes[role], one.id)
    if "batch" in routes:
        answers["batch"] = await contract.batch(bench, [one.raw])
    if "delete" in routes:
        answers["delete"] = await bench.call(routes["delete"], one.id)
    gone = await bench.get(contract.path_of(routes["read"], contract.missing(one.raw)))
    bench.control("a request that cannot succeed is answered with another status", not gone.ok)
    document = await bench.openapi()
    for role, answer in answers.items():
        route = routes[role]
        documented = {
            int(status)
            for status in members(document.operation(route.method, route.path).get("responses"))
            if re.fullmatch("2[0-9][0-9]", status)
        }
        wanted = {route.status} if route.status else documented or _USUAL[role]
        title = f"{route} answers another status than documented"
        bench.expect(
            answer.complete and answer.status in wanted,
            title,
            " or ".join(map(str, sorted(wanted))),
            str(answer),
            answer,
        )
        if answer.status == 204 and answer.body:
            bench.fail(f"{route} answers 204 with a body", "no body", f"{len(answer.body)} bytes", answer)
    return bench.verdict()


@probe("CTL-2", phase=Phase.SERVE, needs=(Need.CREATE, Need.READ))
async def _a_location_reads_back(bench: Bench) -> Verdict:
    """Creates, follows Location, and compares what stands there with what was answered and sent."""
    made = [await contract.parent(bench)]
    read = await bench.get(made[0].path)
    bench.control("what was created can be read", read.ok)
    if bench.has(Need.CHILD_CREATE):
        made.append(await contract.child(bench, made[0]))
    for one in made:
        bench.sample()
        location = one.answer.field("location")
        if not location:
            bench.fail("a created resource is not announced", "Location", "absent", one.answer)
            continue
        url = location_of(one.answer)
        if url is None:
            bench.fail("Location is no URL", "a URI reference", location, one.answer)
            continue
        answer = await bench.get(path_in(url))
        found = members(answer.json())
        differing = [
            name
            for name, value in {**one.sent, **one.value}.items()
            if name in found and found[name] != value
        ]
        lacking = [name for name in one.value if name not in found]
        if not answer.ok:
            bench.fail("Location leads nowhere", "200", str(answer), one.answer, answer)
        elif lacking or differing:
            bench.fail(
                "what stands at Location is not what was created",
                "the same members with the same values",
                f"differing: {', '.join(differing + lacking)}",
                one.answer,
                answer,
            )
    return bench.verdict()


@probe("CTL-3", phase=Phase.SERVE, needs=(Need.CREATE, Need.READ))
async def _what_is_missing_is_404(bench: Bench) -> Verdict:
    """Reads, changes and deletes what was deleted and what never was, and looks below it."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    bench.control("what exists is read", (await bench.get(one.path)).ok)
    gone = [contract.missing(one.raw)]
    if "delete" in routes and (await bench.call(routes["delete"], one.id)).ok:
        gone.append(one.raw)
    for identifier in gone:
        for role in ("read", "update", "delete", "child_list", "child_create", "overview"):
            if role not in routes:
                continue
            answer = await bench.call(routes[role], str(identifier))
            bench.expect(
                answer.complete and answer.status in {404, 410},
                f"{routes[role]} of what does not exist is not 404",
                "404",
                str(answer),
                answer,
            )
    return bench.verdict()


_MALFORMED = (b'{"name": ', b"{'name': 1}", b'{"name": "x"} {')


@probe(
    "CTL-4", phase=Phase.SERVE, needs=(Need.CREATE,), samples=3, varies=(Dimension.METHOD, Dimension.ROUTE)
)
async def _malformed_and_unacceptable_differ(bench: Bench) -> Verdict:
    """Sends broken JSON, then well-formed values of the wrong kind in one field and in several."""
    one = await contract.parent(bench)
    bench.control("valid values are accepted", one.answer.ok)
    for route, path, wrong in contract.wrong_bodies(bench, one.id):
        headers = {**route.headers, "Content-Type": "application/json"}
        for broken in _MALFORMED:
            answer = await bench.request(route.method, path, headers, broken)
            title = f"{route} does not answer malformed JSON with 400"
            bench.expect(answer.status == 400, title, "400", str(answer), answer)
        if members(route.body):
            await _judge_unacceptable(bench, route, path)
        elif wrong:
            answer = await bench.request(route.method, path, route.headers, json_body=wrong)
            title = f"{route} does not answer unacceptable values with 422"
            bench.expect(answer.status == 422, title, "422", str(answer), answer)
        else:
            bench.note(f"the body of {route} has no fields, so none was made wrong")
    return bench.verdict()


async def _judge_unacceptable(bench: Bench, route: Route, path: str) -> None:
    """Judge values of the wrong kind: 422, and one entry for each field and for no other."""
    valid = members(bench.fresh(route.body))
    for count in {1, len(valid)}:
        wrong = list(valid)[:count]
        values: dict[str, Any] = {**valid, **{name: [] for name in wrong}}
        answer = await bench.request(route.method, path, route.headers, json_body=values)
        title = f"{route} does not answer unacceptable values with 422"
        if not bench.expect(answer.status == 422, title, "422", str(answer), answer):
            continue
        named = {contract.pointer_of(entry).split("/")[1:2][0] if contract.pointer_of(entry) else "?"
                for entry in contract.entries_of(answer)}  # fmt: skip
        bench.expect(
            len(named) == len(wrong),
            f"{route} does not name each wrong field",
            f"{len(wrong)} entries: {', '.join(wrong)}",
            f"{len(named)}: {', '.join(sorted(named))}",
            answer,
        )


@probe("CTL-5", phase=Phase.SERVE, needs=(Need.CREATE, Need.READ))
async def _a_collision_changes_nothing(bench: Bench) -> Verdict:
    """Creates the same again, and changes a second resource into the first one's values."""
    routes = bench.manifest.routes.by_role
    route = routes["create"]
    first, second = await contract.parent(bench), await contract.parent(bench)
    bench.control("different values do not collide", first.id != second.id)
    before = [[members((await bench.get(one.path)).json()) for _ in range(2)] for one in (first, second)]
    again = await bench.request(route.method, route.path, route.headers, json_body=first.sent)
    if again.ok:
        responses = members((await bench.openapi()).operation(route.method, route.path).get("responses"))
        if "409" not in responses and not bench.has(Need.TRANSFERS):
            return bench.not_applicable("two equal resources are allowed, and no 409 is documented")
    bench.expect(again.status == 409, "creating the same again is not 409", "409", str(again), again)
    answer = await contract.collide(bench, first, second)
    if answer is not None:
        bench.expect(answer.status == 409, "a change that collides is not 409", "409", str(answer), answer)
    for one, (seen, steady) in zip((first, second), before, strict=True):
        answer = await bench.get(one.path)
        # What differs between two reads in a row (a counter of reads, the time) is changed by nobody.
        kept = {name: value for name, value in seen.items() if steady.get(name) == value}
        if not kept:
            bench.missed(f"what is stored at {one.path}", "two reads in a row have no member in common")
            continue
        found = members(answer.json())
        changed = [name for name, value in kept.items() if found.get(name) != value]
        bench.expect(
            not changed,
            "a refused collision has changed what is stored",
            "as it was",
            f"{', '.join(changed)} changed: {answer.text[:300]}",
            answer,
        )
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _successes_have_their_status,
    _a_location_reads_back,
    _what_is_missing_is_404,
    _malformed_and_unacceptable_differ,
    _a_collision_changes_nothing,
    *_LISTS,
)
