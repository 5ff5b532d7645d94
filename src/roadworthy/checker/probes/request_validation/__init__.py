"""Probes of ``request-validation`` (VAL). Each sends the valid body with one thing changed."""

from __future__ import annotations

import json
from typing import Any

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.shapes import elements, members
from ...verdict import Verdict
from .bodies import (
    Sink,
    Valid,
    closing,
    found_in,
    judge_refused,
    read_back,
    refused,
    send,
    sinks,
    type_of,
    valid,
)
from .edges import bad_paths_and_queries, refusals_name_the_field
from .sizes import bodies_are_limited, deep_nesting_is_harmless
from .values import numbers_are_exact, texts_are_exact

__all__ = ("PROBES",)

_NEEDS = (Need.CREATE,)
# Long enough that a service at rest reads each byte by itself.
_BETWEEN_BYTES = 0.001


@probe("VAL-0", phase=Phase.SERVE, needs=_NEEDS)
async def _a_valid_request_is_kept(bench: Bench) -> Verdict:
    """Creates a resource, reads it, and compares each field that was sent; then again, a byte at a time."""
    unknown = await bench.get(bench.unknown_path())
    bench.control("another path is answered otherwise, so a success means something", not unknown.ok)
    route = bench.manifest.routes.by_role["create"]
    body = bench.fresh(route.body)
    answer = await bench.request(route.method, route.path, route.headers, json_body=body)
    refused(answer)
    if not bench.expect(answer.ok, "the valid request is refused", "2xx", str(answer), answer):
        return bench.verdict()
    stored = await read_back(bench, answer)
    if stored is answer:
        bench.note("no route reads what was created (routes.read), so the answer itself was compared")
    _judge_kept(bench, body, stored)
    body = bench.fresh(route.body)
    # A network may cut a message anywhere.
    seconds = 10 + len(json.dumps(body)) * 5 * _BETWEEN_BYTES
    answer = await bench.request(
        route.method, route.path, route.headers, json_body=body, seconds=seconds, interval=_BETWEEN_BYTES
    )
    refused(answer)
    title = "the valid request is refused when it comes a byte at a time"
    if bench.expect(answer.ok, title, "2xx, as when it came at once", str(answer), answer):
        _judge_kept(bench, body, await read_back(bench, answer))
    return bench.verdict()


def _has_kept(kept: Any, value: Any) -> bool:
    """Tell whether a value is what was sent; an object in it may have got members by default."""
    if sent := members(value):
        there = members(kept)
        return all(name in there and _has_kept(there[name], each) for name, each in sent.items())
    if wanted := elements(value):
        found = elements(kept)
        return len(wanted) == len(found) and all(map(_has_kept, found, wanted))
    return bool(kept == value)


def _judge_kept(bench: Bench, body: Any, stored: Answer) -> None:
    bench.expect(stored.ok, "what was created cannot be read", "2xx", str(stored), stored)
    document = stored.json()
    for name, value in members(body).items():
        there, kept = found_in(document, name)
        if not there:
            bench.note(f"the field {name} is not shown when the resource is read")
            continue
        bench.expect(
            _has_kept(kept, value),
            "a field reads back changed",
            f"{name}: {json.dumps(value)[:100]}",
            json.dumps(kept)[:100],
            stored,
        )


# Of each: what it is, and the bytes.
_MALFORMED: tuple[tuple[str, bytes], ...] = (
    ("JSON that is cut off", b'{"a": '),
    ("JSON with single quotes", b"{'a': 1}"),
    ("JSON with a comma at its end", b'{"a": 1,}'),
    ("a word", b"roadworthy"),
    ("an empty body", b""),
    ("null", b"null"),
    ("an array", b"[]"),
    ("a text", b'"x"'),
    ("a number", b"1"),
)


@probe("VAL-1", phase=Phase.SERVE, needs=_NEEDS, samples=10, varies=(Dimension.METHOD, Dimension.ROUTE))
async def _malformed_bodies_are_refused(bench: Bench) -> Verdict:
    """Sends malformed JSON, no body at all, and values of another kind at the top."""
    known = await valid(bench)
    # A reader of streams takes the first value of several: only a valid one shows that this was enough.
    for sink in await sinks(bench, known):
        bodies = [
            *_MALFORMED,
            ("JSON with something behind it", json.dumps(sink.body(bench)).encode() + b" {}"),
            # Only the valid members show that it is the comma that is refused.
            ("a valid body with a comma at its end", json.dumps(sink.body(bench)).encode()[:-1] + b",}"),
        ]
        for what, body in bodies:
            judge_refused(bench, f"{what} as the body{sink.behind}", await send(bench, body, to=sink))
    return await closing(bench)


_TYPES_WITHOUT_PREFLIGHT = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
)


@probe("VAL-2", phase=Phase.SERVE, needs=_NEEDS, samples=4, varies=(Dimension.METHOD, Dimension.ROUTE))
async def _other_media_types_are_refused(bench: Bench) -> Verdict:
    """Sends the valid body as text, as a form, as XML, without a type, and in a false charset."""
    known = await valid(bench)
    # A page of any other site may send these without a preflight (Fetch, "CORS-safelisted request-header").
    for sink in await sinks(bench, known):
        for media_type in _TYPES_WITHOUT_PREFLIGHT:
            answer = await send(bench, sink.body(bench), media_type, sink)
            what = f"JSON sent as {media_type.partition(';')[0]}{sink.behind}"
            judge_refused(bench, what, answer, crashed=Severity.HIGH)
    answer = await send(bench, bench.fresh(known.route.body), "application/xml")
    judge_refused(bench, "JSON sent as application/xml", answer, accepted=Severity.LOW, crashed=Severity.HIGH)
    answer = await send(bench, bench.fresh(known.route.body), None)
    bench.sample()
    if answer.ok:
        bench.warn("a body without a media type is accepted", "415 or 400", str(answer), answer)
    elif not refused(answer):
        title = "a body without a media type makes the service fail"
        bench.fail(title, "415 or 400", str(answer), answer, severity=Severity.HIGH)
    answer = await send(bench, bench.fresh(known.route.body), "application/json; charset=utf-16")
    if answer.ok:
        bench.note("a charset is ignored: JSON has no such parameter (RFC 8259 §11)")
    else:
        judge_refused(bench, "JSON in a false charset", answer, crashed=Severity.HIGH)
    return bench.verdict()


