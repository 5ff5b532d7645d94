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
# More than one read of most servers takes.
_LARGE = 20_000


@probe("VAL-0", phase=Phase.SERVE, needs=_NEEDS, varies=(Dimension.SIZE,))
async def _a_valid_request_is_kept(bench: Bench) -> Verdict:
    """Creates a resource, reads it, and compares each field; then again a byte at a time, and again large."""
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
    limit = bench.manifest.limits.body or 2 * _LARGE
    body = bench.fresh(route.body)
    padded = b" " * min(_LARGE, limit // 2) + json.dumps(body).encode()
    answer = await send(bench, padded)
    refused(answer)
    title = "the valid request is refused when blanks make it large"
    if bench.expect(
        answer.ok, title, "2xx: blanks before JSON mean nothing (RFC 8259 §2)", str(answer), answer
    ):
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
_NUMBERS = frozenset({"integer", "number"})
_DIGITS = "12"


def _wrong_for(kind: str, *, nullable: bool) -> dict[str, Any]:
    """Return values that do not fit a type, by what they are."""
    fits = {kind, "integer"} if kind == "number" else {kind}
    if nullable:
        fits.add("null")
    wrong = {other: value for other, value in _VALUES.items() if other not in fits}
    return {**wrong, "a text of digits": _DIGITS} if kind in _NUMBERS else wrong


async def _without_fields(bench: Bench, sink: Sink) -> set[str]:
    """Leave out each field, then all; return those that turn out to be optional."""
    optional: set[str] = set()
    required = sink.fields.required
    # RFC 5789 §2: a PATCH says what changes, so what it leaves out is not missing.
    if sink.route.method == "PATCH":
        return set(sink.fields.types)
    for name in sink.fields.types:
        body = members(sink.body(bench))
        del body[name]
        answer = await send(bench, body, to=sink)
        if required is not None and name not in required:
            bench.note(f"the document does not require {name}{sink.behind}")
            optional.add(name)
        elif required is None and answer.ok:
            optional.add(name)
        elif judge_refused(bench, f"a body without {name}{sink.behind}", answer):
            await _judge_other_letters(bench, sink, name)
    answer = await send(bench, {}, to=sink)
    if required or (required is None and (not sink.identifier or not answer.ok)):
        judge_refused(bench, f"an empty object{sink.behind}", answer)
    if optional and required is None:
        bench.note(f"optional, as it seems: {', '.join(sorted(optional))}{sink.behind}")
    return optional


async def _judge_other_letters(bench: Bench, sink: Sink, name: str) -> None:
    """Send a required field under its name in capitals: the names of members are compared exactly."""
    body = members(sink.body(bench))
    value, other = body.pop(name), name.upper() if name.upper() != name else name.lower()
    if other in {*body, name} or name not in sink.fields.documented:
        return
    answer = await send(bench, {**body, other: value}, to=sink)
    bench.sample()
    if answer.ok:
        # RFC 8259 §8.3: readers that compare names otherwise disagree with all others on what was sent.
        title = f"a field in other letters stands in for a required one{sink.behind}"
        expected = f"4xx: {name} is missing"
        bench.warn(title, expected, f"{answer} to {other}", answer, severity=Severity.LOW)


async def _judge_type(bench: Bench, sink: Sink, name: str, other: str, value: Any) -> None:
    kind = sink.fields.types[name]
    answer = await send(bench, {**members(sink.body(bench)), name: value}, to=sink)
    if answer.ok and {kind, type_of(value)} <= _SCALARS:
        there, kept = found_in((await read_back(bench, answer, sink)).json(), name)
        whole = other == "number" and kind == "integer"  # a part of it would be lost
        if there and not whole and type_of(kept) in {kind, "integer" if kind == "number" else kind}:
            bench.sample()
            if kind in _NUMBERS and name in sink.fields.documented:
                # Many frameworks do so unless they are asked to be strict; the document promises otherwise.
                title = f"{other} is changed to the {kind} that is documented{sink.behind}"
                bench.warn(
                    title, "a refusal, 4xx", f"{answer}: {name} is {kept}", answer, severity=Severity.LOW
                )
                return
            bench.note(f"{name}: {other} is changed to {kind}")
            return
    if answer.ok and value is None and name not in sink.fields.documented:
        # Nothing says that it may not be null, as long as it stays null.
        there, kept = found_in((await read_back(bench, answer, sink)).json(), name)
        bench.sample()
        if there and kept is not None:
            title = f"null is changed to another value{sink.behind}"
            got = f"{answer}: {name} is {json.dumps(kept)}"
            bench.warn(title, "a refusal, 4xx, or null", got, answer, severity=Severity.LOW)
        return
    judge_refused(bench, f"{other} instead of {kind}{sink.behind}", answer)


@probe(
    "VAL-3",
    phase=Phase.SERVE,
    needs=_NEEDS,
    samples=4,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.VALUE),
)
async def _fields_are_required_and_typed(bench: Bench) -> Verdict:
    """Leaves out each field, names it in capitals, and gives it a value of every other JSON type."""
    known = await valid(bench)
    for sink in await sinks(bench, known):
        optional = await _without_fields(bench, sink)
        for name, kind in sink.fields.types.items():
            if kind not in _VALUES or kind == "null":
                continue
            nullable = name in sink.fields.nullable or name in optional
            for other, value in _wrong_for(kind, nullable=nullable).items():
                await _judge_type(bench, sink, name, other, value)
    return await closing(bench)


@probe(
    "VAL-4",
    phase=Phase.SERVE,
    needs=_NEEDS,
    samples=3,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.VALUE),
)
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
    for sink in await sinks(bench, known):
        for name, value in extras.items():
            if name not in sink.fields.types:
                await _judge_extra(bench, sink, name, value, planted)
    if known.read is not None:
        other = await bench.get(known.read.request.path)
        if _keeps(other, planted, 1):
            title = "a prototype is polluted: another resource shows what was planted"
            bench.fail(title, "untouched", planted, other, severity=Severity.CRITICAL)
    return await closing(bench)


async def _judge_extra(bench: Bench, sink: Sink, name: str, value: Any, planted: str) -> None:
    answer = await send(bench, {**members(sink.body(bench)), name: value}, to=sink)
    bench.sample()
    if refused(answer):
        return
    if not answer.ok:
        title = f"an unknown field makes the service fail ({name}){sink.behind}"
        bench.fail(title, "4xx, or 2xx without it", str(answer), answer)
        return
    stored = await read_back(bench, answer, sink)
    if _keeps(stored, name, value) or _keeps(stored, planted, 1) or _keeps(answer, name, value):
        title = f"an unknown field is stored ({name}){sink.behind}"
        bench.fail(title, "refused or ignored", "it reads back", stored, severity=Severity.HIGH)
    else:
        bench.note("unknown fields are ignored; refusing them would show a client its mistake")


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
