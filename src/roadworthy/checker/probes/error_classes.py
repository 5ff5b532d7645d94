"""Probes of ``error-classes`` (ECL)."""

from __future__ import annotations

import re
import uuid
from typing import Any

from ...checklist import Dimension
from ..bench import Bench
from ..http.wire import Answer
from ..needs import Need
from ..phases import Phase
from ..probe import Probe, probe
from ..read.leaks import internals
from ..read.shapes import members
from ..verdict import Verdict
from .shared import contract
from .shared.kinds import judge_kinds

__all__ = ("PROBES",)

_MESSAGES = ("detail", "message", "msg", "title", "description", "reason", "error")
"""Names of the words for one detail: that of RFC 9457 §3 first, then those of the seven stacks."""

_CODE = re.compile(r"[A-Za-z][\w.-]*")
# The variables that name the environment for the seven stacks and this project.
_ENVIRONMENT = ("ROADWORTHY_ENV", "NODE_ENV", "APP_ENV", "ENVIRONMENT", "ENV", "GO_ENV", "FLASK_ENV")
_FORMAT = ("ROADWORTHY_ERROR_FORMAT", "ERROR_FORMAT")


async def _collect(bench: Bench) -> dict[str, list[Answer]]:
    """Provoke each kind of error on each route that can have it."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    nothing = str(contract.missing(one.raw))
    found: dict[str, list[Answer]] = {}
    # A router's own 404 may have another code than that of a resource: it is a kind of its own.
    found["an unknown path"] = [await bench.get(bench.unknown_path())]
    # Once more as a client that names its request.
    found["a missing resource"] = [
        await bench.call(routes[role], nothing, headers=fields)
        for fields in ({}, {"X-Request-Id": str(uuid.uuid4())})
        for role in ("read", "update", "delete", "child_list", "child_create", "overview")
        if role in routes
    ]
    found["a wrong method"] = [await bench.request("PATCH", routes["create"].path)]
    for health in filter(None, (bench.manifest.health.live, bench.manifest.health.ready)):
        answer = await bench.request("PATCH", health)
        kind = {404: "an unknown path", 405: "a wrong method"}.get(answer.status)
        # What a framework or a proxy answers there in its own shape is no error of these classes.
        if kind and contract.code_of(answer):
            found[kind].append(answer)
    plain, as_json = {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}
    for route, path, wrong in contract.wrong_bodies(bench, one.id):
        found.setdefault("malformed JSON", []).append(
            await bench.request(route.method, path, {**route.headers, **as_json}, b'{"half": ')
        )
        found.setdefault("unacceptable values", []).append(
            await bench.request(route.method, path, route.headers, json_body=wrong)
        )
        found.setdefault("another media type", []).append(
            await bench.request(route.method, path, {**route.headers, **plain}, b"text")
        )
    create = routes["create"]
    again = await bench.request(create.method, create.path, create.headers, json_body=one.sent)
    if again.status >= 400:
        changed = await contract.collide(bench, one, await contract.parent(bench))
        found["a collision"] = [again, *([changed] if changed is not None and not changed.ok else [])]
    if "fails" in routes:
        found["an exception"] = [await bench.call(routes["fails"])]
    return found


@probe(
    "ECL-1",
    phase=Phase.SERVE,
    needs=(Need.CREATE, Need.READ),
    samples=5,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS, Dimension.REPEAT),
)
async def _each_class_has_its_code(bench: Bench) -> Verdict:
    """Provokes each kind of error on each route that can have it, and compares statuses and codes."""
    found = await bench.shared(_collect)
    bench.control(
        "errors of several classes were seen", len({a.status for each in found.values() for a in each}) > 2
    )
    statuses: dict[str, dict[int, Answer]] = {}
    nameless: dict[str, tuple[str, Answer]] = {}
    for kind, answers in found.items():
        codes: dict[tuple[int, str], Answer] = {}
        for answer in answers:
            code = contract.code_of(answer)
            bench.sample()
            if answer.status < 400 or not _CODE.fullmatch(code):
                nameless[kind] = (code or str(answer), answer)
            codes.setdefault((answer.status, code), answer)
            if code:
                statuses.setdefault(code, {}).setdefault(answer.status, answer)
        if len(codes) > 1:
            got = ", ".join(f"{status} {code}" for status, code in codes)
            bench.fail(f"{kind} is reported in several ways", "one status and code", got, *codes.values())
    judge_kinds(bench, "an error has no code", "a code for programs", nameless)
    for code, by_status in statuses.items():
        if len(by_status) > 1:
            got = ", ".join(map(str, by_status))
            bench.fail(f"the code {code} has several statuses", "one", got, *by_status.values())
    return bench.verdict()


@probe("ECL-2", phase=Phase.SERVE, needs=(Need.CREATE,), varies=(Dimension.METHOD, Dimension.ROUTE))
async def _details_arrive(bench: Bench) -> Verdict:
    """Makes single fields wrong, one after the other and deep in a list, and reads which the answer names."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    bench.control("valid values are accepted", one.answer.ok)
    for role in ("create", "update", "child_create"):
        if role not in routes:
            continue
        route, path = routes[role], contract.path_of(routes[role], one.id)
        valid = members(bench.fresh(route.body))
        for wrong in ([name] for name in valid):
            values: dict[str, Any] = {**valid, **{name: {} for name in wrong}}
            answer = await bench.request(route.method, path, route.headers, json_body=values)
            _judge_entries(bench, str(route), [f"/{name}" for name in wrong], answer)
    if "batch" in routes:
        answer = await contract.batch(bench, [one.raw, {}, one.raw])
        _judge_entries(bench, str(routes["batch"]), ["/ids/1"], answer)
    if "transfers" in routes:
        answer = await contract.transfer(bench, one.raw, one.raw, [one.raw, {}])
        _judge_entries(bench, str(routes["transfers"]), ["/post_ids"], answer)
    return bench.verdict()