_VALUES: dict[str, Any] = {
    "string": "roadworthy",
    "integer": 12,
    "number": 1.5,
    "boolean": True,
    "null": None,
    "array": [],
    "object": {},
}
_SCALARS = frozenset({"string", "integer", "number", "boolean"})


def _wrong_for(kind: str, *, nullable: bool) -> list[str]:
    fits = {kind, "integer"} if kind == "number" else {kind}
    if nullable:
        fits.add("null")
    return [other for other in _VALUES if other not in fits]


async def _without_fields(bench: Bench, known: Valid) -> set[str]:
    """Leave out each field, then all; return those that turn out to be optional."""
    optional: set[str] = set()
    for name in known.sent:
        body = members(bench.fresh(known.route.body))
        del body[name]
        answer = await send(bench, body)
        if known.required is not None and name not in known.required:
            bench.note(f"the document does not require {name}")
            optional.add(name)
        elif known.required is None and answer.ok:
            optional.add(name)
        else:
            judge_refused(bench, f"a body without {name}", answer)
    answer = await send(bench, {})
    if known.required is None or known.required:
        judge_refused(bench, "an empty object", answer)
    if optional and known.required is None:
        bench.note(f"optional, as it seems: {', '.join(sorted(optional))}")
    return optional


async def _judge_type(bench: Bench, known: Valid, name: str, other: str, sink: Sink) -> None:
    if name not in members(sink.route.body):
        return
    body = {**members(sink.body(bench)), name: _VALUES[other]}
    answer = await send(bench, body, to=sink)
    kind = known.types[name]
    if answer.ok and {kind, other} <= _SCALARS:
        there, kept = found_in((await read_back(bench, answer)).json(), name)
        whole = other == "number" and kind == "integer"  # a part of it would be lost
        if there and not whole and type_of(kept) in {kind, "integer" if kind == "number" else kind}:
            bench.sample()
            bench.note(f"{name}: {other} is changed to {kind}")
            return
    judge_refused(bench, f"{other} instead of {kind}{sink.behind}", answer)


@probe("VAL-3", phase=Phase.SERVE, needs=_NEEDS, samples=4, varies=(Dimension.METHOD, Dimension.ROUTE))
async def _fields_are_required_and_typed(bench: Bench) -> Verdict:
    """Leaves out each field, and gives each a value of every other JSON type."""
    known = await valid(bench)
    optional = await _without_fields(bench, known)
    for sink in await sinks(bench, known):
        for name, kind in known.types.items():
            if kind not in _VALUES or kind == "null":
                continue
            for other in _wrong_for(kind, nullable=name in known.nullable or name in optional):
                await _judge_type(bench, known, name, other, sink)
    return await closing(bench)


@probe("VAL-4", phase=Phase.SERVE, needs=_NEEDS, samples=3)
async def _unknown_fields_are_not_stored(bench: Bench) -> Verdict:
    """Adds is_admin, an id, prototypes and a random name, and reads back what was accepted."""
    known = await valid(bench)
    planted = bench.unique()
    extras: dict[str, Any] = {
        "is_admin": True,
        "id": 987_654_321,
        "__proto__": {"is_admin": True, planted: 1},
        "constructor": {"prototype": {planted: 1}},
        planted: planted,
    }
    ignored: list[str] = []
    for name, value in extras.items():
        if name in known.sent:
            continue
        answer = await send(bench, {**members(bench.fresh(known.route.body)), name: value})
        bench.sample()
        if refused(answer):
            continue
        if not answer.ok:
            title = f"an unknown field makes the service fail ({name})"
            bench.fail(title, "4xx, or 2xx without it", str(answer), answer)
            continue
        stored = await read_back(bench, answer)
        if _keeps(stored, name, value) or _keeps(stored, planted, 1) or _keeps(answer, name, value):
            title = f"an unknown field is stored ({name})"
            bench.fail(title, "refused or ignored", "it reads back", stored, severity=Severity.HIGH)
        else:
            ignored.append(name)
    if known.read is not None:
        other = await bench.get(known.read.request.path)
        if _keeps(other, planted, 1):
            title = "a prototype is polluted: another resource shows what was planted"
            bench.fail(title, "untouched", planted, other, severity=Severity.CRITICAL)
    if ignored:
        bench.note("unknown fields are ignored; refusing them would show a client its mistake")
    return await closing(bench)


def _keeps(answer: Answer, name: str, value: Any) -> bool:
    there, kept = found_in(answer.json(), name)
    return there and (kept == value or (name == "id" and str(kept) == str(value)))


PROBES: tuple[Probe, ...] = (
    _a_valid_request_is_kept,
    _malformed_bodies_are_refused,
    _other_media_types_are_refused,
    _fields_are_required_and_typed,
    _unknown_fields_are_not_stored,
    numbers_are_exact,
    texts_are_exact,
    deep_nesting_is_harmless,
    bodies_are_limited,
    bad_paths_and_queries,
    refusals_name_the_field,
)
