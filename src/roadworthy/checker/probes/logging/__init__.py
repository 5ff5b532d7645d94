"""Probes of ``logging`` (LOG): the records of requests. Secrets and forgeries are in ``_logging_privacy``."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.records import Record, parse_record
from ...service.process import Line
from ...verdict import Lines, Verdict
from . import levels, privacy
from .traffic import (
    COUNT,
    Sent,
    Traffic,
    access_lines,
    collect,
    elsewhere,
    is_split,
    request_id,
    survey,
    traffic,
)

__all__ = ("PROBES",)

_ON_ALL = (Dimension.METHOD, Dimension.ROUTE, Dimension.STATUS, Dimension.PARALLEL, Dimension.SIZE)


def _shown(title: str, lines: list[Line]) -> tuple[Lines, ...]:
    return (Lines(title, tuple(line.text[:500] for line in lines[:10])),)


@probe("LOG-1", phase=Phase.SERVE, needs=(Need.COMMAND,), samples=COUNT, varies=_ON_ALL)
async def _one_record_each(bench: Bench) -> Verdict:
    """Sends 25 distinguishable requests and one of each kind, waits, and counts the records of each."""
    logs = bench.manifest.logs
    if logs.file or not logs.access:
        declared = f"logs.file = {logs.file!r}" if logs.file else "logs.access = false"
        return bench.not_applicable(f"the manifest declares {declared}")
    seen = await bench.shared(collect)
    bench.control("the requests were answered", all(one.answer.complete for one in seen.sent))
    missing: list[Sent] = []
    doubled: list[Sent] = []
    for one in seen.sent:
        found = access_lines(seen.lines, one, seen.form)
        bench.sample()
        if not found:
            missing.append(one)
        elif len(found) > 1:
            doubled.append(one)
    expected = "one that names its path or its request id"
    if missing:
        got = f"{len(missing)} of {len(seen.sent)} requests left none"
        if all(is_split(seen.lines, one) for one in missing):
            shown = _shown(
                "the lines of one request", [line for line in seen.lines if missing[0].is_in(line)]
            )
            title, got = "a record is split over lines", f"{len(missing)} of {len(seen.sent)} records are"
            return bench.fail(title, "one line each", got, missing[0].answer, evidence=shown)
        if await _comes_at_the_end(bench):
            return bench.warn("records stay in a buffer until the process ends", "at once", got)
        bench.fail("a request leaves no record", expected, got, missing[0].answer)
    if doubled:
        found = access_lines(seen.lines, doubled[0], seen.form)
        shapes = len({_shape(line.text) for line in found})
        got = f"{len(found)} records ({shapes} shapes) for each of {len(doubled)} requests"
        shown = _shown("records of one request", found)
        bench.fail("a request leaves more than one record", expected, got, doubled[0].answer, evidence=shown)
    return bench.verdict()


async def _comes_at_the_end(bench: Bench) -> bool:
    """Tell whether the records of a process of its own appear when it ends, and not before."""
    async with bench.launch(draining=True) as target:
        seen = await traffic(bench, 5)
        before = sum(bool(access_lines(seen.lines, one, seen.form)) for one in seen.sent)
        target.process.signal(signal.SIGTERM)
        await target.process.wait_end(bench.patience(bench.manifest.start.grace))
        await target.process.wait_silence(1.0)
        after = sum(bool(access_lines(target.process.lines, one, seen.form)) for one in seen.sent)
    return after > before


def _shape(text: str) -> str:
    """Return a line without what differs from request to request."""
    text = re.sub(r"\b[0-9a-fA-F-]{8,}\b", "…", text)
    return re.sub(r"\d+", "0", text)[:120]


@probe("LOG-2", phase=Phase.SERVE, needs=(Need.COMMAND,), samples=10, varies=_ON_ALL)
async def _every_line_is_a_record(bench: Bench) -> Verdict:
    """Reads every line that ordinary requests, exceptions, bad JSON and bytes that are no HTTP cause."""
    if why := elsewhere(bench):
        return bench.inconclusive(why)
    since = bench.now()
    routes = bench.manifest.routes.by_role
    own = await traffic(bench, 15, await survey(bench))
    if routes.get("fails") is not None:
        for _ in range(3):
            await bench.call(routes["fails"])
    if routes.get("create") is not None:
        create = routes["create"]
        await bench.request(create.method, create.path, {"Content-Type": "application/json"}, b'{"a": ')
    async with await bench.connect() as connection:
        await connection.send(b"no HTTP\r\n\r\n")
        await connection.wait_over(bench.patience(1.0))
    # The last of the lines has no mark to wait for; a request behind it has.
    await traffic(bench, 1)
    lines = [line for line in bench.target.process.lines if line.at >= since and line.text.strip()]
    bench.control(f"requests leave lines: {len(lines)}", lines)
    bench.sample(max(len(lines), len(own.sent)))
    wrong = [line for line in lines if parse_record(line, bench.manifest.logs.format) is None]
    # A hundredth is left to libraries that write before the service can stop them.
    if len(wrong) * 100 > len(lines):
        shapes = {_shape(line.text): line for line in wrong}
        form = "logfmt" if bench.manifest.logs.format == "logfmt" else "a JSON object"
        got = f"{len(wrong)} of {len(lines)} lines are not, in {len(shapes)} shapes"
        shown = _shown("one line of each shape", list(shapes.values()))
        return bench.fail("a line is not a machine-readable record", form, got, evidence=shown)
    return bench.verdict()


@probe("LOG-3", phase=Phase.SERVE, needs=(Need.COMMAND,), samples=10, varies=_ON_ALL)
async def _records_have_their_fields(bench: Bench) -> Verdict:
    """Reads the records of requests: time with its offset, level, method, path, status, duration, id."""
    if why := elsewhere(bench):
        return bench.inconclusive(why)
    seen = await bench.shared(collect)
    lines = [line for one in seen.sent for line in access_lines(seen.lines, one, seen.form)]
    bench.control(f"access records were found: {len(lines)}", lines)
    reported: set[str] = set()
    for one in seen.sent:
        found = seen.records(one)
        lacks: list[str] = []
        if access_lines(seen.lines, one, seen.form) and not found:
            lacks = ["machine-readable fields"]
        for record in found:
            lacks += _lacking(record, one.answer, max(5.0, bench.patience(5.0)))
        bench.sample(len(found) or bool(lacks))
        fresh = [text for text in lacks if text not in reported]
        reported |= set(fresh)
        if fresh:
            record_lines = access_lines(seen.lines, one, seen.form)
            shown = _shown("the record", record_lines)
            expected, got = "every field of an access record", f"lacks {', '.join(fresh)}"
            bench.fail("a record lacks fields", expected, got, one.answer, evidence=shown)
    return bench.verdict()


def _lacking(record: Record, answer: Answer, tolerance: float) -> Iterator[str]:
    """Yield what an access record lacks or has wrong."""
    now = time.time() - (time.monotonic() - record.line.at)
    problem = _time_problem(record.get("time"), now, tolerance)
    if problem:
        yield problem
    if not record.rank:
        yield "a level"
    if str(record.get("method")).upper() != answer.request.method:
        yield "the method"
    if not record.get("path"):
        yield "the path or the route"
    if str(record.get("status")) != str(answer.status):
        yield "the status"
    if not _is_duration(record.get("duration")):
        yield "a duration"
    if not record.get("request_id"):
        yield "a request id"


def _is_duration(value: Any) -> bool:
    if isinstance(value, str):
        return re.match(r"\d", value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _time_problem(value: Any, now: float, tolerance: float) -> str:
    """Return what is wrong with a record's time: RFC 3339 with an offset, or an epoch in s, ms, µs or ns."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        value = float(value)
    # An integer may have any number of digits, a quotient of it may not.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30:
        near = any(abs(value / scale - now) <= tolerance for scale in (1, 1e3, 1e6, 1e9))
        return "" if near else "a time near the clock's (an epoch)"
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return "a time (RFC 3339)"
    if moment.tzinfo is None:
        return "the offset of its time (Z)"
    return "" if abs(moment.timestamp() - now) <= tolerance else "a time near the clock's"