def _judge_entries(bench: Bench, route: str, wanted: list[str], answer: Answer) -> None:
    entries = contract.entries_of(answer)
    # Several entries may be about one field, also about a part of it that is missing.
    named = {contract.pointer_of(entry) for entry in entries}
    known = all(any(each == want or each.startswith(f"{want}/") for want in wanted) for each in named)
    bench.expect(
        answer.status in {400, 422} and named and known,
        f"the details of an error do not name what is wrong ({route})",
        ", ".join(wanted),
        ", ".join(sorted(named)) or f"no field ({answer})",
        answer,
    )
    if not all(any(isinstance(entry.get(name), str) for name in _MESSAGES) for entry in entries):
        bench.fail(f"a detail has no message ({route})", "detail or message: a text", "none", answer)


@probe("ECL-3", phase=Phase.SERVE, needs=(Need.FAILS,), samples=3)
async def _other_exceptions_are_500(bench: Bench) -> Verdict:
    """Raises an exception that nothing knows, three times, and reads status, code and text."""
    route = bench.manifest.routes.by_role["fails"]
    fine = await bench.get(bench.manifest.health.live or "/")
    bench.control("another path is answered without an error", fine.complete and fine.status < 500)
    messages: set[str] = set()
    for _ in range(3):
        answer = await bench.call(route)
        if answer.status in {404, 405}:
            return bench.inconclusive(f"routes.fails is answered {answer}, so nothing was raised")
        bench.sample()
        code, text = contract.code_of(answer), _message(answer)
        messages.add(f"{code}: {text}")
        if answer.status != 500:
            bench.fail("an unknown exception is not 500", "500", str(answer), answer)
        if not code:
            bench.fail("an unknown exception has no code", "a fixed code", str(answer), answer)
        elif re.search(r"(?i)exception$|(?-i:[a-z])Error$", code):
            bench.fail("the code is the name of the exception's class", "a fixed code", code, answer)
        if (route.message and route.message in answer.text) or bench.leaks(answer.text):
            bench.fail(
                "the text of an unknown exception is shown to the client",
                "a fixed message",
                "its text",
                answer,
            )
    if len(messages) > 1:
        bench.fail("code and message of unknown exceptions differ", "the same each time", str(len(messages)))
    return bench.verdict()


def _message(answer: Answer) -> str:
    body: dict[str, Any] = members(answer.json())
    inner = members(body.get("error"))
    return str(inner.get("message") or body.get("detail") or body.get("message") or body.get("title") or "")


@probe(
    "ECL-4",
    phase=Phase.START,
    needs=(Need.COMMAND, Need.FAILS),
    quick=False,
    samples=9,
    seconds=120,
    varies=(Dimension.ENVIRONMENT, Dimension.MEDIA_TYPE),
)
async def _stacks_are_for_developers(bench: Bench) -> Verdict:
    """Starts for development, for nothing in particular in both error formats, and for production; fails."""
    async with bench.launch(env=dict.fromkeys(_ENVIRONMENT, "development")):
        answers = await _fail(bench)
        bench.control("the route fails", all(answer.status >= 500 for answer in answers))
        bench.note(f"in development the stack is {'' if any(map(_stack, answers)) else 'not '}shown")
    for name, shape in ((None, "problem"), (None, "envelope"), ("production", "problem")):
        env: dict[str, str | None] = {**dict.fromkeys(_ENVIRONMENT, name), **dict.fromkeys(_FORMAT, shape)}
        async with bench.launch(env=env):
            answers = await _fail(bench)
        for answer in answers:
            bench.expect(
                answer.status >= 500 and not _stack(answer),
                f"the stack is shown (environment {name or 'unset'}, {shape})",
                "no stack",
                _stack(answer) or str(answer),
                answer,
            )
    return bench.verdict()


async def _fail(bench: Bench) -> list[Answer]:
    """Fail for a client that takes anything, for a program, and for a browser."""
    route = bench.manifest.routes.by_role["fails"]
    accepted = ("*/*", "application/json", "text/html,application/xhtml+xml")
    return [await bench.call(route, headers={"Accept": each}) for each in accepted]


def _stack(answer: Answer) -> str:
    body = members(answer.json())
    if any("stack" in members(part) or "trace" in members(part) for part in (body, body.get("error"))):
        return "a member for the stack"
    return ", ".join(
        found for found in internals(answer.text.replace("\\n", "\n")) if "trace" in found or "stack" in found
    )


PROBES: tuple[Probe, ...] = (
    _each_class_has_its_code,
    _details_arrive,
    _other_exceptions_are_500,
    _stacks_are_for_developers,
)