@probe("LOG-4", phase=Phase.SERVE, needs=(Need.COMMAND,), samples=COUNT, varies=_ON_ALL)
async def _ids_join_responses_and_records(bench: Bench) -> Verdict:
    """Compares the id of each response with its record, on errors too, and sends good and hostile ids."""
    seen = await bench.shared(collect)
    bench.control("the requests were answered", all(one.answer.complete for one in seen.sent))
    since = bench.now()
    named = await _with_good_ids(bench)
    failed = await _failures(bench)
    every = [*(one.answer for one in seen.sent), *seen.unnamed, *named, *failed]
    without = [answer for answer in every if answer.complete and not request_id(answer)]
    bench.sample(len(every))
    if without:
        statuses = ", ".join(sorted({str(answer.status) for answer in without}))
        got = f"{len(without)} of {len(every)} responses (status {statuses}) have none"
        bench.fail("a response names no request id", "an id in each (X-Request-Id)", got, without[0])
    ids = [one.id for one in seen.sent if one.id]
    if len(set(ids)) < len(ids):
        got = f"{len(set(ids))} ids for {len(ids)} requests"
        bench.fail("requests share an id", "one for each", got, seen.sent[0].answer)
    if not elsewhere(bench) and bench.manifest.logs.access:
        await _judge_join(bench, seen, [answer for answer in (*named, *failed) if request_id(answer)], since)
    await _judge_hostile(bench)
    return bench.verdict()


async def _with_good_ids(bench: Bench) -> list[Answer]:
    """Send ids as other services do: one of our own, and a trace."""
    own = f"{bench.unique()}-4e0c-4d2c-8a39"
    trace = f"00-{bench.unique():0<32.32}-00f067aa0ba902b7-01".lower()
    trace = re.sub(r"[^0-9a-f-]", "0", trace)
    path = f"{bench.base}/rw-{bench.unique()}"
    answers = [await bench.get(path, {"X-Request-Id": own}), await bench.get(path, {"traceparent": trace})]
    kept = "kept" if request_id(answers[0]) == own else "replaced"
    bench.note(f"a well-formed id of the client is {kept}")
    return answers


async def _failures(bench: Bench) -> list[Answer]:
    """Return errors of every kind that the application itself answers, exceptions among them."""
    routes = bench.manifest.routes.by_role
    found: list[Answer] = []
    if routes.get("create") is not None:
        create = routes["create"]
        found.append(
            await bench.request(create.method, create.path, {"Content-Type": "application/json"}, b"{}")
        )
    if routes.get("fails") is not None:
        found.append(await bench.call(routes["fails"]))
    else:
        bench.note("no route raises (routes.fails), so the ids of failures were not tried")
    return found


async def _judge_join(bench: Bench, seen: Traffic, more: list[Answer], since: float) -> None:
    """Each id of a response has to stand in a record, and in that of its own request."""
    process = bench.target.process

    def complete() -> bool:
        text = process.output(since)
        return all(request_id(answer) in text for answer in more)

    await process.wait_until(complete, bench.patience(2.0))
    text = process.output(since)
    strangers = [answer for answer in more if request_id(answer) not in text]
    strangers += [
        one.answer
        for one in seen.sent
        if one.id and not any(one.id in line.text for line in _of_request(seen, one))
    ]
    if strangers:
        got = f"no record has {request_id(strangers[0])}"
        bench.fail("the id of a response is not in its record", "the same id", got, strangers[0])


def _of_request(seen: Traffic, one: Sent) -> list[Line]:
    """Return the lines of a request, found by what does not depend on its id where there is such a thing."""
    if not one.marker:
        return [line for line in seen.lines if one.id in line.text]
    return [line for line in seen.lines if one.marker in line.text]


async def _judge_hostile(bench: Bench) -> None:
    """Send ids that must not be taken over: too long, quotes, bytes that are no ASCII, an encoded CRLF."""
    since = bench.now()
    mark = bench.unique()
    hostile = {
        "8 KB long": mark + "x" * 8192,
        "with quotes": f'{mark}" injected="1',
        "not ASCII": f"{mark}-é-ид",
        "an encoded CRLF": f"{mark}%0d%0aX-Injected: 1",
    }
    answers = {
        name: await bench.get(f"{bench.base}/{mark}", {"X-Request-Id": value})
        for name, value in hostile.items()
    }
    await traffic(bench, 1)
    for name, value in hostile.items():
        answer = answers[name]
        wire = value.encode().decode("latin-1")
        echoed = [text for field in ("x-request-id", "x-correlation-id") for text in answer.all(field)]
        injected = answer.field("x-injected") is not None
        bench.sample()
        if injected or (name != "an encoded CRLF" and any(text in {value, wire} for text in echoed)):
            severity = Severity.HIGH if injected else None
            bench.fail(
                f"a hostile id comes back in the response ({name})",
                "an id of the service's own",
                "an injected field" if injected else "the same id",
                answer,
                severity=severity,
            )
        elif name != "an encoded CRLF" and any(
            record.get("request_id") in {value, wire} for record in bench.records(since)
        ):
            bench.fail(
                f"a hostile id is written to a record ({name})",
                "an id of the service's own",
                "the same id",
                answer,
            )


PROBES: tuple[Probe, ...] = (
    _one_record_each,
    _every_line_is_a_record,
    _records_have_their_fields,
    _ids_join_responses_and_records,
    *privacy.PROBES,
    *levels.PROBES,
)
